"""What a drill is about: the load balancers whose targets it strikes, with their nodes and target groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gwlbemu.errors import LabError
from gwlbemu.topology.plan.values import AddressedNode, LoadBalancer, NetworkNode, Node, Plan, TargetGroup

NO_BALANCER = "a drill is about the targets of load balancers, and there is none"
WEB_PORT = 80
GATEWAY, NETWORK, APPLICATION = "gateway", "network", "application"
_PROTOCOLS = {NETWORK: ("TCP", "TCP_UDP"), APPLICATION: ("HTTP", "HTTPS")}
_BY_ANOTHER_CLOCK = 3600  # HAProxy's connections know nothing of the nodes' clocks


@dataclass(frozen=True, slots=True)
class Subject:
    """All gateway load balancers of a lab, or one listener of one network or application load balancer.

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
    def is_application(self) -> bool:
        """Whether it is an application load balancer: requests go to its nodes, by its name."""
        return self.type == APPLICATION

    @property
    def addressed_nodes(self) -> tuple[AddressedNode, ...]:
        """The nodes to whose addresses clients connect; none of a gateway's."""
        return tuple(node for node in self.nodes if isinstance(node, AddressedNode))

    @property
    def network_nodes(self) -> tuple[NetworkNode, ...]:
        """The nodes of a network load balancer; none of a gateway's."""
        return tuple(node for node in self.nodes if isinstance(node, NetworkNode))


def subject_of(plan: Plan, destinations: Sequence[str], port: int | None) -> Subject:
    """Return what a drill with these destinations is about.

    A network or application load balancer where one is named, or where there is no gateway load balancer; its listener
    is the one with `port`, without that the first that forwards, of TCP or HTTP. Raises LabError when there is no such
    listener, or no load balancer.
    """
    addressed = {each.name: each for each in plan.load_balancers if each.type != GATEWAY}
    named = [each for each in destinations if each in addressed]
    if len(destinations) > len(named) > 0 or len(named) > 1:
        told = " --to ".join(destinations)
        raise LabError(f"--to {told}: expected instances, or one network or application load balancer alone")
    if named:
        return _addressed(plan, addressed[named[0]], port)
    if addressed and not plan.gateway_nodes and not destinations:
        return _addressed(plan, next(iter(addressed.values())), port)
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


def _addressed(plan: Plan, balancer: LoadBalancer, port: int | None) -> Subject:
    listeners = [each for each in balancer.listeners if each.protocol in _PROTOCOLS[balancer.type]]
    forwarding = [each for each in listeners if any(each.target_groups())]
    found = next((each for each in forwarding if port in (None, each.port)), None)
    if found is None:
        known = ", ".join(f"{each.protocol}:{each.port}" for each in forwarding) or "none"
        word, on_port = _PROTOCOLS[balancer.type][0], f" on port {port}" if port else ""
        raise LabError(f"{balancer.name} has no {word} listener{on_port}; there are: {known}")
    names = set(found.target_groups())
    return Subject(
        balancer.type,
        (balancer,),
        tuple(node for node in plan.addressed_nodes if node.load_balancer == balancer.name),
        tuple(group for group in plan.target_groups if group.name in names),
        found.port or WEB_PORT,
        int(found.attributes.get("tcp.idle_timeout.seconds", _BY_ANOTHER_CLOCK)),
    )
