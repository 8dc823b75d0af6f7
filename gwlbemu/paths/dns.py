"""Which of a load balancer's nodes DNS names, in some states."""

from __future__ import annotations

from collections.abc import Sequence

from gwlbemu.core.elb.network_attributes import ANY_ZONE
from gwlbemu.core.network.client_routing import answered_zones, is_in_dns
from gwlbemu.paths.index import Paths
from gwlbemu.paths.values import States
from gwlbemu.topology.plan.values import ApplicationNode, LoadBalancer, NetworkNode


def in_dns(paths: Paths, states: States, balancer: LoadBalancer, zone: str) -> Sequence[NetworkNode | ApplicationNode]:
    """Return the nodes whose addresses DNS may answer to a client in a zone ("" for one on the internet)."""
    nodes = {node.zone: node for node in paths.plan.addressed_nodes if node.load_balancer == balancer.name}
    zones = {each: is_in_dns(paths.healthy(node, states)) for each, node in nodes.items()}
    policy = balancer.attributes.get("dns_record.client_routing_policy", ANY_ZONE)
    answered = dict.fromkeys(each for draw in (0.0, 0.999) for each in answered_zones(policy, zones, zone, draw))
    return [nodes[each] for each in nodes if each in answered]
