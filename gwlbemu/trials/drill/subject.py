"""What a drill is about: the load balancers whose targets it strikes, with their nodes and target groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gwlbemu.errors import LabError
from gwlbemu.topology.plan.values import LoadBalancer, NetworkNode, Node, Plan, TargetGroup

NO_BALANCER = "a drill is about the targets of load balancers, and there is none"
WEB_PORT = 80
GATEWAY, NETWORK = "gateway", "network"


@dataclass(frozen=True, slots=True)
class Subject:
    """All gateway load balancers of a lab, or one listener of one network load balancer.

    `port` is where connections go: that of web servers, or the listener's. `idle_seconds` is the shortest idle timeout.
    """

    type: str
    balancers: tuple[LoadBalancer, ...]
    nodes: tuple[Node, ...]
    groups: tuple[TargetGroup, ...]
    port: int
    idle_seconds: int

    @property
    def is_network(self) -> bool:
        """Whether it is a network load balancer: connections go to its nodes' addresses."""
        return self.type == NETWORK

    @property
    def network_nodes(self) -> tuple[NetworkNode, ...]:
        """The nodes of a network load balancer; none of a gateway's."""
        return tuple(node for node in self.nodes if isinstance(node, NetworkNode))


def subject_of(plan: Plan, destinations: Sequence[str], port: int | None) -> Subject:
    """Return what a drill with these destinations is about.

    A network load balancer where one is named, or where there is nothing else; its listener is the TCP one with `port`,
    without that the first. Raises LabError when there is no such listener, or no load balancer.
    """
    network = {each.name: each for each in plan.load_balancers if each.type == NETWORK}
    named = [each for each in destinations if each in network]
    if len(destinations) > len(named) > 0 or len(named) > 1:
        raise LabError(f"--to {' --to '.join(destinations)}: expected instances, or one network load balancer alone")
    if named:
        return _network(plan, network[named[0]], port)
    if network and not plan.gateway_nodes and not destinations:
        return _network(plan, next(iter(network.values())), port)
    gateways = tuple(each for each in plan.load_balancers if each.type == GATEWAY)
    names = {each.target_group for each in gateways}
    return Subject(
        GATEWAY,
        gateways,
        plan.gateway_nodes,
        tuple(group for group in plan.target_groups if group.name in names),
        port or WEB_PORT,
        min((int(each.listener_attributes["tcp.idle_timeout.seconds"]) for each in gateways), default=350),
    )


def _network(plan: Plan, balancer: LoadBalancer, port: int | None) -> Subject:
    listeners = [each for each in balancer.listeners if each.protocol in ("TCP", "TCP_UDP")]
    found = next((each for each in listeners if port in (None, each.port)), None)
    if found is None:
        known = ", ".join(f"{each.protocol}:{each.port}" for each in listeners) or "none"
        raise LabError(f"{balancer.name} has no TCP listener{f' on port {port}' if port else ''}; there are: {known}")
    names = set(found.target_groups())
    return Subject(
        NETWORK,
        (balancer,),
        tuple(node for node in plan.network_nodes if node.load_balancer == balancer.name),
        tuple(group for group in plan.target_groups if group.name in names),
        found.port or WEB_PORT,
        int(found.attributes["tcp.idle_timeout.seconds"]),
    )
