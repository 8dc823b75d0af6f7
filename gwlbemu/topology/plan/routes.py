"""A route table in AWS's words -> the lines of a namespace's main table.

Rules of this file: `local` is every other subnet of the VPC by its fabric address, and nowhere for the rest of the
VPC's CIDR; a more specific route that is a whole subnet replaces that subnet's local line (contract
EP-03), one that is the VPC's CIDR replaces all of them. A subnet's own addresses are always on its own bridge.
"""

from __future__ import annotations

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import LOCAL, RouteTable, Subnet, Topology, Vpc
from gwlbemu.topology.plan.layout import Layout, NextHop
from gwlbemu.topology.plan.machine_half import KernelRoute
from gwlbemu.topology.plan.values import Path

_MAIN = RouteTable.model_construct(name="main", routes=())


def table_named(vpc: Vpc, name: str | None) -> RouteTable:
    """Return a VPC's route table; without a name the main table, which holds the local route only."""
    return next((table for table in vpc.route_tables if table.name == name), _MAIN)


def lines(topology: Topology, layout: Layout, vpc: Vpc, table: RouteTable, own: Subnet | None) -> list[KernelRoute]:
    """Return a route table as the kernel's: of the subnet `own`, or of the internet gateway when `own` is None."""
    hops = layout.next_hops[vpc.name]
    explicit = {route.destination: route.target for route in table.routes}
    here = _place(topology, vpc, table, own)
    paths: dict[str, Path] = {route.destination: (*here, "routes", n) for n, route in enumerate(table.routes)}
    found: list[KernelRoute] = []
    for cidr, of_subnet in ((vpc.cidr, "cidr"), (vpc.ipv6_cidr, "ipv6_cidr")):
        if cidr is None:
            continue
        whole = explicit.get(cidr, LOCAL)
        for subnet in vpc.subnets:
            destination: str | None = getattr(subnet, of_subnet)
            if destination is None or (own is not None and subnet.name == own.name):
                continue
            target = explicit.get(destination, whole)
            line = destination if destination in explicit else cidr
            source = f"route table {table.name}: {line} -> {target}"
            hop = hops[subnet.name] if target == LOCAL else _next_hop(topology, vpc, hops, target, own)
            source = f"{source} ({subnet.name})" if target == LOCAL else source
            found.append(_via(destination, hop, source, paths.get(line, here)))
        source, path = f"route table {table.name}: {cidr} -> {whole}", paths.get(cidr, here)
        if whole == LOCAL:
            found.append(KernelRoute(cidr, kind="blackhole", source=f"{source} (no such subnet)", path=path))
        else:
            found.append(_via(cidr, _next_hop(topology, vpc, hops, whole, own), source, path))
    inside = {vpc.cidr, vpc.ipv6_cidr} | {s.cidr for s in vpc.subnets} | {s.ipv6_cidr for s in vpc.subnets}
    for destination, target in explicit.items():
        if destination not in inside:
            hop = _next_hop(topology, vpc, hops, target, own)
            source = f"route table {table.name}: {destination} -> {target}"
            found.append(_via(destination, hop, source, paths[destination]))
    return found


def place_of_table(vpc: Vpc, index: int, name: str | None, own: Path) -> Path:
    """Return where in the file the route table `name` of a VPC (the file's number `index`) stands; `own` without it."""
    numbers = {table.name: number for number, table in enumerate(vpc.route_tables)}
    return ("vpcs", index, "route_tables", numbers[name]) if name in numbers else own


def _place(topology: Topology, vpc: Vpc, table: RouteTable, own: Subnet | None) -> Path:
    index = topology.vpcs.index(vpc)
    user: Path = ("internet_gateway",) if own is None else ("subnets", vpc.subnets.index(own))
    return place_of_table(vpc, index, table.name if table is not _MAIN else None, ("vpcs", index, *user))


def _via(destination: str, hop: NextHop, source: str, path: Path) -> KernelRoute:
    via = hop.ipv6_address if IPNetwork(destination).version == 6 else hop.address
    return KernelRoute(destination, "fabric", via, source=source, path=path)


def _next_hop(topology: Topology, vpc: Vpc, hops: dict[str, NextHop], target: str, own: Subnet | None) -> NextHop:
    """The fabric neighbour that a target is; a transit gateway is its attachment in the subnet's own zone."""
    for gateway in topology.transit_gateways:
        if gateway.name == target and own is not None:
            attachment = next(a for a in gateway.attachments if a.vpc == vpc.name)
            return hops[names.attachment(attachment.name, own.zone)]
    return hops[target]
