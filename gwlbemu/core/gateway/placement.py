"""Binding flows to targets, moving them and letting them go; the only file that changes the flow table.

target for a new flow                                        guide
any healthy target in scope: one of those                    Health checks, "new flows to healthy targets only"
registered targets but none healthy: one of them at random   Health checks, fail open; kept for the flow's life
no target at all: none; the flow is rejected                 not documented, ours
"""

from __future__ import annotations

from collections.abc import Callable

from gwlbemu.core.elb import choice
from gwlbemu.core.elb.attributes import Attributes
from gwlbemu.core.elb.target_group import Member, TargetGroup
from gwlbemu.core.gateway.counters import Counters
from gwlbemu.core.gateway.flows import BOTH_FINS, FROM_HIGH, GENERATION_SHIFT, OTHER_IDLE_SECONDS, Flow, FlowTable
from gwlbemu.core.gateway.key import key_bytes, key_parts
from gwlbemu.core.gateway.records import FlowChange, FlowRecord, TargetChange
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.core.gateway.tunnel import Tunnel
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import TCP

_MANY_TUNNELS = 1 << 16


def is_steady(flow: Flow) -> bool:
    """Whether the packets of a flow need no decision while its target is plain: then the fast path may carry them."""
    return flow.timeout >= 0 and flow.flags & BOTH_FINS != BOTH_FINS


class Placement:
    """The flow table and what is written into it. `attributes` are the present ones."""

    def __init__(
        self,
        settings: Settings,
        attributes: Attributes,
        group: TargetGroup,
        counters: Counters,
        catch_up: Callable[[bytes], None] | None = None,
    ) -> None:
        self.settings = settings
        self.attributes = attributes
        self.group = group
        self.counters = counters
        self.table = FlowTable(tuple(endpoint.id for endpoint in settings.endpoints), catch_up)
        self._seed = choice.Seed(settings.seed)
        self._tunnels: dict[tuple[Member, int, int, int], Tunnel] = {}
        self._changes: list[FlowChange | TargetChange] = []

    def place(self, endpoint: int, key: int, from_high: bool, ip: IpPacket, now: float) -> Flow | None:
        """Bind a new flow to a target; None when there is no target."""
        name = key_bytes(endpoint, key)
        target = self._choose(name, key)
        if target is None:
            self.counters.rejected += 1
            self.counters.rejected_tcp += ip.protocol == TCP
            return None
        self.counters.new_flows += 1
        half_open = self.settings.emulation.half_open_timeout_seconds
        timeout = self.idle_seconds(ip.protocol, key) if half_open is None else -half_open
        port = choice.source_port(self._seed, name, self.settings.emulation.source_port)
        tunnel = self._tunnel(target, port, endpoint, ip.version)
        flow = Flow(key, target, tunnel, choice.cookie(self._seed, name, 0), timeout, FROM_HIGH * from_high, now)
        self.table.add(flow)
        if is_steady(flow):
            self.changed("placed", flow)
        return flow

    def move(self, flow: Flow) -> bool:
        """Bind a flow of a failed target to a healthy one; without any it stays where it is (AWS does not say)."""
        group = self.group
        if not group.healthy or flow.target in group.healthy:
            return False
        name = key_bytes(flow.tunnel.endpoint, flow.key)
        target = self._weigh(name, group.healthy)
        flow.target.flows -= 1
        self.forget_target(flow.target)
        flow.target = target
        target.flows += 1
        version = 4 if flow.tunnel.protocol_type == 0x0800 else 6
        flow.tunnel = self._tunnel(target, flow.tunnel.source_port, flow.tunnel.endpoint, version)
        flow.flags += 1 << GENERATION_SHIFT
        if self.settings.emulation.rebalanced_cookie == "new":
            flow.cookie = choice.cookie(self._seed, name, flow.generation)
        self.counters.moved += 1
        if is_steady(flow):
            self.changed("changed", flow)
        return True

    def end(self, flow: Flow) -> None:
        """Take a flow out of the table."""
        self.table.catch_up(flow)
        self.table.remove(flow)
        self.forget_target(flow.target)
        self.changed("removed", flow)

    def forget_target(self, member: Member) -> None:
        """Let a target go whose last flow has gone, keeping what it counted."""
        if self.group.is_forgettable(member):
            self.counters.retire(member)
            self.group.forget(member)
            if not member.plain:
                self._target_changed("freed", member)  # another target may have the address some day

    def idle_seconds(self, protocol: int, key: int) -> float:
        """Return the idle timeout of a flow; fragments and others without ports are never TCP connections."""
        if protocol == TCP and (self.attributes.sticky or key_parts(key).tuple_size == 5):
            return float(self.attributes.effective_tcp_idle_seconds)
        return OTHER_IDLE_SECONDS

    def advance(self, now: float) -> None:
        """Let the targets do what is due by `now`."""
        touched = self.group.advance(now)
        self.turn()  # before a target is let go, whose last word is "freed"
        for member in touched:
            self.forget_target(member)

    def rekey(self) -> None:
        """Take every flow from the fast path: from now on packets have other keys."""
        for flow in self.table:
            self.changed("removed", flow)

    def turn(self) -> None:
        """Tell the fast path about targets whose flows need Python for each packet from now on, or no longer."""
        for member in self.group.turned:
            self._target_changed("freed" if member.plain else "held", member)
        self.group.turned.clear()

    def _target_changed(self, kind: str, member: Member) -> None:
        if self.settings.track_changes:
            self._changes.append(TargetChange(kind, member.address))

    def changed(self, kind: str, flow: Flow) -> None:
        """Note a change for the fast path."""
        if self.settings.track_changes:
            self._changes.append(
                FlowChange(
                    kind,
                    *_identity(flow),
                    flow.target.id,
                    flow.target.address,
                    flow.cookie,
                    flow.tunnel.source_port,
                    abs(flow.timeout),
                )
            )

    def take_changes(self) -> list[FlowChange | TargetChange]:
        taken, self._changes = self._changes, []
        return taken

    def record(self, flow: Flow) -> FlowRecord:
        """Describe a flow."""
        return FlowRecord(
            *_identity(flow), flow.target.id, flow.cookie, flow.tunnel.source_port,
            flow.placed_at, flow.last_seen_at, flow.expires_at, flow.packets, flow.bytes, flow.generation,
        )  # fmt: skip

    def _choose(self, name: bytes, key: int) -> Member | None:
        group = self.group
        if group.healthy:
            return self._weigh(name, group.healthy)
        if group.registered:
            # "at random": the same flow may meet another target the next time, the same run always the same.
            return self._weigh(name + self.counters.new_flows.to_bytes(8, "big"), group.registered)
        return None

    def _weigh(self, name: bytes, members: tuple[Member, ...]) -> Member:
        if len(members) == 1:
            return members[0]
        weights = choice.weights(self._seed, name, self.group.lanes)
        lane = choice.heaviest(weights, [member.lane for member in members])
        return next(member for member in members if member.lane == lane)

    def _tunnel(self, target: Member, source_port: int, endpoint: int, version: int) -> Tunnel:
        known = (target, source_port, endpoint, version)
        tunnel = self._tunnels.get(known)
        if tunnel is None:
            if len(self._tunnels) >= _MANY_TUNNELS:
                self._tunnels.clear()
            tunnel = self._tunnels[known] = Tunnel(self.settings, target.address, source_port, endpoint, version)
        return tunnel


def _identity(flow: Flow) -> tuple[bytes, int, int, int, bytes, int, bytes, int]:
    """Return what FlowRecord and FlowChange both say of a flow: `key` to `destination_port`."""
    endpoint = flow.tunnel.endpoint
    size, protocol, low, low_port, high, high_port = key_parts(flow.key)
    if flow.flags & FROM_HIGH:
        low, low_port, high, high_port = high, high_port, low, low_port
    return key_bytes(endpoint, flow.key), endpoint, size, protocol, low, low_port, high, high_port
