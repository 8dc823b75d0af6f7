"""Checks of `expect:`: every name in it is that of something in the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from netaddr import AddrFormatError, IPAddress

from gwlbemu.core.elb.balancer_types import GATEWAY, TYPE_OF_PROTOCOL
from gwlbemu.topology import names
from gwlbemu.topology.file.changes import read_change, refusal_of
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.expectations import ANY, INTERNET, Drop, Expectation
from gwlbemu.topology.file.places import subnets_by_name
from gwlbemu.topology.file.schema import Topology


def expectation_problems(topology: Topology) -> Iterator[Problem]:
    """Yield names in `expect` that nothing has, and expectations that mean no pair."""
    groups = groups_of(topology)
    balancers = [each.name for each in topology.load_balancers]
    droppers, changeable = _droppers(topology), _changeable(topology)
    for number, expected in enumerate(topology.expect):
        here: Path = ("expect", number)
        yield from _ends(topology, expected, here, groups)
        for place, name in enumerate(expected.inspected_by or ()):
            if name not in balancers:
                known = f"expected none, or some of {', '.join(balancers)}" if balancers else "expected none"
                yield Problem((*here, "inspected_by", place), f"there is no load balancer {name}: {known}")
        for key in ("dropped", "answer_dropped"):
            drop: Drop | None = getattr(expected, key)
            if drop is not None and drop.by is not None and drop.by not in droppers:
                known = ", ".join(sorted(droppers))
                yield Problem((*here, key, "by"), f"there is nothing called {drop.by}: expected one of {known}")
        for place, text in enumerate(expected.after):
            if wrong := refusal_of(read_change(text), changeable):
                yield Problem((*here, "after", place), wrong)


def groups_of(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Return the instances that a name in `from` or `to` stands for, by that name; appliances only by their own."""
    appliances = {
        instance.name
        for group in topology.target_groups
        for vpc in topology.vpcs
        for instance in vpc.instances
        if TYPE_OF_PROTOCOL[group.protocol] == GATEWAY
        and vpc.name == group.vpc
        and {instance.name, instance.address} & set(group.target_ids)
    }
    outside = tuple(each.name for each in (topology.internet.instances if topology.internet else ()))
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in outside}
    everybody = list(outside)
    for vpc in topology.vpcs:
        plain = [each for each in vpc.instances if each.name not in appliances]
        everybody += [each.name for each in plain]
        found[vpc.name] = tuple(each.name for each in plain)
        for subnet in vpc.subnets:
            found[subnet.name] = tuple(each.name for each in plain if each.subnet == subnet.name)
        found |= {each.name: (each.name,) for each in vpc.instances}
    return found | {ANY: tuple(everybody), INTERNET: outside}


def _ends(
    topology: Topology, expected: Expectation, path: Path, groups: dict[str, tuple[str, ...]]
) -> Iterator[Problem]:
    known = f"an instance, a VPC, a subnet, {INTERNET} or {ANY}"
    balancers = {each.name for each in topology.load_balancers if each.type != GATEWAY}
    for key, given in (("from", expected.senders), ("to", expected.receivers)):
        for place, name in enumerate(given):
            if key == "to" and (_is_address(name) or name in balancers):
                continue
            if name not in groups:
                also = ", a network or application load balancer, or an address" if key == "to" else ""
                instances = ", ".join(groups[ANY])
                yield Problem(
                    (*path, key, place), f"there is no {name}: expected {known}{also}; instances: {instances}"
                )
            elif not groups[name]:
                yield Problem((*path, key, place), f"{name} has no instance that is no appliance: name one")
    senders = {each for name in expected.senders for each in groups.get(name, (name,))}
    receivers = {each for name in expected.receivers for each in groups.get(name, (name,))}
    if senders == receivers and len(senders) == 1:
        yield Problem(path, f"no pair is meant, so that nothing is judged: from and to are both {senders.pop()} alone")


def _droppers(topology: Topology) -> set[str]:
    found = {each.name for each in topology.load_balancers} | {each.name for each in topology.transit_gateways}
    found |= {each.name for each in (topology.internet.instances if topology.internet else ())} | {INTERNET}
    for vpc in topology.vpcs:
        found |= {vpc.internet_gateway.name} if vpc.internet_gateway else set()
        for key in ("subnets", "endpoints", "nat_gateways", "instances"):
            found |= {each.name for each in getattr(vpc, key)}
    return found | set(_nodes(topology))


def _nodes(topology: Topology) -> list[str]:
    places = subnets_by_name(topology)
    return [
        names.node(balancer.name, places[place.subnet][1].zone)
        for balancer in topology.load_balancers
        for place in balancer.subnets
        if place.subnet in places
    ]


def _changeable(topology: Topology) -> dict[str, Collection[str]]:
    """The names that each change takes, by the words of `changes.refusal_of`."""
    inside = [instance for vpc in topology.vpcs for instance in vpc.instances]
    outside = topology.internet.instances if topology.internet else ()
    instances = [*(each.name for each in outside), *(each.name for each in inside)]
    programs = [each.name for each in outside if each.program] + [each.name for each in inside if each.program]
    groups = [each.name for each in topology.target_groups]
    tunnels = [group for group in topology.target_groups if TYPE_OF_PROTOCOL[group.protocol] == GATEWAY]
    targets = {target for group in tunnels for target in group.target_ids}
    listeners = [
        f"{balancer.name}/{listener.protocol}:{listener.port}"
        for balancer in topology.load_balancers
        for _, listener in balancer.all_listeners()
        if listener.protocol
    ]
    return {
        "instance": instances,
        "link": instances,
        "process": [*programs, *_nodes(topology)],
        "health": [each.name for each in inside if {each.name, each.address} & targets],
        "node": _nodes(topology),
        "zone": sorted({subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}),
        "group": groups,
        "resource": [*(each.name for each in topology.load_balancers), *listeners, *groups],
    }


def _is_address(text: str) -> bool:
    try:
        IPAddress(text)
    except (AddrFormatError, ValueError):
        return False
    return True
