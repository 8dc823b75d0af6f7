"""A VPC in namespaces: the fabric, and one router per subnet whose main table is the subnet's route table."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import IPNetwork

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY
from gwlbemu.topology import names
from gwlbemu.topology.file.places import balancers_of_type
from gwlbemu.topology.file.schema import Subnet, Topology, Vpc
from gwlbemu.topology.plan import port_rules, returns, routes, rulesets
from gwlbemu.topology.plan.hosts import group_members, instance_port
from gwlbemu.topology.plan.layout import FABRIC, Layout, NextHop
from gwlbemu.topology.plan.machine import (
    Blueprint,
    Settings,
    bridge,
    interface_entries,
    interface_neighbours,
    router_addresses,
)
from gwlbemu.topology.plan.machine_half import ForwardingEntry, InstancePort, KernelRoute, Link, Namespace, Neighbour
from gwlbemu.topology.plan.node_places import NodePlace, addressed_places, network_places
from gwlbemu.topology.plan.port_groups import Groups
from gwlbemu.topology.plan.resolver import resolver_addresses, resolver_rules, with_full_length


def vpc_blueprint(topology: Topology, settings: Settings, vpc: Vpc) -> Blueprint:
    """Return the fabric and the subnets of a VPC."""
    return Blueprint.joined(
        [_fabric(settings, vpc), *(_subnet(topology, settings, vpc, subnet) for subnet in vpc.subnets)]
    )


def fabric_addresses(hop: NextHop, vpc: Vpc) -> tuple[str, ...]:
    """Return the addresses, with prefix lengths, of the interface `fabric` of a router of the VPC."""
    v4 = f"{hop.address}/{IPNetwork(FABRIC).prefixlen}"
    return (v4, f"{hop.ipv6_address}/64") if vpc.ipv6_cidr else (v4,)


def fabric_neighbours(settings: Settings, vpc: Vpc, own: str) -> list[Neighbour]:
    """Return everybody else on the VPC's fabric as a permanent neighbour, so that nobody has to ask."""
    others = [hop for name, hop in settings.layout.next_hops[vpc.name].items() if name != own]
    found = [Neighbour("fabric", hop.address, hop.mac) for hop in others]
    return found + [Neighbour("fabric", hop.ipv6_address, hop.mac) for hop in others if vpc.ipv6_cidr]


def _fabric(settings: Settings, vpc: Vpc) -> Blueprint:
    entries = [
        ForwardingEntry("fabric", names.device(names.uplink(hop.behind) if hop.behind else hop.name), hop.mac)
        for hop in settings.layout.next_hops[vpc.name].values()
    ]
    namespace = Namespace(
        name=settings.layout.namespace(vpc.name),
        resource=vpc.name,
        role="fabric",
        bridges=(bridge(vpc.name, "fabric"),),
        forwarding_entries=tuple(entries),
    )
    return Blueprint((namespace,))


def _subnet(topology: Topology, settings: Settings, vpc: Vpc, subnet: Subnet) -> Blueprint:
    layout = settings.layout
    hop, interfaces = layout.next_hops[vpc.name][subnet.name], layout.interfaces[subnet.name]
    own = {one.name for one in vpc.subnets}
    ports = list(_instance_ports(topology, settings, vpc, subnet))
    tunnels = any(balancer.subnets[0].subnet in own for balancer in balancers_of_type(topology, GATEWAY))
    answering = [port.device for port, _ in ports if port.returns]
    nodes = [place for place in network_places(topology) if answering and place.vpc.name == vpc.name]
    found = routes.lines(topology, layout, vpc, routes.table_named(vpc, subnet.route_table), subnet)
    resolver = resolver_addresses(vpc, ipv6=bool(subnet.ipv6_cidr))
    addresses = router_addresses(subnet.cidr, subnet.ipv6_cidr) + with_full_length(resolver)
    namespace = Namespace(
        name=layout.namespace(subnet.name),
        resource=subnet.name,
        role="subnet",
        forwarding=True,
        bridges=(bridge(subnet.name, "subnet", addresses=addresses),),
        routes=(*found, *(_to_node(layout, place) for place in nodes)),
        neighbours=tuple(interface_neighbours("subnet", interfaces) + fabric_neighbours(settings, vpc, subnet.name)),
        forwarding_entries=tuple(interface_entries("subnet", interfaces)),
        nftables=rulesets.router()
        + resolver_rules(resolver, "subnet")
        + (rulesets.fabric_keeps_ttl() if tunnels else "")
        + "".join(port_rules.instance_port(port, groups) for port, groups in ports)
        + (_returns(layout, subnet, nodes, answering) if nodes else ""),
        instance_ports=tuple(port for port, _ in ports),
        mark_rules=tuple(("subnet", place.number, returns.FIRST_TABLE + place.number) for place in nodes),
    )
    links = [
        Link(
            settings.port(vpc.name, "fabric", subnet.name),
            settings.end(subnet.name, "fabric", hop.mac, addresses=fabric_addresses(hop, vpc)),
        )
    ]
    if any(other.behind == subnet.name for other in layout.next_hops[vpc.name].values()):
        outer = settings.port(vpc.name, "fabric", names.uplink(subnet.name))
        links.append(Link(outer, settings.port(subnet.name, "subnet", names.UPLINK)))
    return Blueprint((namespace,), tuple(links))


def _to_node(layout: Layout, place: NodePlace) -> KernelRoute:
    """The way that answers of targets take back to a network load balancer's node."""
    hop = layout.next_hops[place.vpc.name][place.node]
    source = f"answers of targets of {place.balancer.name} in zone {place.subnet.zone}"
    return KernelRoute("0.0.0.0/0", "fabric", hop.address, table=returns.FIRST_TABLE + place.number, source=source)


def _returns(layout: Layout, subnet: Subnet, nodes: list[NodePlace], ports: list[str]) -> str:
    marks = {layout.next_hops[place.vpc.name][place.node].mac: place.number for place in nodes}
    return returns.returns(marks, ports, names.mac(subnet.name, "subnet"))


def _instance_ports(
    topology: Topology, settings: Settings, vpc: Vpc, subnet: Subnet
) -> Iterator[tuple[InstancePort, Groups | None]]:
    """The port of each instance of the subnet, of each node that has security groups, and of each that may be a target
    of a network load balancer; and these groups.
    """
    members, marking = group_members(topology, settings.layout, vpc), network_places(topology)
    marks = {
        group.name: tuple(place.number for place in marking if group.name in place.balancer.security_groups)
        for group in vpc.security_groups
    }
    balanced = any(place.vpc.name == vpc.name for place in marking)
    guarded = [
        (i.name, i.security_groups, i.source_dest_check, balanced) for i in vpc.instances if i.subnet == subnet.name
    ]
    behind = balanced and any((group.vpc, group.target_type) == (vpc.name, "alb") for group in topology.target_groups)
    guarded += [
        (place.node, place.balancer.security_groups, True, behind and place.balancer.type == APPLICATION)
        for place in addressed_places(topology)
        if place.subnet.name == subnet.name
        and (place.balancer.security_groups or (behind and place.balancer.type == APPLICATION))
    ]
    for resource, wanted, check, answers in guarded:
        own = tuple(group for group in vpc.security_groups if group.name in wanted)
        groups = Groups(own, members, marks, resolver_addresses(vpc, ipv6=bool(subnet.ipv6_cidr))) if own else None
        interface = settings.layout.interface(subnet.name, resource)
        yield instance_port(interface, source_dest_check=check, groups=groups, returns=answers), groups
