"""The internet: one router with a bridge for its instances, and one link to each internet gateway."""

from __future__ import annotations

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import Internet, Topology, Vpc
from gwlbemu.topology.plan import port_rules, routes, rulesets
from gwlbemu.topology.plan.hosts import instance_port, internet_instance_blueprint
from gwlbemu.topology.plan.layout import INTERNET
from gwlbemu.topology.plan.machine import (
    INTERNET_MTU,
    Blueprint,
    Settings,
    bridge,
    interface_entries,
    interface_neighbours,
    router_addresses,
)
from gwlbemu.topology.plan.machine_half import KernelRoute, Link, Namespace, Neighbour
from gwlbemu.topology.plan.node_places import addressed_places
from gwlbemu.topology.plan.resolver import resolver_addresses, resolver_rules, with_full_length
from gwlbemu.topology.plan.vpcs import fabric_addresses, fabric_neighbours

_LINKS = IPNetwork("169.254.128.0/17")  # one /30 per internet gateway
_LINKS_V6 = IPNetwork("fe80::1e7:0/112")


def internet_blueprint(topology: Topology, settings: Settings) -> Blueprint:
    """Return the internet with its instances, and the internet gateways of all VPCs; nothing without an internet."""
    internet = topology.internet
    if internet is None:
        return Blueprint()
    gateways = [vpc for vpc in topology.vpcs if vpc.internet_gateway]
    interfaces = settings.layout.interfaces[INTERNET]
    return Blueprint.joined(
        [
            _router(topology, settings, internet, gateways),
            *(internet_instance_blueprint(settings, one, internet.cidr, internet.ipv6_cidr) for one in interfaces),
            *(_gateway(topology, settings, internet, vpc, number) for number, vpc in enumerate(gateways)),
        ]
    )


def public_addresses(topology: Topology, settings: Settings, vpc: Vpc) -> dict[str, str]:
    """Return the public address of each private one that the internet gateway of a VPC translates."""
    owners = [(i.subnet, i.name, i.public_address) for i in vpc.instances]
    owners += [(g.subnet, g.name, g.public_address) for g in vpc.nat_gateways]
    owners += [
        (place.subnet.name, place.node, place.public_address)
        for place in addressed_places(topology)
        if place.vpc.name == vpc.name
    ]
    found = {settings.layout.interface(subnet, name).address: public for subnet, name, public in owners}
    return {private: public for private, public in found.items() if public}


def _unreachable(topology: Topology, settings: Settings, vpc: Vpc) -> list[str]:
    """The IPv6 addresses in a VPC that nobody on the internet reaches: those of internal load balancers (ELBv2 API,
    LoadBalancerAttribute: ipv6.deny_all_igw_traffic, with its default).
    """
    nodes = [place for place in addressed_places(topology) if place.vpc.name == vpc.name]
    inside = [place for place in nodes if not place.balancer.is_internet_facing]
    found = (settings.layout.interface(place.subnet.name, place.node).ipv6_address for place in inside)
    return [address for address in found if address]


def _router(topology: Topology, settings: Settings, internet: Internet, gateways: list[Vpc]) -> Blueprint:
    interfaces = settings.layout.interfaces[INTERNET]
    lines: list[KernelRoute] = []
    neighbours = interface_neighbours(INTERNET, interfaces)
    for number, vpc in enumerate(gateways):
        name = _name(vpc)
        (_, _), (there, there_v6) = _addresses(number)
        mac = names.mac(name, "internet")
        neighbours.append(Neighbour(names.device(name), there, mac))
        for public in public_addresses(topology, settings, vpc).values():
            lines.append(KernelRoute(f"{public}/32", names.device(name), there, source=f"public address behind {name}"))
        if vpc.ipv6_cidr and internet.ipv6_cidr:
            neighbours.append(Neighbour(names.device(name), there_v6, mac))
            lines.append(KernelRoute(vpc.ipv6_cidr, names.device(name), there_v6, source=f"IPv6 block of {vpc.name}"))
    ports = tuple(instance_port(interface) for interface in interfaces)
    resolver = resolver_addresses(None, ipv6=bool(internet.ipv6_cidr))
    addresses = router_addresses(internet.cidr, internet.ipv6_cidr) + with_full_length(resolver)
    namespace = Namespace(
        name=settings.layout.namespace(INTERNET),
        resource=INTERNET,
        role="internet",
        forwarding=True,
        bridges=(bridge(INTERNET, INTERNET, INTERNET_MTU, addresses),),
        routes=tuple(lines),
        neighbours=tuple(neighbours),
        forwarding_entries=tuple(interface_entries(INTERNET, interfaces)),
        nftables=rulesets.router()
        + resolver_rules(resolver, INTERNET)
        + "".join(port_rules.instance_port(port, None) for port in ports),
        instance_ports=ports,
    )
    return Blueprint((namespace,))


def _gateway(topology: Topology, settings: Settings, internet: Internet, vpc: Vpc, number: int) -> Blueprint:
    """An internet gateway: its main table is the edge route table, and the way out."""
    name, edge = _name(vpc), vpc.internet_gateway.route_table if vpc.internet_gateway else None
    hop = settings.layout.next_hops[vpc.name][name]
    (here, here_v6), (there, there_v6) = _addresses(number)
    router_mac, dual = names.mac(INTERNET, f"link {name}"), bool(vpc.ipv6_cidr and internet.ipv6_cidr)
    lines = routes.lines(topology, settings.layout, vpc, routes.table_named(vpc, edge), None)
    lines.append(KernelRoute("0.0.0.0/0", INTERNET, here, source="the internet"))
    neighbours = [*fabric_neighbours(settings, vpc, name), Neighbour(INTERNET, here, router_mac)]
    if dual:
        lines.append(KernelRoute("::/0", INTERNET, here_v6, source="the internet"))
        neighbours.append(Neighbour(INTERNET, here_v6, router_mac))
    namespace = Namespace(
        name=settings.layout.namespace(name),
        resource=name,
        role="internet-gateway",
        forwarding=True,
        routes=tuple(lines),
        neighbours=tuple(neighbours),
        nftables=rulesets.router()
        + rulesets.internet_gateway(
            public_addresses(topology, settings, vpc), vpc.ipv6_cidr, _unreachable(topology, settings, vpc)
        ),
        address_rewrites=rulesets.quoted_addresses(public_addresses(topology, settings, vpc)),
    )
    v6 = [f"{here_v6}/64"], [f"{there_v6}/64"]
    links = (
        Link(
            settings.port(vpc.name, "fabric", name),
            settings.end(name, "fabric", hop.mac, addresses=fabric_addresses(hop, vpc)),
        ),
        Link(
            settings.end(
                INTERNET,
                names.device(name),
                router_mac,
                INTERNET_MTU,
                addresses=[f"{here}/30", *(v6[0] if dual else [])],
            ),
            settings.end(
                name,
                INTERNET,
                names.mac(name, INTERNET),
                INTERNET_MTU,
                addresses=[f"{there}/30", *(v6[1] if dual else [])],
            ),
        ),
    )
    return Blueprint((namespace,), links)


def _name(vpc: Vpc) -> str:
    return vpc.internet_gateway.name if vpc.internet_gateway else ""


def _addresses(number: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two ends of the link to an internet gateway: the internet's, the gateway's; IPv4 and IPv6 each."""
    first = 4 * number + 1
    return (str(_LINKS[first]), str(_LINKS_V6[first])), (str(_LINKS[first + 1]), str(_LINKS_V6[first + 1]))
