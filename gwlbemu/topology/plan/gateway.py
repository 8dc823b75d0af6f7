"""What only a gateway load balancer has: endpoints in other VPCs, and nodes that encapsulate."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import IPNetwork

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.topology import names
from gwlbemu.topology.file.places import balancers_of_type, subnets_by_name
from gwlbemu.topology.file.schema import Endpoint, Topology, Vpc
from gwlbemu.topology.plan import hosts
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings


def endpoints(topology: Topology) -> tuple[plan.Endpoint, ...]:
    """Return every Gateway Load Balancer endpoint, with the id that the file gives or one made from its name."""
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
    """Return the nodes of every gateway load balancer, one per subnet that it has, in the file's order."""
    subnets = subnets_by_name(topology)
    found = []
    for balancer in balancers_of_type(topology, GATEWAY):
        for place in balancer.subnets:
            _, subnet = subnets[place.subnet]
            name = names.node(balancer.name, subnet.zone)
            eni = layout.interface(subnet.name, name)
            beside = [other for other in layout.interfaces[subnet.name] if other.device == "eth0"]
            found.append(
                plan.GatewayNode(
                    name=name,
                    load_balancer=balancer.name,
                    zone=subnet.zone,
                    namespace=layout.namespace(name),
                    device=eni.device,
                    address=eni.address,
                    prefix_length=IPNetwork(subnet.cidr).prefixlen,
                    mac=eni.mac,
                    gateway_mac=names.mac(subnet.name, "subnet"),
                    neighbours={other.address: other.mac for other in beside},
                    endpoints=tuple(e.name for _, e in _endpoints_of(topology, balancer.name, subnet.zone)),
                )
            )
    return tuple(found)


def node_blueprints(topology: Topology, settings: Settings) -> Iterator[Blueprint]:
    """Yield the namespace and the links of every gateway load balancer's node."""
    subnets = subnets_by_name(topology)
    for balancer in balancers_of_type(topology, GATEWAY):
        for place in balancer.subnets:
            _, subnet = subnets[place.subnet]
            eni = settings.layout.interface(subnet.name, names.node(balancer.name, subnet.zone))
            served = _endpoints_of(topology, balancer.name, subnet.zone)
            yield hosts.node_blueprint(settings, subnet, eni, served)


def _endpoints_of(topology: Topology, balancer: str, zone: str) -> list[tuple[Vpc, Endpoint]]:
    """Return the endpoints that the node of a load balancer in `zone` serves."""
    subnets = subnets_by_name(topology)
    return [
        (vpc, endpoint)
        for vpc in topology.vpcs
        for endpoint in vpc.endpoints
        if endpoint.service == balancer and subnets[endpoint.subnet][1].zone == zone
    ]
