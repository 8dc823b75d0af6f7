"""One packet at a node of an application load balancer: it is for the node, or nobody's; the node forwards nothing.

A port without a listener is met by silence, as at a network load balancer: AWS does not say (a choice of ours). A ping
is answered where the security groups let it in. What the node then does for a connection is in `onward`.
"""

from __future__ import annotations

from gwlbemu.paths.filters import allowed_in
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import Arrival
from gwlbemu.paths.step import Routers
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, Kind, States
from gwlbemu.topology.plan.values import ApplicationNode, Path
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN


class ApplicationBalancers:
    """The nodes for the length of one exchange."""

    def __init__(self, paths: Paths, states: States, routers: Routers) -> None:
        self._paths, self._states, self._routers = paths, states, routers

    def receive(self, trip: Trip, here: Arrival) -> End:
        """Take a packet that comes to a node; return its end."""
        node, packet = self._paths.application_nodes[here.space.name], trip.packet
        groups, tracking = self._paths.groups[here.space.name], self._routers.tracked(here.space)
        is_answer, rule, path = tracking.is_answer(packet), "", Path()
        if groups and not is_answer:
            allowed = allowed_in(groups, packet, self._paths.groups_of_mark(trip.mark))
            if allowed is None:
                names = " and ".join(group.name for group in groups)
                told = f"no ingress rule of {names}, of load balancer {node.load_balancer}, allows {packet}"
                return dropped(node.name, Cause.SECURITY_GROUP, told, groups[0].path)
            rule, path = allowed
        if packet.destination not in (node.address, node.ipv6_address):
            told = f"{packet.destination} is not {node.name}'s address"
            return dropped(node.name, Cause.SOURCE_DESTINATION_CHECK, told)
        self._routers.remember_return(here.space, packet, trip.mark)
        tracking.note(packet)
        if is_answer:
            trip.note(node.name, "deliver", "the answer to a connection that it began")
            return End(Kind.DELIVERED, node.name, "", f"it arrives at {node.name}")
        return self._take(trip, node, rule, path)

    def _take(self, trip: Trip, node: ApplicationNode, rule: str, path: Path) -> End:
        """What belongs to nothing that the node has begun."""
        packet, name = trip.packet, node.load_balancer
        if packet.protocol in (ICMP, ICMPV6) and not packet.is_answer:
            trip.note(node.name, "deliver", rule or "its address", path=path)
            return End(Kind.DELIVERED, node.name, "", f"it arrives at {node.name}")
        model = self._paths.application_model(node, self._states)
        flags = packet.tcp_flags & (SYN | ACK | RST | FIN)
        if packet.protocol == TCP and flags != SYN:
            if flags & RST:
                told = f"it is no SYN and belongs to no connection of {node.name}, which says nothing"
                return dropped(node.name, Cause.NO_LISTENER, told)
            told = f"{node.name} answers it with a TCP reset: it is no SYN and belongs to no connection there"
            return dropped(node.name, Cause.RESET, told)
        listener = model.listener(packet.destination_port) if packet.protocol == TCP else None
        place = self._paths.balancer_places[name]
        if listener is None:
            port = f" port {packet.destination_port}" if packet.has_ports else ""
            told = (
                f"load balancer {name} has no listener for {protocols.name(packet.protocol)}{port} (it has"
                f" {model.listeners}), and says nothing"
            )
            return dropped(node.name, Cause.NO_LISTENER, told, place)
        if node.name in self._states.without_engine:
            return dropped(node.name, Cause.RESET, f"{node.name} answers it with a TCP reset: its HAProxy does not run")
        ends = f"listener {listener.name}: the node ends the connection"
        trip.note(node.name, "terminate", f"{rule}; {ends}" if rule else ends, path=path or place)
        return End(Kind.DELIVERED, node.name, "", f"it arrives at {node.name}")
