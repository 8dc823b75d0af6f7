"""One packet through a node of a network load balancer: to a target, or from a target back to its client.

What the node's kernel does is what its keeper's tables say (`programs/network/ruleset`); which target it takes, the
core's (see `network_node`). How answers find back from the target's subnet is in `returns`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gwlbemu.core.network.tables import NODE_PORTS
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.filters import allowed_in, allowed_out
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import MAIN, Arrival
from gwlbemu.paths.network_node import Chosen, NetworkModel
from gwlbemu.paths.step import Routers
from gwlbemu.paths.tracking import Tuple, tuple_of, turned
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, Kind, Packet, States
from gwlbemu.topology.plan.network import PRESERVED
from gwlbemu.topology.plan.values import NetworkNode, Path
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection as it came, and as it leaves to its target."""

    came: Packet
    leaves: Packet
    chosen: Chosen


class NetworkBalancers:
    """The nodes for the length of one exchange: connections of the first packet are there for the next."""

    def __init__(self, paths: Paths, states: States, choices: Choices, routers: Routers) -> None:
        self._paths, self._states, self._choices, self._routers = paths, states, choices, routers
        self._connections: dict[tuple[str, Tuple], _Connection] = {}  # by node, and how a packet of them comes
        self._proxied: set[tuple[str, Tuple]] = set()  # what comes to proxies, in the same way

    def forward(self, trip: Trip, here: Arrival) -> Arrival | End:
        """Take a packet that comes to a node; return where it comes in next, or its end."""
        node = self._paths.network_nodes[here.space.name]
        refused = self._routers.circle(trip, here) or self._come_in(trip, here, node)
        if refused is not None:
            return refused
        packet = trip.packet
        if node.name in self._states.changed_tables:
            told = (
                f"the tables of {node.name} in the kernel are missing, or not as its keeper wrote them: what it does"
                " with a packet is not known"
            )
            return End(Kind.AMBIGUOUS, node.name, Cause.CHANGED_TABLES.value, told)
        if (node.name, tuple_of(packet)) in self._proxied:
            trip.note(node.name, "deliver", "to its proxy: the answer to a connection that it began")
            return End(Kind.DELIVERED, node.name, "", f"it arrives at {node.name}")
        known = self._connections.get((node.name, tuple_of(packet)))
        if known is None:
            found = self._begin(trip, node)
            if isinstance(found, End):
                return found
            known = found
        if tuple_of(packet) == tuple_of(known.came):
            return self._to_target(trip, here, node, known)
        return self._to_client(trip, here, node, known)

    def _come_in(self, trip: Trip, here: Arrival, node: NetworkNode) -> End | None:
        """The load balancer's security groups, at the port of its ENI."""
        groups, tracking = self._paths.groups[here.space.name], self._routers.tracked(here.space)
        if not groups or here.device != node.device:
            return None
        if not tracking.is_answer(trip.packet):
            allowed = allowed_in(groups, trip.packet, self._paths.groups_of_mark(trip.mark))
            if allowed is None:
                names = " and ".join(group.name for group in groups)
                told = f"no ingress rule of {names}, of load balancer {node.load_balancer}, allows {trip.packet}"
                return dropped(node.name, Cause.SECURITY_GROUP, told, groups[0].path)
        tracking.note(trip.packet)
        return None

    def _begin(self, trip: Trip, node: NetworkNode) -> _Connection | End:
        """Find a target for a packet that belongs to no connection."""
        packet, model, name = trip.packet, self._paths.network_model(node, self._states), node.load_balancer
        flags = packet.tcp_flags & (SYN | ACK | RST | FIN)
        is_for_node = packet.destination in (node.address, node.ipv6_address)
        if packet.protocol == TCP and flags != SYN and packet.destination_port is not None:
            late = model.answers_late(packet) if is_for_node else "." in packet.source
            if late and not flags & RST:
                told = f"{node.name} answers it with a TCP reset: it is no SYN and belongs to no connection there"
                return dropped(node.name, Cause.RESET, told)
            told = f"it is no SYN and belongs to no connection of {node.name}, which says nothing"
            return dropped(node.name, Cause.NO_LISTENER, told)
        listener = model.listener(packet.protocol, packet.destination_port)
        if listener is None or not is_for_node:
            port = f" port {packet.destination_port}" if packet.has_ports else ""
            told = (
                f"load balancer {name} has no listener for {protocols.name(packet.protocol)}{port} (it has"
                f" {model.listeners}), and says nothing"
            )
            return dropped(node.name, Cause.NO_LISTENER, told, self._place(name))
        if model.is_proxied(listener, packet):
            return self._terminate(trip, node, listener.name)
        bound = self._states.connections.get(node.name, {}).get(_key(packet))
        if bound is not None:
            chosen: Chosen | str = Chosen(bound, model.is_preserved(bound.target_group), "live connection")
        else:
            chosen = model.choose(listener, packet, self._choices)
        if isinstance(chosen, str):
            return self._no_targets(node, model, listener.name, chosen)
        if not chosen.preserved:
            port_ = packet.source_port if packet.source_port in NODE_PORTS else None
            leaves = replace(packet, source=node.address, source_port=port_)
        else:
            leaves = packet
        leaves = replace(leaves, destination=chosen.bound.address, destination_port=chosen.bound.port)
        found = _Connection(packet, leaves, chosen)
        self._connections[node.name, tuple_of(packet)] = found
        self._connections[node.name, turned(tuple_of(leaves))] = found
        return found

    def _terminate(self, trip: Trip, node: NetworkNode, listener: str) -> End:
        """What a connection is to a proxy in the node."""
        if node.name in self._states.without_engine:
            told = f"{node.name} answers it with a TCP reset: its proxy does not run"
            return dropped(node.name, Cause.RESET, told)
        rule = f"listener {listener}: a proxy in the node ends the connection"
        trip.note(node.name, "terminate", rule, path=self._place(node.load_balancer))
        return End(Kind.DELIVERED, node.name, "", f"it arrives at {node.name}")

    def begin(self, trip: Trip, node: NetworkNode, *, keeps_client: bool) -> Arrival | End:
        """Let a packet leave a node's proxy for a target; with its client's address it takes the VPC's fabric."""
        space, packet = self._paths.machine.spaces[node.namespace], trip.packet
        self._proxied.add((node.name, turned(tuple_of(packet))))
        if not keeps_client:
            return self._routers.leave(trip, space)
        table = space.table_of("lo", PRESERVED)
        route = space.route(table, packet.destination) or space.route(MAIN, packet.destination)
        if route is None:
            return dropped(node.name, Cause.NO_ROUTE, f"{node.name} has no route to {packet.destination}")
        trip.note(node.name, "send", "by the VPC's fabric, with the client's address")
        return self._routers.transmit(trip, space, route, node.number)

    def _no_targets(self, node: NetworkNode, model: NetworkModel, listener: str, group: str) -> End:
        name = node.load_balancer
        place = self._paths.group_places.get(group, ())
        if not model.has_targets(group):
            told = f"target group {group} of listener {listener} of {name} has no targets"
            return dropped(node.name, Cause.NO_TARGETS, told, place)
        told = (
            f"target group {group} of listener {listener} of {name} has no target in zone {node.zone}, and cross-zone"
            " load balancing is off"
        )
        return dropped(node.name, Cause.NO_TARGETS_IN_ZONE, told, place)

    def _to_target(self, trip: Trip, here: Arrival, node: NetworkNode, known: _Connection) -> Arrival | End:
        bound, packet = known.chosen.bound, trip.packet
        trip.packet = replace(
            packet, destination=bound.address, destination_port=bound.port, source=known.leaves.source,
            source_port=known.leaves.source_port,
        )  # fmt: skip
        space, mark = here.space, PRESERVED if known.chosen.preserved else 0
        table = space.table_of(here.device, mark)
        route = space.route(table, bound.address) or space.route(MAIN, bound.address)
        if route is None:
            told = f"{node.name} has no route to {bound.address}"
            return dropped(node.name, Cause.NO_ROUTE, told)
        if packet.ttl <= 1:
            return dropped(node.name, Cause.TTL, f"its TTL is over at {node.name}")
        too_big = self._routers.fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.packet = replace(trip.packet, ttl=trip.packet.ttl - 1)
        trip.balanced.append((node.name, bound.target))
        listener = f"{protocols.name(packet.protocol)} {packet.destination_port}"
        trip.note(
            node.name, "choice", f"listener {listener} -> target group {bound.target_group}: {bound.target}",
            known.chosen.how, self._paths.group_places.get(bound.target_group, ()),
        )  # fmt: skip
        rule = f"destination {_end(packet.destination, packet.destination_port)} -> {_end(bound.address, bound.port)}"
        if known.chosen.preserved:
            detail = "the client's address is preserved"
        else:
            detail = (
                f"source {_end(packet.source, packet.source_port)} -> {_end(node.address, trip.packet.source_port)}"
            )
        trip.note(node.name, "translate", rule, detail)
        shut = self._go_out(trip, here, node) if route.device == node.device else None
        if shut is not None:
            return shut
        return self._routers.transmit(trip, space, route, node.number if route.device != node.device else 0)

    def _to_client(self, trip: Trip, here: Arrival, node: NetworkNode, known: _Connection) -> Arrival | End:
        packet, came, space = trip.packet, known.came, here.space
        trip.packet = replace(
            packet, source=came.destination, source_port=came.destination_port, destination=came.source,
            destination_port=came.source_port,
        )  # fmt: skip
        route = space.route(MAIN, came.source)
        if route is None:
            return dropped(node.name, Cause.NO_ROUTE, f"{node.name} has no route to {came.source}")
        if packet.ttl <= 1:
            return dropped(node.name, Cause.TTL, f"its TTL is over at {node.name}")
        too_big = self._routers.fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.packet = replace(trip.packet, ttl=trip.packet.ttl - 1)
        rule = f"source {_end(packet.source, packet.source_port)} -> {_end(came.destination, came.destination_port)}"
        trip.note(node.name, "translate", rule, "the answer to a connection that it translated")
        shut = self._go_out(trip, here, node)
        if shut is not None:
            return shut
        return self._routers.transmit(trip, space, route)

    def _go_out(self, trip: Trip, here: Arrival, node: NetworkNode) -> End | None:
        """The load balancer's security groups, for what leaves by its ENI."""
        groups, tracking = self._paths.groups[here.space.name], self._routers.tracked(here.space)
        if not groups:
            return None
        if not tracking.is_answer(trip.packet) and allowed_out(groups, trip.packet) is None:
            names = " and ".join(group.name for group in groups)
            told = f"no egress rule of {names}, of load balancer {node.load_balancer}, allows {trip.packet}"
            return dropped(node.name, Cause.SECURITY_GROUP, told, groups[0].path)
        tracking.note(trip.packet)
        return None

    def _place(self, balancer: str) -> Path:
        return self._paths.balancer_places[balancer]


def _key(packet: Packet) -> tuple[int, str, int, str, int]:
    return (
        packet.protocol, packet.source, packet.source_port or 0, packet.destination, packet.destination_port or 0
    )  # fmt: skip


def _end(address: str, port: int | None) -> str:
    return f"{address}:{'*' if port is None else port}"
