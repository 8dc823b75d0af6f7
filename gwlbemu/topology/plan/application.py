"""What only an application load balancer has: nodes in which an engine ends connections and begins others."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings


def application_nodes(topology: Topology, layout: Layout) -> tuple[plan.ApplicationNode, ...]:
    """Return the nodes of every application load balancer, one per subnet that it has, in the file's order."""
    return ()


def node_blueprints(topology: Topology, settings: Settings) -> Iterator[Blueprint]:
    """Yield the namespace and the links of every application load balancer's node."""
    return iter(())
