"""Binding flows to targets, moving them and letting them go; the only file that changes the flow table.

target for a new flow                                        guide
any healthy target in scope: one of those                    Health checks, "new flows to healthy targets only"
registered targets but none healthy: one of them at random   Health checks, fail open; kept for the flow's life
no target at all: none; the flow is rejected                 not documented, ours
the table is full (max_flows): none; the flow is rejected    not documented, ours
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gwlbemu.core.elb import choice
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.gateway import marks
from gwlbemu.core.gateway.changes import Changes
from gwlbemu.core.gateway.counters import Counters
from gwlbemu.core.gateway.endings import Endings
from gwlbemu.core.gateway.flows import OTHER_IDLE_SECONDS, Flow, FlowState, FlowTable, flow_identity
from gwlbemu.core.gateway.former import FormerFlows
from gwlbemu.core.gateway.key import key_bytes, key_parts
from gwlbemu.core.gateway.records import FlowRecord
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.core.gateway.targets import GatewayMember, GatewayTargetGroup
from gwlbemu.core.gateway.tunnel import Tunnel
from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import TCP

_TUNNELS_CAPACITY = 1 << 16
_MAKE_ROOM = 16  # flows that a new one of a full table looks at, to find one whose time is over


class Placement:
    """The flow table and what is written into it.

    `attributes` are the present ones, `changes` what the fast path has to learn, `endings` who counts the flows that
    end, if anybody does.
    """

    def __init__(
        self,
        settings: Settings,
        attributes: GatewayAttributes,
        group: GatewayTargetGroup,
        counters: Counters,
        fetch_carried: Callable[[bytes], None] | None = None,
    ) -> None:
        self.settings = settings
        self.attributes = attributes
        self.group = group
        self.counters = counters
        half_open = settings.emulation.half_open_timeout_seconds
        self._begins_half_open = half_open is not None
        # By whether the first packet came from the higher end of the key, and whether it is an ICMP error.
        self._first_states = tuple(
            tuple(FlowState(from_high, self._begins_half_open, only_errors=error) for error in (False, True))
            for from_high in (False, True)
        )
        self.endings: Endings | None = None
        self.table = FlowTable(
            tuple(endpoint.id for endpoint in settings.endpoints),
            math.inf if half_open is None else half_open,
            fetch_carried,
        )
        self.changes = Changes(settings.track_changes)
        self.former = FormerFlows(settings.emulation.fin_linger_seconds)
        self._seed = choice.Seed(settings.seed)
        self._cookie_numbers = marks.CookieNumbers()
        self._tunnels: dict[tuple[GatewayMember, int, int, int], Tunnel] = {}

    def place(
        self, endpoint: int, key: int, from_high: bool, ip: IpPacket, now: float, *, is_error: bool = False
    ) -> Flow | Reason:
        """Bind a new flow to a target and return it, or (counted as rejected) why its packet is dropped.

        `from_high` tells whether its first packet, whose header is `ip`, comes from the higher end of its key,
        `is_error` whether that is an ICMP error.
        """
        if not self._has_room(now):
            return self._reject(Reason.TABLE_FULL, ip)
        name = key_bytes(endpoint, key)
        target = self._choose(name)
        if target is None:
            return self._reject(Reason.NO_TARGET, ip)
        self.counters.new_flows += 1
        port = marks.outer_source_port(self._seed, name, self.settings.emulation.source_port)
        tunnel = self._tunnel(target, port, endpoint, ip.version)
        flow = Flow(
            key,
            target,
            tunnel,
            target.tally(endpoint, key),
            cookie=marks.flow_cookie(self._seed, name, self._cookie_numbers.take(endpoint, key)),
            idle_timeout=0.0,
            state=self._first_states[from_high][is_error],
            now=now,
        )
        if not self._begins_half_open:
            flow.idle_timeout = self.idle_seconds(ip.protocol, flow)
        self.table.add(flow)
        if flow.state.is_carriable:
            self.changes.flow_placed(flow)
        return flow

    def _has_room(self, now: float) -> bool:
        """Whether one more flow fits; of a full table, flows whose time is over make way first."""
        most = self.settings.emulation.max_flows
        if len(self.table) >= most:
            for flow in self.table.overdue(now, _MAKE_ROOM):
                self.end(flow)
        return len(self.table) < most

    def _reject(self, reason: Reason, ip: IpPacket) -> Reason:
        self.counters.rejected += 1
        self.counters.rejected_tcp += ip.protocol == TCP
        return reason

    def move(self, flow: Flow) -> bool:
        """Bind a flow of a failed target to a healthy one and return whether that was done.

        Without a healthy one it stays where it is (AWS does not say).
        """
        group = self.group
        if not group.healthy or flow.target in group.healthy:
            return False
        name = key_bytes(flow.tunnel.endpoint, flow.key)
        target = group.choose(self._seed, name, group.healthy)
        flow.target.flows -= 1
        self.forget_target(flow.target)
        flow.target = target
        flow.tally = target.tally(flow.tunnel.endpoint, flow.key)
        target.flows += 1
        version = 4 if flow.tunnel.protocol_type == 0x0800 else 6
        flow.tunnel = self._tunnel(target, flow.tunnel.source_port, flow.tunnel.endpoint, version)
        flow.change_state(moves=flow.state.moves + 1)
        if self.settings.emulation.rebalanced_cookie == "new":
            number = self._cookie_numbers.take(flow.tunnel.endpoint, flow.key)
            flow.cookie = marks.flow_cookie(self._seed, name, number)
        self.counters.moved += 1
        if flow.state.is_carriable:
            self.changes.flow_updated(flow)
        return True

    def end(self, flow: Flow) -> None:
        """Take a flow out of the table."""
        self.table.fetch_carried(flow)
        endings = self.endings
        if endings is not None and endings.is_of(flow.placed_at, self.table.expires_at(flow)):
            endings.note(self.table.order.number_of(flow), self.record(flow))
            self.former.add(flow, endings.reached_at, goes_on=False)
        self.table.remove(flow)
        self.forget_target(flow.target)
        self.changes.flow_removed(flow)

    def end_connection(self, flow: Flow, now: float, *, reset: bool) -> None:
        """Take a connection's flow out, since a RST has come back (`reset`) or a SYN begins another on its ports.

        What is still on its way is known for a while.
        """
        self.end(flow)
        self.former.add(flow, now, reset=reset)

    def end_failed(self, flow: Flow, now: float) -> None:
        """Take the flow of a failed target out, whose ends are answered with a RST; nothing of it goes on."""
        self.end(flow)
        self.former.add(flow, now, goes_on=False)

    def forget_target(self, member: GatewayMember) -> None:
        """Let a target go whose last flow has gone, keeping what it counted."""
        if self.group.is_forgettable(member):
            self.counters.retire(member)
            self.group.forget(member)
            if member.held:
                self.changes.target_held(member, False)  # another target may have the address some day

    def idle_seconds(self, protocol: int, flow: Flow) -> float:
        """Return a flow's idle timeout in seconds; fragments and others without ports are never TCP connections."""
        if flow.state.only_errors:
            return self.settings.emulation.icmp_error_timeout_seconds
        if protocol == TCP and (self.attributes.sticky or key_parts(flow.key).tuple_size == 5):
            return float(self.attributes.effective_tcp_idle_seconds)
        return OTHER_IDLE_SECONDS

    def lengthen(self, flow: Flow, protocol: int) -> None:
        """Let a flow live as long as others: another packet than an ICMP error, of `protocol`, belongs to it."""
        flow.change_state(only_errors=False)
        if not flow.state.half_open:
            self.table.set_idle_timeout(flow, self.idle_seconds(protocol, flow))
        if flow.state.is_carriable:
            self.changes.flow_placed(flow)

    def advance(self, now: float) -> None:
        """Let the targets do what is due by `now`."""
        affected = self.group.advance(now)
        self.note_held_targets()  # before a target is let go, which notes that it is no longer held
        for member in affected:
            self.forget_target(member)

    def note_held_targets(self) -> None:
        """Tell the fast path about targets whose flows need a decision for each packet from now on, or no longer."""
        for member in self.group.take_held_changes():
            self.changes.target_held(member, member.held)

    def record(self, flow: Flow) -> FlowRecord:
        """Describe a flow."""
        return FlowRecord(
            *flow_identity(flow), flow.target.id, flow.cookie, flow.tunnel.source_port,
            flow.placed_at, flow.last_seen_at, self.table.expires_at(flow), flow.packets_to, flow.packets_from,
            flow.bytes, flow.state.moves,
        )  # fmt: skip

    def _choose(self, name: bytes) -> GatewayMember | None:
        group = self.group
        if group.healthy:
            return group.choose(self._seed, name, group.healthy)
        if group.is_failing_open:
            # "at random": the same flow may meet another target the next time, the same run always the same.
            return group.choose(self._seed, name + self.counters.new_flows.to_bytes(8, "big"), group.eligible)
        return None

    def _tunnel(self, target: GatewayMember, source_port: int, endpoint: int, version: int) -> Tunnel:
        known = (target, source_port, endpoint, version)
        tunnel = self._tunnels.get(known)
        if tunnel is None:
            if len(self._tunnels) >= _TUNNELS_CAPACITY:
                self._tunnels.clear()
            tunnel = self._tunnels[known] = Tunnel(self.settings, target.address, source_port, endpoint, version)
        return tunnel
