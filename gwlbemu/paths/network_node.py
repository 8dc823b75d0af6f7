"""A Network Load Balancer's node on a packet's way: what the core says, for the states that are given.

Nothing is decided here: listeners, targets in scope, fail-open and the hash are the core's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import NamedTuple

from gwlbemu.core.elb.network_attributes import NetworkAttributes
from gwlbemu.core.emulation import Emulation
from gwlbemu.core.network.balancer import PROTOCOLS, NetworkBalancer
from gwlbemu.core.network.proxy import is_proxied
from gwlbemu.core.network.settings import Listener, Settings
from gwlbemu.core.network.tables import PRESERVED, Connection, Destination
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.given_states import decided_at_once, observe
from gwlbemu.paths.tracking import tuple_of
from gwlbemu.paths.values import Bound, Packet, States
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.values import NetworkNode, Plan
from gwlbemu.wire.protocols import TCP

_TAKES = {**PROTOCOLS, "TLS": (TCP,)}  # of a listener's protocol, what packets have


class Chosen(NamedTuple):
    """A target, and by what it was chosen, for people."""

    bound: Bound
    preserved: bool  # whether its packets keep the client's address
    how: str


class NetworkModel:
    """One node in some states. It remembers no packet, so that all walks may share it."""

    def __init__(self, plan: Plan, node: NetworkNode, states: States) -> None:
        self.node, self._seed = node, states.seeds.get(node.name)
        balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
        told = network_balancer(plan, balancer.name)
        self._told = replace(told, groups=decided_at_once(told.groups))
        settings = Settings(
            load_balancer=balancer.name,
            zone=node.zone,
            zones=balancer.zones,
            address=IPv4Address(node.address).packed,
            seed=self._seed or 0,
            emulation=replace(Emulation.from_values(plan.emulation), propagation_delay_seconds=0),
        )
        self._core = NetworkBalancer(settings, self._told, 0.0)
        self._groups = {group.name: group for group in self._told.groups}
        observe(self._core, self._told.groups, node.name, states)

    @property
    def listeners(self) -> str:
        """The listeners' names, for people."""
        return ", ".join(each.name for each in self._told.listeners) or "nothing"

    def listener(self, protocol: int, port: int | None) -> Listener | None:
        """Return the listener that takes what is sent to a port."""
        return next((each for each in self._of(protocol) if each.port == port), None)

    def is_proxied(self, listener: Listener, packet: Packet) -> bool:
        """Tell whether a connection ends at a proxy in the node, which makes another one to a target."""
        version = 6 if ":" in packet.source else 4
        return packet.protocol == TCP and is_proxied(listener, self._groups, version)

    def answers_late(self, packet: Packet) -> bool:
        """Tell whether TCP that belongs to no connection is answered by a reset."""
        if any(each.port == packet.destination_port for each in self._of(TCP)):
            return True
        place = packet.source, packet.source_port
        return any((str(IPv4Address(t.address)), t.port) == place for g in self._told.groups for t in g.targets)

    def healthy(self) -> list[tuple[int, int]]:
        """Return how many targets in scope are healthy, and how many DNS wants, of each target group."""
        return list(self._core.healthy_counts().values())

    def has_targets(self, group: str) -> bool:
        """Tell whether a target group has any target at all, in whatever zone."""
        return bool(self._groups[group].targets)

    def choose(self, listener: Listener, packet: Packet, choices: Choices) -> Chosen | str:
        """Return the target of a new connection: computed, or picked where that is open; where there is none, the name
        of the group that has none. What a proxy in the node chooses is always open.
        """
        version = 6 if ":" in packet.source else 4
        weights = [(name, weight) for name, weight in listener.forward_of(version).groups if weight]
        exact = None if self.is_proxied(listener, packet) else self._exact(listener, packet)
        key = (self.node.name, *tuple_of(packet))
        if exact is not None:
            name, target = self._core.chosen(exact) or ("", "")
            return self._chosen(name, self._destination(name, target)) if name else self._without_targets(weights)
        name, _ = choices.pick((*key, "group"), weights)
        eligible = self._core.eligible(name)
        if not eligible:
            if len(weights) > 1:
                choices.name(f"{self.node.name}: target group {name}")
            return name
        found = self._chosen(name, choices.pick((*key, name), eligible), of=len(eligible))
        if len(weights) > 1 or len(eligible) > 1:
            choices.name(f"{self.node.name}: {found.bound.target}" + (f" of {name}" if len(weights) > 1 else ""))
        return found

    def _without_targets(self, weights: list[tuple[str, int]]) -> str:
        return next(name for name, _ in weights if not self._core.eligible(name))

    def is_preserved(self, group: str) -> bool:
        """Tell whether a group's targets get packets with their client's address."""
        return self._attributes(group).preserve_client_ip

    def says_to_target(self, group: str) -> tuple[bool, bool]:
        """Tell whether a proxy in the node speaks TLS with a group's targets, and whether it names the client to them
        by proxy protocol version 2.
        """
        return self._groups[group].protocol == "TLS", self._attributes(group).proxy_protocol_v2

    def _attributes(self, group: str) -> NetworkAttributes:
        told = self._groups.get(group)
        return NetworkAttributes.from_text(target_group=told.attributes if told else {})

    def _of(self, protocol: int) -> Iterator[Listener]:
        return (each for each in self._told.listeners if protocol in _TAKES.get(each.protocol, ()))

    def _exact(self, listener: Listener, packet: Packet) -> Connection | None:
        """Return what the kernel hashes, as far as it is needed and all of that is known."""
        known = packet.source_port is not None and (packet.protocol != TCP or packet.sequence is not None)
        forward = listener.forward_of(4)
        sticky = all(self._attributes(name).sticky for name, _ in forward.groups)
        by_source = sticky and (forward.sticky or len(forward.groups) == 1)
        if self._seed is None or not (known or by_source):
            return None
        return Connection(
            packet.protocol,
            IPv4Address(packet.source).packed,
            packet.source_port or 0,
            IPv4Address(packet.destination).packed,
            listener.port,
            packet.sequence or 0,
        )

    def _destination(self, group: str, target: str) -> Destination:
        return next(each for each in self._core.eligible(group) if self._core.name_of(each.mark)[1] == target)

    def _chosen(self, group: str, found: Destination, of: int = 0) -> Chosen:
        """A target that was computed, or picked out of that many."""
        _, target = self._core.name_of(found.mark)
        if group in self._core.failing_open():
            how = "fail open: no target in scope is healthy"
        elif len(self._core.eligible(group)) == 1:
            how = "the only target in scope"
        else:
            how = f"flow hash, one of {of}" if of else "flow hash"
        return Chosen(
            Bound(group, target, str(IPv4Address(found.address)), found.port), bool(found.mark & PRESERVED), how
        )
