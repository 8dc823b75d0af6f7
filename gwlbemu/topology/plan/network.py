"""What only a network load balancer has: nodes in which the kernel translates, and a way back from targets."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.balancer_types import NETWORK
from gwlbemu.topology import names
from gwlbemu.topology.file.places import balancers_of_type, subnets_by_name
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings


def network_nodes(topology: Topology, layout: Layout) -> tuple[plan.NetworkNode, ...]:
    """Return the nodes of every network load balancer, one per subnet that it has, in the file's order."""
    subnets = subnets_by_name(topology)
    places = [(lb, place) for lb in balancers_of_type(topology, NETWORK) for place in lb.subnets]
    found = []
    for number, (balancer, place) in enumerate(places, start=1):
        _, subnet = subnets[place.subnet]
        name = names.node(balancer.name, subnet.zone)
        eni = layout.interface(subnet.name, name)
        found.append(
            plan.NetworkNode(
                name=name,
                load_balancer=balancer.name,
                zone=subnet.zone,
                namespace=layout.namespace(name),
                subnet=subnet.name,
                device=eni.device,
                address=eni.address,
                ipv6_address=eni.ipv6_address,
                public_address=place.public_address or "",
                mac=eni.mac,
                number=number,
            )
        )
    return tuple(found)


def node_blueprints(topology: Topology, settings: Settings) -> Iterator[Blueprint]:
    """Yield the namespace and the links of every network load balancer's node."""
    yield from ()
