"""Who has which address: the decisions that everything else in the plan is built from.

Two kinds of things have addresses. A NetworkInterface (of an instance, a NAT gateway, a load balancer's node) stands on
a subnet's bridge. A NextHop stands on a VPC's fabric: there is one for each thing that a route there can lead to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.balancing import LoadBalancer, LoadBalancerSubnet
from gwlbemu.topology.file.schema import RESERVED_FIRST, RESERVED_LAST, Subnet, Topology, Vpc
from gwlbemu.topology.plan.node_places import NodePlace, network_places

INTERNET = "internet"
FABRIC = "169.254.0.0/17"  # link-local, unique within a VPC; the upper half is for the links of internet gateways
FABRIC_V6 = "fe80::fab:0/112"


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """The one interface that a resource has on a subnet's bridge (an elastic network interface, in AWS's words)."""

    resource: str
    subnet: str  # name, or "internet"
    device: str  # eth0 | eni
    address: str
    ipv6_address: str  # "" for none
    mac: str
    rate_mbit: float | None = None  # ceiling in each direction; None for none


@dataclass(frozen=True, slots=True)
class NextHop:
    """One neighbour on a VPC's fabric, to which a route can lead."""

    name: str  # of the resource; of a transit gateway's attachment with the zone (see `names.attachment`)
    mac: str
    address: str
    ipv6_address: str
    behind: str = ""  # the subnet on whose bridge it stands, for an instance or a NAT gateway


@dataclass(frozen=True, slots=True)
class Layout:
    """Every address of a lab: of what stands on the bridges of subnets, and on the fabrics of VPCs."""

    lab: str
    interfaces: dict[str, tuple[NetworkInterface, ...]]  # by subnet, or "internet"
    next_hops: dict[str, dict[str, NextHop]]  # by VPC, by name

    def namespace(self, resource: str) -> str:
        """Return the name of the resource's network namespace."""
        return names.namespace(self.lab, resource)

    def interface(self, subnet: str, resource: str) -> NetworkInterface:
        """Return the interface of a resource in the subnet that it is in."""
        return next(interface for interface in self.interfaces[subnet] if interface.resource == resource)

    def node_values(self, place: NodePlace) -> dict[str, str]:
        """Return what a plan says of every node that has an address: the fields of `values.AddressedNode`."""
        eni = self.interface(place.subnet.name, place.node)
        return {
            "name": place.node,
            "load_balancer": place.balancer.name,
            "zone": place.subnet.zone,
            "namespace": self.namespace(place.node),
            "subnet": place.subnet.name,
            "device": eni.device,
            "address": eni.address,
            "ipv6_address": eni.ipv6_address,
            "public_address": place.public_address,
            "mac": eni.mac,
        }


def gateway(cidr: str) -> str:
    """Return the address of a subnet's router: the first of `cidr`, of either family."""
    return str(IPNetwork(cidr)[1])


def with_length(address: str, cidr: str) -> str:
    """Return an address with the prefix length of its network, such as 10.0.1.10/24."""
    return f"{address}/{IPNetwork(cidr).prefixlen}"


def lay_out(topology: Topology, lab: str) -> Layout:
    """Give every interface and every next hop of a checked topology its address; `lab` is the lab's name."""
    interfaces = {subnet.name: _interfaces(topology, vpc, subnet) for vpc in topology.vpcs for subnet in vpc.subnets}
    if topology.internet:
        interfaces[INTERNET] = _internet_interfaces(topology)
    return Layout(lab, interfaces, {vpc.name: _next_hops(topology, vpc) for vpc in topology.vpcs})


def _interfaces(topology: Topology, vpc: Vpc, subnet: Subnet) -> tuple[NetworkInterface, ...]:
    wanted: list[tuple[str, str, str | None, str | None, float | None]] = [
        (i.name, "eth0", i.address, i.ipv6_address, i.rate_mbit) for i in vpc.instances if i.subnet == subnet.name
    ]
    wanted += [(g.name, "eth0", g.address, None, None) for g in vpc.nat_gateways if g.subnet == subnet.name]
    wanted += [
        (names.node(balancer.name, subnet.zone), "eni", place.address, _node_ipv6(balancer, place), None)
        for balancer in topology.load_balancers
        for place in balancer.subnets
        if place.subnet == subnet.name
    ]
    return _settle(wanted, subnet.name, subnet.cidr, subnet.ipv6_cidr)


def _node_ipv6(balancer: LoadBalancer, mapping: LoadBalancerSubnet) -> str | None:
    """A node has an IPv6 address where its load balancer is dual-stack; GENEVE's outer header is IPv4 always."""
    return mapping.ipv6_address if balancer.ip_address_type == "dualstack" else ""


def _internet_interfaces(topology: Topology) -> tuple[NetworkInterface, ...]:
    internet = topology.internet
    if internet is None:
        return ()
    wanted = [(i.name, "eth0", i.address, i.ipv6_address, i.rate_mbit) for i in internet.instances]
    return _settle(wanted, INTERNET, internet.cidr, internet.ipv6_cidr)


def _settle(
    wanted: list[tuple[str, str, str | None, str | None, float | None]], subnet: str, cidr: str, ipv6_cidr: str | None
) -> tuple[NetworkInterface, ...]:
    """Given addresses stand; the others get the lowest free ones (instances) or the highest (nodes).

    A given IPv6 address is text, "" for none, or None for the one that goes with the IPv4 address.
    """
    network = IPNetwork(cidr)
    taken = {address for _, _, address, _, _ in wanted if address}
    interfaces = []
    for resource, device, given, given_v6, rate in wanted:
        address = given or next(free for free in _candidates(network, device) if free not in taken)
        taken.add(address)
        chosen = str(IPNetwork(ipv6_cidr)[int(IPAddress(address)) - network.first]) if ipv6_cidr else ""
        ipv6 = chosen if given_v6 is None else given_v6
        interfaces.append(NetworkInterface(resource, subnet, device, address, ipv6, names.mac(resource, device), rate))
    return tuple(interfaces)


def _candidates(network: IPNetwork, device: str) -> Iterator[str]:
    usable = range(RESERVED_FIRST, network.size - RESERVED_LAST)
    return (str(network[offset]) for offset in (usable if device == "eth0" else reversed(usable)))


def _next_hops(topology: Topology, vpc: Vpc) -> dict[str, NextHop]:
    found: list[tuple[str, str, str]] = [(s.name, names.mac(s.name, "fabric"), "") for s in vpc.subnets]
    if vpc.internet_gateway:
        found.append((vpc.internet_gateway.name, names.mac(vpc.internet_gateway.name, "fabric"), ""))
    found += [(endpoint.name, names.mac(endpoint.name, "endpoint"), "") for endpoint in vpc.endpoints]
    nodes = [place.node for place in network_places(topology) if place.vpc.name == vpc.name]
    found += [(node, names.mac(node, "fabric"), "") for node in nodes]
    targets = {route.target for table in vpc.route_tables for route in table.routes}
    plugged_in = [*((i.name, i.subnet) for i in vpc.instances), *((g.name, g.subnet) for g in vpc.nat_gateways)]
    found += [(name, names.mac(name, "eth0"), subnet) for name, subnet in plugged_in if name in targets]
    zone_of = {subnet.name: subnet.zone for subnet in vpc.subnets}
    for gateway_ in topology.transit_gateways:
        for attachment in gateway_.attachments:
            if attachment.vpc == vpc.name:
                each = [names.attachment(attachment.name, zone_of[subnet]) for subnet in attachment.subnets]
                found += [(name, names.mac(name, "attachment"), "") for name in each]
    v4, v6 = IPNetwork(FABRIC), IPNetwork(FABRIC_V6)
    return {
        name: NextHop(name, mac, str(v4[number]), str(v6[number]), behind)
        for number, (name, mac, behind) in enumerate(found, start=1)
    }
