"""What is plugged into a subnet's bridge: instances, NAT gateways, load balancer nodes."""

from __future__ import annotations

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import Endpoint, Instance, SecurityGroup, Subnet, Topology, Vpc
from gwlbemu.topology.plan import rulesets
from gwlbemu.topology.plan.layout import INTERNET, Station, gateway, with_length
from gwlbemu.topology.plan.machine import INTERNET_MTU, VPC_MTU, Blueprint, Settings, station_neighbours
from gwlbemu.topology.plan.values import Link, Namespace, Neighbour, Route


def instance_blueprint(topology: Topology, settings: Settings, vpc: Vpc, instance: Instance) -> Blueprint:
    """An instance of a VPC: its address, its security groups, its source/destination check."""
    subnet = next(subnet for subnet in vpc.subnets if subnet.name == instance.subnet)
    station = settings.layout.station(subnet.name, instance.name)
    groups = [group for group in vpc.security_groups if group.name in instance.security_groups]
    rules = rulesets.security_groups(groups, group_members(settings, vpc)) if groups else ""
    if instance.source_dest_check:
        rules = rulesets.source_destination_check(station.address, station.ipv6_address) + rules
    return _plugged_in(
        settings, station, "instance", subnet.cidr, subnet.ipv6_cidr, VPC_MTU, rules, not instance.source_dest_check
    )


def internet_instance_blueprint(settings: Settings, station: Station, cidr: str, ipv6_cidr: str | None) -> Blueprint:
    """An instance on the internet."""
    return _plugged_in(settings, station, "instance", cidr, ipv6_cidr, INTERNET_MTU, "", False)


def nat_gateway_blueprint(settings: Settings, subnet: Subnet, name: str) -> Blueprint:
    """A NAT gateway: one interface; what it forwards leaves by the same subnet with the gateway's address."""
    station = settings.layout.station(subnet.name, name)
    rules = rulesets.nat_gateway(station.address)
    return _plugged_in(settings, station, "nat-gateway", subnet.cidr, None, VPC_MTU, rules, True)


def node_blueprint(
    settings: Settings, subnet: Subnet, station: Station, endpoints: list[tuple[Vpc, Endpoint]]
) -> Blueprint:
    """A load balancer's node: its ENI in the subnet, and one interface on a VPC's fabric per endpoint."""
    eni = _plugged_in(settings, station, "node", subnet.cidr, None, VPC_MTU, rulesets.node(), False)
    links = [
        Link(
            settings.port(vpc.name, "fabric", endpoint.name),
            settings.end(station.resource, names.device(endpoint.name), names.mac(endpoint.name, "endpoint")),
        )
        for vpc, endpoint in endpoints
    ]
    return Blueprint(eni.namespaces, eni.links + tuple(links))


def group_members(settings: Settings, vpc: Vpc) -> dict[str, tuple[str, ...]]:
    """The addresses of the instances in each security group of a VPC."""

    def addresses(group: SecurityGroup) -> tuple[str, ...]:
        stations = [settings.layout.station(i.subnet, i.name) for i in vpc.instances if group.name in i.security_groups]
        return tuple(address for s in stations for address in (s.address, s.ipv6_address) if address)

    return {group.name: addresses(group) for group in vpc.security_groups}


def _plugged_in(
    settings: Settings,
    station: Station,
    role: str,
    cidr: str,
    ipv6_cidr: str | None,
    mtu: int,
    rules: str,
    forwarding: bool,
) -> Blueprint:
    """One namespace with one interface on the subnet's bridge, a default route, and every neighbour known."""
    router = station.subnet
    bridge = INTERNET if router == INTERNET else "subnet"
    router_mac = names.mac(router, bridge)
    addresses, routes = [with_length(station.address, cidr)], [Route("0.0.0.0/0", station.device, gateway(cidr))]
    neighbours = [Neighbour(station.device, gateway(cidr), router_mac)]
    if ipv6_cidr and station.ipv6_address:
        addresses.append(f"{station.ipv6_address}/{IPNetwork(ipv6_cidr).prefixlen}")
        routes.append(Route("::/0", station.device, gateway(ipv6_cidr)))
        neighbours.append(Neighbour(station.device, gateway(ipv6_cidr), router_mac))
    others = [other for other in settings.layout.stations[router] if other.resource != station.resource]
    namespace = Namespace(
        name=settings.layout.namespace(station.resource),
        resource=station.resource,
        role=role,
        forwarding=forwarding,
        routes=tuple(routes),
        neighbours=(*neighbours, *station_neighbours(station.device, others)),
        nftables=rules,
    )
    link = Link(
        settings.port(router, bridge, station.resource, mtu, station.rate_mbit),
        settings.end(
            station.resource, station.device, station.mac, mtu, addresses=addresses, rate_mbit=station.rate_mbit
        ),
    )
    return Blueprint((namespace,), (link,))
