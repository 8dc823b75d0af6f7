"""The lab half of a plan, load balancing: endpoints, nodes, target groups, load balancers."""

from __future__ import annotations

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file import attributes
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.places import subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Endpoint, Topology, Vpc
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout


def endpoints_of(topology: Topology, balancer: str, zone: str) -> list[tuple[Vpc, Endpoint]]:
    """The endpoints that a node serves."""
    subnets = subnets_by_name(topology)
    return [
        (vpc, endpoint)
        for vpc in topology.vpcs
        for endpoint in vpc.endpoints
        if endpoint.service == balancer and subnets[endpoint.subnet][1].zone == zone
    ]


def endpoints(topology: Topology) -> tuple[plan.Endpoint, ...]:
    subnets = subnets_by_name(topology)
    return tuple(
        plan.Endpoint(
            name=endpoint.name,
            endpoint_id=endpoint.id or names.endpoint_id(endpoint.name),
            vpc=vpc.name,
            subnet=endpoint.subnet,
            zone=subnets[endpoint.subnet][1].zone,
            load_balancer=endpoint.service,
            node=names.node(endpoint.service, subnets[endpoint.subnet][1].zone),
            device=names.device(endpoint.name),
            mac=names.mac(endpoint.name, "endpoint"),
            router_mac=names.mac(endpoint.subnet, "fabric"),
        )
        for vpc in topology.vpcs
        for endpoint in vpc.endpoints
    )


def gateway_nodes(topology: Topology, layout: Layout) -> tuple[plan.GatewayNode, ...]:
    subnets = subnets_by_name(topology)
    found = []
    for balancer in topology.load_balancers:
        for place in balancer.subnets:
            _, subnet = subnets[place.subnet]
            name = names.node(balancer.name, subnet.zone)
            station = layout.station(subnet.name, name)
            beside = [other for other in layout.stations[subnet.name] if other.device == "eth0"]
            found.append(
                plan.GatewayNode(
                    name=name,
                    load_balancer=balancer.name,
                    zone=subnet.zone,
                    namespace=layout.namespace(name),
                    device=station.device,
                    address=station.address,
                    prefix_length=IPNetwork(subnet.cidr).prefixlen,
                    mac=station.mac,
                    gateway_mac=names.mac(subnet.name, "subnet"),
                    neighbours={other.address: other.mac for other in beside},
                    endpoints=tuple(e.name for _, e in endpoints_of(topology, balancer.name, subnet.zone)),
                )
            )
    return tuple(found)


def target_groups(topology: Topology, layout: Layout) -> tuple[plan.TargetGroup, ...]:
    return tuple(_target_group(topology, layout, group) for group in topology.target_groups)


def load_balancers(topology: Topology) -> tuple[plan.LoadBalancer, ...]:
    return tuple(_load_balancer(topology, balancer) for balancer in topology.load_balancers)


def _target_group(topology: Topology, layout: Layout, group: TargetGroup) -> plan.TargetGroup:
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == group.vpc)
    addresses = {i.name: layout.station(i.subnet, i.name).address for i in vpc.instances}
    targets = [(name, addresses.get(name, name)) for name in group.targets]
    return plan.TargetGroup(
        name=group.name,
        vpc=group.vpc,
        target_type=group.target_type,
        health_check=group.health_check.settings(),
        attributes=attributes.complete("target-group", group.attributes),
        targets=tuple(plan.Target(name, address, target_zone(vpc, address)) for name, address in targets),
    )


def _load_balancer(topology: Topology, balancer: LoadBalancer) -> plan.LoadBalancer:
    subnets = subnets_by_name(topology)
    return plan.LoadBalancer(
        name=balancer.name,
        type=balancer.type,
        vpc=subnets[balancer.subnets[0].subnet][0].name,
        zones=tuple(subnets[place.subnet][1].zone for place in balancer.subnets),
        target_group=balancer.listener.target_group,
        attributes=attributes.complete("load-balancer", balancer.attributes),
        listener_attributes=attributes.complete("listener", balancer.listener.attributes),
    )
