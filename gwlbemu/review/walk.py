"""Follow a packet through the route tables of a topology: which tables decide, which endpoints it passes.

This file may know how AWS routes (the same rules as `routes` and `transit`, from the same pages) and nothing of what
makes a way good or bad. Security groups, health and NAT ports are not looked at. A way is followed in one address
family; `Network` is what has been looked up once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from netaddr import IPAddress, IPNetwork

from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import (
    BLACKHOLE,
    LOCAL,
    Attachment,
    Endpoint,
    Instance,
    RouteTable,
    Topology,
    TransitGateway,
    Vpc,
)
from gwlbemu.topology.plan.layout import Layout, lay_out

LONGEST = 32  # decisions; a way that is longer goes in circles


@dataclass(frozen=True, slots=True)
class Place:
    """Where a route table decides: a subnet, an internet gateway (`subnet` is ""), or a transit gateway attachment."""

    vpc: str
    path: Path
    table: RouteTable | None
    table_path: Path  # of the table, or of the thing that has none
    subnet: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """One decision. `route` is the line's number in the table, None for the implicit local line (or no line at all).

    `last` is False on the way to a NAT gateway that will put the real destination in.
    """

    place: Place
    route: int | None
    destination: str
    target: str
    last: bool = True

    @property
    def path(self) -> Path:
        """The line, or the table (or the thing without a table) where a line is missing."""
        return self.place.table_path if self.route is None else (*self.place.table_path, "routes", self.route)


@dataclass(frozen=True, slots=True)
class Way:
    """The decisions about a packet, the endpoints that it passed (name, number of the hop that led there), its end."""

    destination: str
    hops: tuple[Hop, ...] = ()
    passed: tuple[tuple[str, int], ...] = ()
    arrived: bool = False
    translated_by: str = ""  # the NAT gateway that gave it another source

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.passed)

    def then(self, further: Way) -> Way:
        """This way to a NAT gateway, and `further` from there."""
        hops = tuple(replace(hop, last=False) for hop in self.hops)
        moved = tuple((name, number + len(hops)) for name, number in further.passed)
        return Way(further.destination, hops + further.hops, self.passed + moved, self.arrived and further.arrived)


@dataclass(frozen=True, slots=True)
class Network:
    """A topology with the look-ups that walking needs."""

    topology: Topology
    layout: Layout
    endpoints: dict[str, tuple[Vpc, Endpoint]] = field(default_factory=dict)
    instances: dict[str, tuple[Vpc, Instance]] = field(default_factory=dict)
    gateways: dict[str, TransitGateway] = field(default_factory=dict)
    nat_subnets: dict[str, str] = field(default_factory=dict)
    subnets: dict[str, Place] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> Network:
        return cls(
            topology,
            lay_out(topology, topology.lab),
            {endpoint.name: (vpc, endpoint) for vpc in topology.vpcs for endpoint in vpc.endpoints},
            {instance.name: (vpc, instance) for vpc in topology.vpcs for instance in vpc.instances},
            {gateway.name: gateway for gateway in topology.transit_gateways},
            {gateway.name: gateway.subnet for vpc in topology.vpcs for gateway in vpc.nat_gateways},
            {
                subnet.name: _place(vpc, index, ("subnets", number), subnet.route_table, subnet.name, subnet.zone)
                for index, vpc in enumerate(topology.vpcs)
                for number, subnet in enumerate(vpc.subnets)
            },
        )

    def vpc(self, name: str) -> Vpc:
        return next(vpc for vpc in self.topology.vpcs if vpc.name == name)

    def internet_gateway(self, vpc: Vpc) -> Place | None:
        """Where what comes from the internet enters a VPC."""
        if vpc.internet_gateway is None:
            return None
        index = [one.name for one in self.topology.vpcs].index(vpc.name)
        return _place(vpc, index, ("internet_gateway",), vpc.internet_gateway.route_table)

    def address(self, instance: str, version: int) -> str:
        """The private address of an instance; "" without one of that family."""
        _, one = self.instances[instance]
        station = self.layout.station(one.subnet, instance)
        return station.address if version == 4 else station.ipv6_address

    def subnet_of(self, vpc: Vpc, address: str) -> tuple[str, str]:
        """The subnet of a VPC that an address is in, and its CIDR; empty when there is none."""
        for subnet in vpc.subnets:
            for cidr in (subnet.cidr, subnet.ipv6_cidr):
                if cidr and IPAddress(address) in IPNetwork(cidr):
                    return subnet.name, cidr
        return "", ""


def _place(vpc: Vpc, index: int, own: Path, table: str | None, subnet: str = "", zone: str = "") -> Place:
    path: Path = ("vpcs", index, *own)
    for number, one in enumerate(vpc.route_tables):
        if one.name == table:
            return Place(vpc.name, path, one, ("vpcs", index, "route_tables", number), subnet, zone)
    return Place(vpc.name, path, None, path, subnet, zone)


def walk(network: Network, start: Place, destination: str, *, public_source: bool = True) -> Way:
    """The way of a packet to `destination`; without `public_source` an internet gateway lets it out only behind NAT."""
    place, hops, passed, nat = start, list[Hop](), list[tuple[str, int]](), ""
    while len(hops) < LONGEST:
        vpc = network.vpc(place.vpc)
        if place.subnet and network.subnet_of(vpc, destination)[0] == place.subnet:
            return Way(destination, tuple(hops), tuple(passed), True, nat)
        hop = _decide(vpc, place, destination)
        hops.append(hop)
        if hop.target in network.endpoints:
            passed.append((hop.target, len(hops) - 1))
            place = network.subnets[network.endpoints[hop.target][1].subnet]
        elif hop.target in network.nat_subnets:
            nat = hop.target
            place = network.subnets[network.nat_subnets[hop.target]]
        elif hop.target in network.instances:
            place = network.subnets[network.instances[hop.target][1].subnet]
        elif hop.target in network.gateways:
            further = _across(network, network.gateways[hop.target], place, destination, hops)
            if further is None:
                break
            place = further
        else:
            inside = hop.target == LOCAL and bool(network.subnet_of(vpc, destination)[0])
            out = vpc.internet_gateway is not None and hop.target == vpc.internet_gateway.name
            return Way(destination, tuple(hops), tuple(passed), inside or (out and (public_source or bool(nat))), nat)
    return Way(destination, tuple(hops), tuple(passed), False, nat)


def _decide(vpc: Vpc, place: Place, destination: str) -> Hop:
    """The longest prefix wins; a line for the VPC's CIDR replaces the local line."""
    lines: dict[str, tuple[int | None, str]] = {c: (None, LOCAL) for c in (vpc.cidr, vpc.ipv6_cidr) if c}
    return _longest(place, destination, lines)


def _longest(place: Place, destination: str, lines: dict[str, tuple[int | None, str]]) -> Hop:
    for number, route in enumerate(place.table.routes if place.table else ()):
        lines[route.destination] = (number, route.target)
    address = IPAddress(destination)
    matching = [cidr for cidr in lines if address in IPNetwork(cidr)]
    if not matching:
        return Hop(place, None, "", "")
    best = max(matching, key=lambda cidr: int(IPNetwork(cidr).prefixlen))
    return Hop(place, lines[best][0], best, lines[best][1])


def _across(network: Network, gateway: TransitGateway, place: Place, destination: str, hops: list[Hop]) -> Place | None:
    """Through a transit gateway: the table of the attachment it came in by, then a zone of the other attachment."""
    came_by = next(each for each in gateway.attachments if each.vpc == place.vpc)
    number = network.topology.transit_gateways.index(gateway)
    tables = [table.name for table in gateway.route_tables]
    path: Path = ("transit_gateways", number, "route_tables", tables.index(came_by.route_table))
    table = gateway.route_tables[tables.index(came_by.route_table)]
    hop = _longest(Place("", path, table, path, zone=place.zone), destination, {})
    hops.append(hop)
    if hop.target in ("", BLACKHOLE):
        return None
    leaves_by = next(each for each in gateway.attachments if each.name == hop.target)
    return _entered(network, leaves_by, place.zone)


def _entered(network: Network, attachment: Attachment, zone: str) -> Place:
    """Appliance mode: one zone per flow, both ways (here: the first). Else the zone it came from, if it is there."""
    places = [network.subnets[name] for name in attachment.subnets]
    if attachment.appliance_mode == "enable":
        return places[0]
    return next((place for place in places if place.zone == zone), places[0])
