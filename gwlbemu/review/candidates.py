"""Changes of one line of a topology that may mend a fault, the likeliest first. Whether one does is tried: `mends`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import cast

from netaddr import IPNetwork, spanning_cidr

from gwlbemu.paths.machine import covers
from gwlbemu.review.edit import Edit, adding, changed, removing, setting
from gwlbemu.review.fault import Fault, at, is_line, table_path
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import LOCAL, Route, RouteTable, Topology, Vpc


def candidates(topology: Topology, fault: Fault) -> list[Edit]:
    """Return the changes of one line that may mend a fault, the likeliest first, each once."""
    found: dict[tuple[Path, str], Edit] = {(edit.path, edit.change): edit for edit in fault.edits}
    for number, line in enumerate(fault.lines):
        for edit in _at_line(topology, fault, line):
            ranked = replace(edit, rank=edit.rank + min(number, 6))
            known = found.get((edit.path, edit.change))
            if known is None or ranked.rank < known.rank:
                found[edit.path, edit.change] = ranked
    return sorted(found.values(), key=lambda edit: edit.rank)


def _at_line(topology: Topology, fault: Fault, line: Path) -> Iterator[Edit]:
    kind = line[0]
    if kind == "transit_gateways" and len(line) > 3:
        yield from _transit(topology, fault, line)
    elif kind == "vpcs" and len(line) > 2:
        vpc = topology.vpcs[int(line[1])]
        if line[2] == "route_tables":
            yield from _table(topology, fault, vpc, line)
        elif line[2] in ("subnets", "internet_gateway"):
            yield from _association(topology, fault, vpc, line)


# ---- a table of a VPC ----
def _table(topology: Topology, fault: Fault, vpc: Vpc, line: Path) -> Iterator[Edit]:
    path = table_path(line)
    table = at(topology, path)
    assert isinstance(table, RouteTable)
    zones = _zones(vpc, table, fault.wanted.get(path, set()))
    targets = _targets(topology, vpc, zones)
    if is_line(line):
        route = at(topology, line)
        assert isinstance(route, Route)
        home = {one.zone for one in vpc.subnets if route.destination in (one.cidr, one.ipv6_cidr)}
        for target, rank in _targets(topology, vpc, home or zones).items():
            if target != route.target:
                yield _retarget(line, target, rank)
        yield removing(line, 4)
    known = set(_siblings(topology, vpc))
    translated = {one.subnet for one in vpc.nat_gateways}
    if any(one.name in translated and one.route_table == table.name for one in vpc.subnets):
        for one in vpc.nat_gateways:  # which a NAT gateway's own packets have passed
            targets[one.name] += 4
    for destination, order in _destinations(topology, fault, vpc, path).items():
        if destination not in {route.destination for route in table.routes}:
            for target, rank in targets.items():
                unlikely = rank - 1 if (destination, target) in known else rank
                yield _add(path, destination, target, max(unlikely, 0) + order + (2 if is_line(line) else 0))


def _zones(vpc: Vpc, table: RouteTable, wanted: set[str]) -> set[str]:
    """The zones in which a table is used; of an edge table those of the subnets that it leads to."""
    if vpc.internet_gateway and vpc.internet_gateway.route_table == table.name:
        return {one.zone for one in vpc.subnets if any(covers(one.cidr, address) for address in wanted)}
    return {one.zone for one in vpc.subnets if one.route_table == table.name}


def _targets(topology: Topology, vpc: Vpc, zones: set[str]) -> dict[str, int]:
    """What a line may lead to, with how unlikely that is: what stands in another zone is."""
    homes = {subnet.name: subnet.zone for subnet in vpc.subnets}
    standing = [(one.name, one.subnet) for one in vpc.endpoints] + [(one.name, one.subnet) for one in vpc.nat_gateways]
    found = {name: 0 if homes[subnet] in zones else 2 for name, subnet in standing}
    for gateway in topology.transit_gateways:
        if any(each.vpc == vpc.name for each in gateway.attachments):
            found[gateway.name] = 1
    if vpc.internet_gateway:
        found[vpc.internet_gateway.name] = 1
    return {**found, LOCAL: 3}


def _siblings(topology: Topology, vpc: Vpc) -> list[tuple[str, str]]:
    """Destination and target of the lines of a VPC, and of those of others that lead to a transit gateway of it."""
    hubs = {one.name for one in topology.transit_gateways if any(each.vpc == vpc.name for each in one.attachments)}
    return [
        (route.destination, route.target)
        for one in topology.vpcs
        for table in one.route_tables
        for route in table.routes
        if one is vpc or route.target in hubs
    ]


def _destinations(topology: Topology, fault: Fault, vpc: Vpc, path: Path) -> dict[str, int]:
    """Destinations that cover what is wanted of a table, with how unlikely each is: all, or what is inside VPCs."""
    siblings = [destination for destination, _ in _siblings(topology, vpc)]
    subnets = [cidr for one in vpc.subnets for cidr in (one.cidr, one.ipv6_cidr) if cidr]
    networks = [cidr for one in topology.vpcs for cidr in (one.cidr, one.ipv6_cidr) if cidr]
    found: dict[str, int] = {}
    for version in (4, 6):
        wanted = {address for address in fault.wanted.get(path, ()) if (":" in address) == (version == 6)}
        inside = {address for address in wanted if any(covers(network, address) for network in networks)}
        for addresses in filter(None, (inside, wanted)):
            mine = [network for network in networks if any(covers(network, address) for address in addresses)]
            wider = [str(spanning_cidr([IPNetwork(network) for network in mine]))] if len(mine) > 1 else []
            everything = ["::/0" if version == 6 else "0.0.0.0/0"] if addresses == wanted else []
            for cidr in (*subnets, *mine, *siblings, *wider, *everything):
                if all(covers(cidr, address) for address in addresses):
                    found.setdefault(cidr, (cidr not in siblings) + (cidr.endswith("/0") and bool(inside)))
    return found


def _retarget(line: Path, target: str, rank: int) -> Edit:
    return setting((*line, "target"), target, f"target: {target}", rank)


def _add(table: Path, destination: str, target: str, rank: int) -> Edit:
    route = Route(destination=destination, target=target)
    text = f"add {{destination: {destination}, target: {target}}}"
    return adding((*table, "routes"), route, text, table, rank)


# ---- which table is used ----
def _association(topology: Topology, fault: Fault, vpc: Vpc, owner: Path) -> Iterator[Edit]:
    """A subnet or an internet gateway without a table: one that is there, or one of its own with one line."""
    used = {subnet.route_table for subnet in vpc.subnets} | {vpc.internet_gateway and vpc.internet_gateway.route_table}
    path = (*owner, "route_table")
    for table in vpc.route_tables:
        yield _associate(path, table.name, 1 if table.name in used else 0)
    subnet = at(topology, owner) if owner[2] == "subnets" else None
    zones = {str(getattr(subnet, "zone", ""))} if subnet else {one.zone for one in vpc.subnets}
    for destination, order in _destinations(topology, fault, vpc, owner).items():
        for target, rank in _targets(topology, vpc, zones).items():
            yield _own_table(owner, destination, target, rank + order + 2)


def _associate(path: Path, table: str, rank: int) -> Edit:
    return setting(path, table, f"route_table: {table}", rank)


def _own_table(owner: Path, destination: str, target: str, rank: int) -> Edit:
    name = "doctor-s-own"
    table = RouteTable(name=name, routes=(Route(destination=destination, target=target),))

    def apply(topology: Topology) -> Topology:
        tables = (*owner[:2], "route_tables")
        more = changed(topology, tables, lambda known: (*cast(tuple[RouteTable, ...], known), table))
        return changed(more, (*owner, "route_table"), lambda _: name)

    line = f"{{destination: {destination}, target: {target}}}"
    return Edit((*owner, "route_table"), f"route_table: one of its own, with {line}", apply, rank)


# ---- a transit gateway ----
def _transit(topology: Topology, fault: Fault, line: Path) -> Iterator[Edit]:
    index = int(line[1])
    gateway, path = topology.transit_gateways[index], table_path(line)
    here: Path = ("transit_gateways", index, "attachments")
    for number, each in enumerate(gateway.attachments):
        mode = (*here, number, "appliance_mode")
        if each.appliance_mode == "disable" and len(each.subnets) > 1:
            yield setting(mode, "enable", "appliance_mode: enable")
        for table in gateway.route_tables:
            if table.name != each.route_table:
                fits = all(
                    any(covers(route.destination, address) for route in table.routes)
                    for address in fault.wanted.get(path, ())
                )
                yield _associate((*here, number, "route_table"), table.name, 0 if fits else 3)
    found = at(topology, path)
    if not isinstance(found, RouteTable):
        return
    if is_line(line):
        route = at(topology, line)
        for each in gateway.attachments:
            if isinstance(route, Route) and each.name != route.target:
                yield _retarget(line, each.name, 1)
        yield removing(line, 2)
    for destination, order in _transit_destinations(topology, fault, path).items():
        if destination not in {route.destination for route in found.routes}:
            for each in gateway.attachments:
                yield _add(path, destination, each.name, order + 1)


def _transit_destinations(topology: Topology, fault: Fault, path: Path) -> dict[str, int]:
    wanted = fault.wanted.get(path, set())
    table = at(topology, path)
    assert isinstance(table, RouteTable)
    lost = {address for address in wanted if not any(covers(route.destination, address) for route in table.routes)}
    wanted = lost or wanted
    versions = {ip_network(address).version for address in wanted}
    if len(versions) != 1:
        return {}
    v6 = versions == {6}
    networks = [one.ipv6_cidr if v6 else one.cidr for one in topology.vpcs]
    found = [network for network in networks if network and all(covers(network, address) for address in wanted)]
    return {network: order for order, network in enumerate([*found, "::/0" if v6 else "0.0.0.0/0"])}
