"""Checks of route tables: what AWS refuses, and routes to nothing.

Sources: VPC guide, "Gateway route tables" (contract EP-02) and "Routing for a middlebox appliance" (contract EP-03).
"""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import IPNetwork

from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import LOCAL, Route, RouteTable, Topology, Vpc

ENDPOINT, GATEWAY, NAT, TRANSIT, INSTANCE = "endpoint", "internet gateway", "NAT gateway", "transit gateway", "instance"
INSIDE_TARGETS = {ENDPOINT, NAT, INSTANCE}  # of a route more specific than local
EDGE_TARGETS = {ENDPOINT, INSTANCE}


def route_problems(topology: Topology) -> Iterator[Problem]:
    """Yield routes and associations that AWS would refuse, and routes to nothing."""
    for index, vpc in enumerate(topology.vpcs):
        here: Path = ("vpcs", index)
        yield from _associations(vpc, here)
        targets = targets_of(topology, vpc)
        for number, table in enumerate(vpc.route_tables):
            yield from _table(topology, vpc, table, targets, (*here, "route_tables", number))


def targets_of(topology: Topology, vpc: Vpc) -> dict[str, str]:
    """Return what a route of the VPC may lead to: the kind of thing by its name."""
    found = {endpoint.name: ENDPOINT for endpoint in vpc.endpoints}
    found |= {gateway.name: NAT for gateway in vpc.nat_gateways}
    found |= {instance.name: INSTANCE for instance in vpc.instances}
    found |= {g.name: TRANSIT for g in topology.transit_gateways if any(a.vpc == vpc.name for a in g.attachments)}
    if vpc.internet_gateway:
        found[vpc.internet_gateway.name] = GATEWAY
    return found


def _associations(vpc: Vpc, path: Path) -> Iterator[Problem]:
    known = {table.name for table in vpc.route_tables}
    users: list[tuple[str | None, Path]] = [(s.route_table, (*path, "subnets", n)) for n, s in enumerate(vpc.subnets)]
    if vpc.internet_gateway:
        users.append((vpc.internet_gateway.route_table, (*path, "internet_gateway")))
    for name, here in users:
        if name is not None and name not in known:
            wanted = f"expected one of {', '.join(sorted(known))}" if known else "it has none"
            yield Problem((*here, "route_table"), f"VPC {vpc.name} has no route table {name}: {wanted}")


def _table(topology: Topology, vpc: Vpc, table: RouteTable, targets: dict[str, str], path: Path) -> Iterator[Problem]:
    edge = vpc.internet_gateway is not None and vpc.internet_gateway.route_table == table.name
    zones = {subnet.zone for subnet in vpc.subnets if subnet.route_table == table.name}
    seen: set[str] = set()
    for number, route in enumerate(table.routes):
        here = (*path, "routes", number)
        if route.destination in seen:
            yield Problem((*here, "destination"), f"route table {table.name} has a second route to {route.destination}")
        seen.add(route.destination)
        kind = targets.get(route.target)
        if kind is None and route.target != LOCAL:
            places = [LOCAL, *targets]
            tried = [(place, route.model_copy(update={"target": place})) for place in places]
            known = [place for place, one in tried if not any(_leads(topology, vpc, one, targets, edge, zones, here))]
            wanted = f", expected one of {', '.join(known)}" if known else ""
            yield Problem((*here, "target"), f"a route to nothing: VPC {vpc.name} has no {route.target}{wanted}")
            continue
        yield from _destination(vpc, route, edge, here)
        yield from _leads(topology, vpc, route, targets, edge, zones, here)


def _leads(
    topology: Topology, vpc: Vpc, route: Route, targets: dict[str, str], edge: bool, zones: set[str], path: Path
) -> Iterator[Problem]:
    """What is wrong with the target of a route, which is there."""
    kind = targets.get(route.target, LOCAL)
    yield from _target(vpc, route, kind, edge, path)
    if kind == TRANSIT:
        yield from _attachment(topology, vpc, route, zones, path)


def _destination(vpc: Vpc, route: Route, edge: bool, path: Path) -> Iterator[Problem]:
    v6 = IPNetwork(route.destination).version == 6
    whole = vpc.ipv6_cidr if v6 else vpc.cidr
    here = (*path, "destination")
    if whole is None:
        yield Problem(here, f"VPC {vpc.name} has no ipv6_cidr: expected an IPv4 destination")
        return
    subnets = {subnet.ipv6_cidr if v6 else subnet.cidr for subnet in vpc.subnets}
    exact = route.destination == whole or route.destination in subnets
    if edge and not exact:
        yield Problem(
            here,
            f"{route.destination} in a gateway route table: expected the VPC CIDR {whole} or a whole subnet CIDR",
        )
    elif not exact and IPNetwork(route.destination) in IPNetwork(whole):
        yield Problem(here, f"{route.destination} is more specific than local: expected the whole CIDR of a subnet")


def _target(vpc: Vpc, route: Route, kind: str, edge: bool, path: Path) -> Iterator[Problem]:
    here = (*path, "target")
    v6 = IPNetwork(route.destination).version == 6
    whole = IPNetwork(vpc.ipv6_cidr or "::/128") if v6 else IPNetwork(vpc.cidr)
    inside = IPNetwork(route.destination) in whole
    if kind == LOCAL:
        if not inside:
            yield Problem(here, f"local is only for what lies in VPC {vpc.name}, and {route.destination} does not")
        return
    if edge and kind not in EDGE_TARGETS:
        yield Problem(
            here, f"{route.target} is a {kind}; a gateway route table leads to local, an endpoint or an instance"
        )
    elif inside and kind not in INSIDE_TARGETS:
        yield Problem(
            here, f"{route.target} is a {kind}; inside the VPC expected an endpoint, a NAT gateway or an instance"
        )
    if kind == NAT and v6:
        yield Problem(here, f"{route.target} is a NAT gateway: expected an IPv4 destination")


def _attachment(topology: Topology, vpc: Vpc, route: Route, zones: set[str], path: Path) -> Iterator[Problem]:
    """A route to a transit gateway needs its attachment in every zone that the route table is used in."""
    of_subnet = {subnet.name: subnet.zone for subnet in vpc.subnets}
    gateway = next(gateway for gateway in topology.transit_gateways if gateway.name == route.target)
    attachment = next(attachment for attachment in gateway.attachments if attachment.vpc == vpc.name)
    for zone in sorted(zones - {of_subnet.get(subnet, "") for subnet in attachment.subnets}):
        yield Problem(
            (*path, "target"),
            f"attachment {attachment.name} has no subnet in zone {zone}, where this route table is used",
        )
