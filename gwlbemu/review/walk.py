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
class Router:
    """Where a route table decides: a subnet, an internet gateway, or a transit gateway's attachment.

    `vpc` is "" for an attachment, `subnet` is "" for both gateways.
    """

    vpc: str
    path: Path
    table: RouteTable | None
    table_path: Path  # of the table, or of the thing that has none
    subnet: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one router did with the packet.

    `route` is the line's number in the table, None for the implicit local line (or no line at all). `last` is False on
    the way to a NAT gateway that will put the real destination in.
    """

    router: Router
    route: int | None
    destination: str
    target: str
    last: bool = True

    @property
    def path(self) -> Path:
        """Where in the file the line stands, or the table (or the thing without a table) where a line is missing."""
        return self.router.table_path if self.route is None else (*self.router.table_path, "routes", self.route)


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one packet: each router's decision, the endpoints that it passed, and whether it arrived.

    `passed` has the name of each endpoint and the number of the decision that led there.
    """

    destination: str
    decisions: tuple[Decision, ...] = ()
    passed: tuple[tuple[str, int], ...] = ()
    arrived: bool = False
    translated_by: str = ""  # the NAT gateway that gave it another source

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that it passed, in their order."""
        return tuple(name for name, _ in self.passed)

    def then(self, further: Walk) -> Walk:
        """Return this way, which ends at a NAT gateway, with `further` from there."""
        decisions = tuple(replace(decision, last=False) for decision in self.decisions)
        moved = tuple((name, number + len(decisions)) for name, number in further.passed)
        return Walk(
            further.destination, decisions + further.decisions, self.passed + moved, self.arrived and further.arrived
        )


@dataclass(frozen=True, slots=True)
class Network:
    """A topology with the look-ups that walking needs."""

    topology: Topology
    layout: Layout
    endpoints: dict[str, tuple[Vpc, Endpoint]] = field(default_factory=dict)
    instances: dict[str, tuple[Vpc, Instance]] = field(default_factory=dict)
    gateways: dict[str, TransitGateway] = field(default_factory=dict)
    nat_subnets: dict[str, str] = field(default_factory=dict)
    subnets: dict[str, Router] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> Network:
        """Return a checked topology with its look-ups."""
        return cls(
            topology,
            lay_out(topology, topology.lab),
            {endpoint.name: (vpc, endpoint) for vpc in topology.vpcs for endpoint in vpc.endpoints},
            {instance.name: (vpc, instance) for vpc in topology.vpcs for instance in vpc.instances},
            {gateway.name: gateway for gateway in topology.transit_gateways},
            {gateway.name: gateway.subnet for vpc in topology.vpcs for gateway in vpc.nat_gateways},
            {
                subnet.name: _router(
                    vpc, index, ("subnets", number), subnet.route_table, subnet=subnet.name, zone=subnet.zone
                )
                for index, vpc in enumerate(topology.vpcs)
                for number, subnet in enumerate(vpc.subnets)
            },
        )

    def vpc(self, name: str) -> Vpc:
        """Return the VPC of that name."""
        return next(vpc for vpc in self.topology.vpcs if vpc.name == name)

    def internet_gateway(self, vpc: Vpc) -> Router | None:
        """Return the router at which what comes from the internet enters a VPC; None without an internet gateway."""
        if vpc.internet_gateway is None:
            return None
        index = [one.name for one in self.topology.vpcs].index(vpc.name)
        return _router(vpc, index, ("internet_gateway",), vpc.internet_gateway.route_table)

    def address(self, instance: str, version: int) -> str:
        """Return the private address of an instance in family 4 or 6; "" without one of that family."""
        _, one = self.instances[instance]
        interface = self.layout.interface(one.subnet, instance)
        return interface.address if version == 4 else interface.ipv6_address

    def subnet_of(self, vpc: Vpc, address: str) -> tuple[str, str]:
        """Return the name and the CIDR of the subnet of a VPC that an address is in; "" and "" when there is none."""
        for subnet in vpc.subnets:
            for cidr in (subnet.cidr, subnet.ipv6_cidr):
                if cidr and IPAddress(address) in IPNetwork(cidr):
                    return subnet.name, cidr
        return "", ""


def _router(vpc: Vpc, index: int, own: Path, table: str | None, *, subnet: str = "", zone: str = "") -> Router:
    path: Path = ("vpcs", index, *own)
    for number, one in enumerate(vpc.route_tables):
        if one.name == table:
            return Router(vpc.name, path, one, ("vpcs", index, "route_tables", number), subnet, zone)
    return Router(vpc.name, path, None, path, subnet, zone)


def walk(network: Network, start: Router, destination: str, *, public_source: bool = True) -> Walk:
    """Return the way of a packet from a router to `destination` (an address).

    Without `public_source` an internet gateway lets it out only behind a NAT gateway.
    """
    router, decisions, passed, nat = start, list[Decision](), list[tuple[str, int]](), ""
    while len(decisions) < LONGEST:
        vpc = network.vpc(router.vpc)
        if router.subnet and network.subnet_of(vpc, destination)[0] == router.subnet:
            return Walk(destination, tuple(decisions), tuple(passed), True, nat)
        decision = _decide(vpc, router, destination)
        decisions.append(decision)
        if decision.target in network.endpoints:
            passed.append((decision.target, len(decisions) - 1))
            router = network.subnets[network.endpoints[decision.target][1].subnet]
        elif decision.target in network.nat_subnets:
            nat = decision.target
            router = network.subnets[network.nat_subnets[decision.target]]
        elif decision.target in network.instances:
            router = network.subnets[network.instances[decision.target][1].subnet]
        elif decision.target in network.gateways:
            further = _across(network, network.gateways[decision.target], router, destination, decisions)
            if further is None:
                break
            router = further
        else:
            inside = decision.target == LOCAL and bool(network.subnet_of(vpc, destination)[0])
            out = vpc.internet_gateway is not None and decision.target == vpc.internet_gateway.name
            return Walk(
                destination, tuple(decisions), tuple(passed), inside or (out and (public_source or bool(nat))), nat
            )
    return Walk(destination, tuple(decisions), tuple(passed), False, nat)


def _decide(vpc: Vpc, router: Router, destination: str) -> Decision:
    """The longest prefix wins; a line for the VPC's CIDR replaces the local line."""
    lines: dict[str, tuple[int | None, str]] = {c: (None, LOCAL) for c in (vpc.cidr, vpc.ipv6_cidr) if c}
    return _longest(router, destination, lines)


def _longest(router: Router, destination: str, lines: dict[str, tuple[int | None, str]]) -> Decision:
    for number, route in enumerate(router.table.routes if router.table else ()):
        lines[route.destination] = (number, route.target)
    address = IPAddress(destination)
    matching = [cidr for cidr in lines if address in IPNetwork(cidr)]
    if not matching:
        return Decision(router, None, "", "")
    best = max(matching, key=lambda cidr: int(IPNetwork(cidr).prefixlen))
    return Decision(router, lines[best][0], best, lines[best][1])


def _across(
    network: Network, gateway: TransitGateway, router: Router, destination: str, decisions: list[Decision]
) -> Router | None:
    """Through a transit gateway: the table of the attachment it came in by, then a zone of the other attachment."""
    came_by = next(each for each in gateway.attachments if each.vpc == router.vpc)
    number = network.topology.transit_gateways.index(gateway)
    tables = [table.name for table in gateway.route_tables]
    path: Path = ("transit_gateways", number, "route_tables", tables.index(came_by.route_table))
    table = gateway.route_tables[tables.index(came_by.route_table)]
    decision = _longest(Router("", path, table, path, zone=router.zone), destination, {})
    decisions.append(decision)
    if decision.target in ("", BLACKHOLE):
        return None
    leaves_by = next(each for each in gateway.attachments if each.name == decision.target)
    return _entered(network, leaves_by, router.zone)


def _entered(network: Network, attachment: Attachment, zone: str) -> Router:
    """Appliance mode: one zone per flow, both ways (here: the first). Else the zone it came from, if it is there."""
    routers = [network.subnets[name] for name in attachment.subnets]
    if attachment.appliance_mode == "enable":
        return routers[0]
    return next((router for router in routers if router.zone == zone), routers[0])
