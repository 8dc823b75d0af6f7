"""What is plugged into a subnet's bridge: instances, NAT gateways, load balancer nodes."""

from __future__ import annotations

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import Endpoint, Instance, SecurityGroup, Subnet, Topology, Vpc
from gwlbemu.topology.plan import rulesets
from gwlbemu.topology.plan.layout import INTERNET, Layout, NetworkInterface, gateway, with_length
from gwlbemu.topology.plan.machine import INTERNET_MTU, VPC_MTU, Blueprint, Settings, interface_neighbours
from gwlbemu.topology.plan.machine_half import InstancePort, KernelRoute, Link, Namespace, Neighbour
from gwlbemu.topology.plan.node_places import addressed_places
from gwlbemu.topology.plan.port_groups import Groups
from gwlbemu.topology.plan.resolver import resolver_neighbour


def instance_blueprint(topology: Topology, settings: Settings, vpc: Vpc, instance: Instance) -> Blueprint:
    """Return an instance of a VPC; what it may send and get is said at its port (see `instance_port`)."""
    subnet = next(subnet for subnet in vpc.subnets if subnet.name == instance.subnet)
    interface = settings.layout.interface(subnet.name, instance.name)
    return plugged_in(
        settings,
        interface,
        "instance",
        cidr=subnet.cidr,
        ipv6_cidr=subnet.ipv6_cidr,
        forwarding=not instance.source_dest_check,
        neighbours=resolver_neighbour(vpc, subnet),
    )


def internet_instance_blueprint(
    settings: Settings, interface: NetworkInterface, cidr: str, ipv6_cidr: str | None
) -> Blueprint:
    """Return an instance on the internet; the CIDRs are those of the internet."""
    return plugged_in(settings, interface, "instance", cidr=cidr, ipv6_cidr=ipv6_cidr, mtu=INTERNET_MTU)


def nat_gateway_blueprint(settings: Settings, subnet: Subnet, name: str) -> Blueprint:
    """Return a NAT gateway: what it forwards leaves by its one interface with the gateway's address."""
    interface = settings.layout.interface(subnet.name, name)
    rules = rulesets.nat_gateway(interface.address)
    return plugged_in(settings, interface, "nat-gateway", cidr=subnet.cidr, rules=rules, forwarding=True)


def node_blueprint(
    settings: Settings, subnet: Subnet, interface: NetworkInterface, endpoints: list[tuple[Vpc, Endpoint]]
) -> Blueprint:
    """Return a load balancer's node: its ENI in the subnet, and one interface on a VPC's fabric per endpoint."""
    eni = plugged_in(settings, interface, "node", cidr=subnet.cidr, rules=rulesets.node())
    links = [
        Link(
            settings.port(vpc.name, "fabric", endpoint.name),
            settings.end(interface.resource, names.device(endpoint.name), names.mac(endpoint.name, "endpoint")),
        )
        for vpc, endpoint in endpoints
    ]
    return Blueprint(eni.namespaces, eni.links + tuple(links))


def instance_port(
    interface: NetworkInterface,
    *,
    source_dest_check: bool = True,
    groups: Groups | None = None,
    returns: bool = False,
) -> InstancePort:
    """Return what the bridge port that leads to an instance's interface lets through."""
    return InstancePort(
        names.device(interface.resource),
        interface.mac,
        interface.address,
        interface.ipv6_address,
        source_dest_check,
        groups is not None,
        groups.open_rules() if groups else (),
        returns,
    )


def group_members(topology: Topology, layout: Layout, vpc: Vpc) -> dict[str, tuple[str, ...]]:
    """Return the addresses of what is in each security group of a VPC, by the name of the group."""

    def addresses(group: SecurityGroup) -> tuple[str, ...]:
        interfaces = [layout.interface(i.subnet, i.name) for i in vpc.instances if group.name in i.security_groups]
        interfaces += [
            layout.interface(place.subnet.name, place.node)
            for place in addressed_places(topology)
            if place.vpc.name == vpc.name and group.name in place.balancer.security_groups
        ]
        return tuple(address for s in interfaces for address in (s.address, s.ipv6_address) if address)

    return {group.name: addresses(group) for group in vpc.security_groups}


def plugged_in(
    settings: Settings,
    interface: NetworkInterface,
    role: str,
    *,
    cidr: str,
    ipv6_cidr: str | None = None,
    mtu: int = VPC_MTU,
    rules: str = "",
    forwarding: bool = False,
    neighbours: tuple[Neighbour, ...] = (),
) -> Blueprint:
    """One namespace with one interface on the subnet's bridge, a default route, and every neighbour known."""
    router = interface.subnet
    bridge = INTERNET if router == INTERNET else "subnet"
    router_mac = names.mac(router, bridge)
    addresses, routes = (
        [with_length(interface.address, cidr)],
        [KernelRoute("0.0.0.0/0", interface.device, gateway(cidr))],
    )
    known = [*neighbours, Neighbour(interface.device, gateway(cidr), router_mac)]
    if ipv6_cidr and interface.ipv6_address:
        addresses.append(f"{interface.ipv6_address}/{IPNetwork(ipv6_cidr).prefixlen}")
        routes.append(KernelRoute("::/0", interface.device, gateway(ipv6_cidr)))
        known.append(Neighbour(interface.device, gateway(ipv6_cidr), router_mac))
    others = [other for other in settings.layout.interfaces[router] if other.resource != interface.resource]
    namespace = Namespace(
        name=settings.layout.namespace(interface.resource),
        resource=interface.resource,
        role=role,
        forwarding=forwarding,
        routes=tuple(routes),
        neighbours=(*known, *interface_neighbours(interface.device, others)),
        nftables=rules,
    )
    link = Link(
        settings.port(router, bridge, interface.resource, mtu, interface.rate_mbit),
        settings.end(
            interface.resource, interface.device, interface.mac, mtu, addresses=addresses, rate_mbit=interface.rate_mbit
        ),
    )
    return Blueprint((namespace,), (link,))
