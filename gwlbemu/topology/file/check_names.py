"""Checks of names: none twice, none that the lab needs for something of its own, no two that become one interface name.

What may be called what: see the tables of `topology.names`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from gwlbemu.core.elb.balancer_types import NETWORK
from gwlbemu.topology import names
from gwlbemu.topology.file.document import Path, Problem, dotted
from gwlbemu.topology.file.places import balancers_of_type
from gwlbemu.topology.file.schema import Attachment, Subnet, Topology, Vpc

Named = Iterable[tuple[str, Path]]  # a name, and the path of what has it


def name_problems(topology: Topology) -> Iterator[Problem]:
    """Yield every name that is taken, reserved, or cannot be told from another one."""
    yield from _repeated(_resources(topology), "the name")
    for what, found in (
        ("the route table name", _of_vpcs(topology, "route_tables")),
        ("the security group name", _of_vpcs(topology, "security_groups")),
        ("the load balancer name", [(lb.name, ("load_balancers", i)) for i, lb in enumerate(topology.load_balancers)]),
        (
            "the target group name",
            [(group.name, ("target_groups", i)) for i, group in enumerate(topology.target_groups)],
        ),
    ):
        yield from _repeated(found, what)
    for name, path in (*_on_the_internet(topology), *_of_vpcs(topology, "instances")):
        if name in names.RESERVED_FOR_PROCESSES:
            meaning = names.RESERVED_FOR_PROCESSES[name]
            yield Problem((*path, "name"), f"no instance may be called {name}, like {meaning}: choose another name")
    twice = {name for name, count in Counter(name for name, _ in _resources(topology)).items() if count > 1}
    for where, inside in _namespaces(topology):
        yield from _same_interface([each for each in inside if each[0] not in twice], where)


def _on_the_internet(topology: Topology) -> Iterator[tuple[str, Path]]:
    for number, one in enumerate(topology.internet.instances if topology.internet else ()):
        yield one.name, ("internet", "instances", number)


def _resources(topology: Topology) -> Iterator[tuple[str, Path]]:
    """Everything that becomes a namespace or an interface: these names share one space."""
    yield from _on_the_internet(topology)
    for index, vpc in enumerate(topology.vpcs):
        yield vpc.name, ("vpcs", index)
        if vpc.internet_gateway:
            yield vpc.internet_gateway.name, ("vpcs", index, "internet_gateway")
    for key in ("subnets", "endpoints", "nat_gateways", "instances"):
        yield from _of_vpcs(topology, key)
    for index, gateway in enumerate(topology.transit_gateways):
        yield gateway.name, ("transit_gateways", index)
        for number, attachment in enumerate(gateway.attachments):
            yield attachment.name, ("transit_gateways", index, "attachments", number)
    yield from _nodes(topology)


def _nodes(topology: Topology) -> Iterator[tuple[str, Path]]:
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    for index, balancer in enumerate(topology.load_balancers):
        for zone in dict.fromkeys(zones.get(place.subnet, "") for place in balancer.subnets):
            yield names.node(balancer.name, zone), ("load_balancers", index)


def _of_vpcs(topology: Topology, key: str) -> Iterator[tuple[str, Path]]:
    for index, vpc in enumerate(topology.vpcs):
        for number, item in enumerate(getattr(vpc, key)):
            yield item.name, ("vpcs", index, key, number)


def _namespaces(topology: Topology) -> Iterator[tuple[str, Named]]:
    """Each namespace in which interfaces are named after what they lead to: what it is, and those things."""
    gateways = [(("vpcs", i, "internet_gateway"), vpc.internet_gateway) for i, vpc in enumerate(topology.vpcs)]
    yield "the internet", [*_on_the_internet(topology), *((one.name, path) for path, one in gateways if one)]
    for index, vpc in enumerate(topology.vpcs):
        yield f"VPC {vpc.name}", _on_fabric(topology, vpc, ("vpcs", index))
        for subnet in vpc.subnets:
            yield f"subnet {subnet.name}", _in_subnet(topology, vpc, ("vpcs", index), subnet)
    for gateway in topology.transit_gateways:
        inside = {attachment.name for attachment in gateway.attachments}
        yield gateway.name, [(name, path) for each, name, path in _attachments(topology) if each.name in inside]
    places = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    endpoints = [
        (e, ("vpcs", i, "endpoints", n)) for i, v in enumerate(topology.vpcs) for n, e in enumerate(v.endpoints)
    ]
    for node in {names.node(one.service, places.get(one.subnet, "")) for one, _ in endpoints}:
        mine = [(e.name, path) for e, path in endpoints if names.node(e.service, places.get(e.subnet, "")) == node]
        yield f"node {node}", mine


def _on_fabric(topology: Topology, vpc: Vpc, path: Path) -> Iterator[tuple[str, Path]]:
    """What stands on a VPC's fabric, by its name there."""
    targets = {route.target for table in vpc.route_tables for route in table.routes}
    behind = set()
    for key in ("instances", "nat_gateways"):
        for number, item in enumerate(getattr(vpc, key)):
            if item.name in targets:
                behind.add(item.subnet)
                yield item.name, (*path, key, number)
    for number, subnet in enumerate(vpc.subnets):
        yield subnet.name, (*path, "subnets", number)
        if subnet.name in behind:
            yield names.uplink(subnet.name), (*path, "subnets", number)
    if vpc.internet_gateway:
        yield vpc.internet_gateway.name, (*path, "internet_gateway")
    for number, endpoint in enumerate(vpc.endpoints):
        yield endpoint.name, (*path, "endpoints", number)
    zones = {subnet.name: subnet.zone for subnet in vpc.subnets}
    for balancer in balancers_of_type(topology, NETWORK):
        for zone in (zones[place.subnet] for place in balancer.subnets if place.subnet in zones):
            yield names.node(balancer.name, zone), ("load_balancers", topology.load_balancers.index(balancer))
    yield from ((name, where) for attachment, name, where in _attachments(topology) if attachment.vpc == vpc.name)


def _attachments(topology: Topology) -> Iterator[tuple[Attachment, str, Path]]:
    """Every transit gateway attachment in each of its zones, with its name there."""
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    for index, gateway in enumerate(topology.transit_gateways):
        for number, attachment in enumerate(gateway.attachments):
            for zone in dict.fromkeys(zones.get(subnet, "") for subnet in attachment.subnets):
                where = ("transit_gateways", index, "attachments", number)
                yield attachment, names.attachment(attachment.name, zone), where


def _in_subnet(topology: Topology, vpc: Vpc, path: Path, subnet: Subnet) -> Iterator[tuple[str, Path]]:
    """What has a port on a subnet's bridge."""
    for key in ("instances", "nat_gateways"):
        for number, item in enumerate(getattr(vpc, key)):
            if item.subnet == subnet.name:
                yield item.name, (*path, key, number)
    for index, balancer in enumerate(topology.load_balancers):
        if subnet.name in {place.subnet for place in balancer.subnets}:
            yield names.node(balancer.name, subnet.zone), ("load_balancers", index)


def _same_interface(found: Named, where: str) -> Iterator[Problem]:
    """Two things whose interfaces in one namespace would have the same name: a long one is cut (`names.device`)."""
    first: dict[str, tuple[str, Path]] = {}
    for name, path in found:
        device = names.device(name)
        if device in first:
            other, there = first[device]
            yield Problem(
                (*path, "name"),
                f"the interface of {name} in {where} would be {device}, like that of {other} ({dotted(there)}): choose "
                "another name",
            )
        first.setdefault(device, (name, path))


def _repeated(found: Named, what: str) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for name, path in found:
        if name in first:
            yield Problem((*path, "name"), f"{what} {name} is taken by {dotted(first[name])}: expected another one")
        first.setdefault(name, path)
