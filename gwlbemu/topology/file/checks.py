"""What must agree between two places of a topology file: every refusal that is not about one value alone.

This file composes and checks names; addresses, routes and load balancing have files of their own. Every check is a
generator of Problems and survives what the others complain about, so that one run tells all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gwlbemu.topology import names
from gwlbemu.topology.file.attributes import switch_problems
from gwlbemu.topology.file.check_addresses import address_problems
from gwlbemu.topology.file.check_balancing import balancing_problems
from gwlbemu.topology.file.check_instances import instance_problems
from gwlbemu.topology.file.check_routes import route_problems
from gwlbemu.topology.file.check_transit import transit_problems
from gwlbemu.topology.file.document import Path, Problem, dotted
from gwlbemu.topology.file.schema import Topology


def problems_of(topology: Topology) -> Iterator[Problem]:
    """Everything that is wrong with a well-formed topology."""
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
    yield from address_problems(topology)
    yield from instance_problems(topology)
    yield from route_problems(topology)
    yield from balancing_problems(topology)
    yield from transit_problems(topology)
    yield from switch_problems(topology.emulation, ("emulation",))


def _resources(topology: Topology) -> Iterator[tuple[str, Path]]:
    """Everything that becomes a namespace or an interface: these names share one space."""
    for number, one in enumerate(topology.internet.instances if topology.internet else ()):
        yield one.name, ("internet", "instances", number)
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
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    for index, balancer in enumerate(topology.load_balancers):
        for zone in {zones.get(place.subnet, "") for place in balancer.subnets}:
            yield names.node(balancer.name, zone), ("load_balancers", index)


def _of_vpcs(topology: Topology, key: str) -> Iterator[tuple[str, Path]]:
    for index, vpc in enumerate(topology.vpcs):
        for number, item in enumerate(getattr(vpc, key)):
            yield item.name, ("vpcs", index, key, number)


def _repeated(found: Iterable[tuple[str, Path]], what: str) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for name, path in found:
        if name in first:
            yield Problem((*path, "name"), f"{what} {name} is taken by {dotted(first[name])}: expected another one")
        first.setdefault(name, path)
