"""Who has which address: the decisions that everything else in the plan is built from.

A *station* is something with one interface on a subnet's bridge (an instance, a NAT gateway, a load balancer's node).
A *member* is something with a fabric address in a VPC: whatever can be the target of a route there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import RESERVED_FIRST, RESERVED_LAST, Subnet, Topology, Vpc

INTERNET = "internet"
FABRIC = "169.254.0.0/17"  # link-local, unique within a VPC; the upper half is for the links of internet gateways
FABRIC_V6 = "fe80::fab:0/112"


@dataclass(frozen=True, slots=True)
class Station:
    """One interface on a subnet's bridge."""

    resource: str
    subnet: str
    device: str  # eth0 | eni
    address: str
    ipv6_address: str
    mac: str
    rate_mbit: float | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One fabric address of a VPC. `behind`: the subnet whose bridge it sits on, for an instance or NAT gateway."""

    name: str
    mac: str
    address: str
    ipv6_address: str
    behind: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    lab: str
    stations: dict[str, tuple[Station, ...]]  # by subnet, or "internet"
    members: dict[str, dict[str, Member]]  # by VPC, by name

    def namespace(self, resource: str) -> str:
        return names.namespace(self.lab, resource)

    def station(self, subnet: str, resource: str) -> Station:
        return next(station for station in self.stations[subnet] if station.resource == resource)


def gateway(cidr: str) -> str:
    """A subnet's router: its first address."""
    return str(IPNetwork(cidr)[1])


def with_length(address: str, cidr: str) -> str:
    return f"{address}/{IPNetwork(cidr).prefixlen}"


def attachment_member(attachment: str, zone: str) -> str:
    """The name under which a transit gateway attachment is a member of its VPC's fabric in one zone."""
    return f"{attachment}-{zone}"


def lay_out(topology: Topology, lab: str) -> Layout:
    """Give every station and every member its address."""
    stations = {subnet.name: _stations(topology, vpc, subnet) for vpc in topology.vpcs for subnet in vpc.subnets}
    if topology.internet:
        stations[INTERNET] = _internet_stations(topology)
    return Layout(lab, stations, {vpc.name: _members(topology, vpc) for vpc in topology.vpcs})


def _stations(topology: Topology, vpc: Vpc, subnet: Subnet) -> tuple[Station, ...]:
    wanted: list[tuple[str, str, str | None, str | None, float | None]] = [
        (i.name, "eth0", i.address, i.ipv6_address, i.rate_mbit) for i in vpc.instances if i.subnet == subnet.name
    ]
    wanted += [(g.name, "eth0", g.address, None, None) for g in vpc.nat_gateways if g.subnet == subnet.name]
    wanted += [
        (names.node(balancer.name, subnet.zone), "eni", place.address, None, None)
        for balancer in topology.load_balancers
        for place in balancer.subnets
        if place.subnet == subnet.name
    ]
    return _settle(wanted, subnet.name, subnet.cidr, subnet.ipv6_cidr)


def _internet_stations(topology: Topology) -> tuple[Station, ...]:
    internet = topology.internet
    if internet is None:
        return ()
    wanted = [(i.name, "eth0", i.address, i.ipv6_address, i.rate_mbit) for i in internet.instances]
    return _settle(wanted, INTERNET, internet.cidr, internet.ipv6_cidr)


def _settle(
    wanted: list[tuple[str, str, str | None, str | None, float | None]], subnet: str, cidr: str, ipv6_cidr: str | None
) -> tuple[Station, ...]:
    """Given addresses stand; the others get the lowest free ones (instances) or the highest (nodes)."""
    network = IPNetwork(cidr)
    taken = {address for _, _, address, _, _ in wanted if address}
    stations = []
    for resource, device, given, given_v6, rate in wanted:
        address = given or next(free for free in _candidates(network, device) if free not in taken)
        taken.add(address)
        ipv6 = given_v6 or (str(IPNetwork(ipv6_cidr)[int(IPAddress(address)) - network.first]) if ipv6_cidr else "")
        ipv6 = ipv6 if device == "eth0" else ""  # the outer header is IPv4 always: a node needs no IPv6
        stations.append(Station(resource, subnet, device, address, ipv6, names.mac(resource, device), rate))
    return tuple(stations)


def _candidates(network: IPNetwork, device: str) -> Iterator[str]:
    usable = range(RESERVED_FIRST, network.size - RESERVED_LAST)
    return (str(network[offset]) for offset in (usable if device == "eth0" else reversed(usable)))


def _members(topology: Topology, vpc: Vpc) -> dict[str, Member]:
    found: list[tuple[str, str, str]] = [(s.name, names.mac(s.name, "fabric"), "") for s in vpc.subnets]
    if vpc.internet_gateway:
        found.append((vpc.internet_gateway.name, names.mac(vpc.internet_gateway.name, "fabric"), ""))
    found += [(endpoint.name, names.mac(endpoint.name, "endpoint"), "") for endpoint in vpc.endpoints]
    targets = {route.target for table in vpc.route_tables for route in table.routes}
    plugged_in = [*((i.name, i.subnet) for i in vpc.instances), *((g.name, g.subnet) for g in vpc.nat_gateways)]
    found += [(name, names.mac(name, "eth0"), subnet) for name, subnet in plugged_in if name in targets]
    zone_of = {subnet.name: subnet.zone for subnet in vpc.subnets}
    for gateway_ in topology.transit_gateways:
        for attachment in gateway_.attachments:
            if attachment.vpc == vpc.name:
                each = [attachment_member(attachment.name, zone_of[subnet]) for subnet in attachment.subnets]
                found += [(name, names.mac(name, "attachment"), "") for name in each]
    v4, v6 = IPNetwork(FABRIC), IPNetwork(FABRIC_V6)
    return {
        name: Member(name, mac, str(v4[number]), str(v6[number]), behind)
        for number, (name, mac, behind) in enumerate(found, start=1)
    }
