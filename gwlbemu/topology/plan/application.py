"""What only an application load balancer has: nodes in which an engine ends connections and begins others.

A node has one interface, its ENI: clients come there, and what its engine sends to targets leaves there, with the
node's own address, as the route table of its subnet says. It forwards nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import hosts, rulesets
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings
from gwlbemu.topology.plan.node_places import application_places
from gwlbemu.topology.plan.resolver import resolver_neighbour


def application_nodes(topology: Topology, layout: Layout) -> tuple[plan.ApplicationNode, ...]:
    """Return the nodes of every application load balancer, one per subnet that it has, in the file's order."""
    return tuple(plan.ApplicationNode(**layout.node_values(place)) for place in application_places(topology))


def node_blueprints(topology: Topology, settings: Settings) -> Iterator[Blueprint]:
    """Yield the namespace and the link of every application load balancer's node."""
    for place in application_places(topology):
        yield hosts.plugged_in(
            settings,
            settings.layout.interface(place.subnet.name, place.node),
            "application-node",
            cidr=place.subnet.cidr,
            ipv6_cidr=place.subnet.ipv6_cidr,
            neighbours=resolver_neighbour(place.vpc, place.subnet, "eni"),
            rules=rulesets.application_node(each.port for _, each in place.balancer.all_listeners() if each.port),
        )
