"""A packet from an endpoint, with all the care that the hot path leaves out: the verdict for any bytes whatever.

packet                                              verdict                       guide
longer than 8500 bytes                              Drop TOO_LONG, silently       Gateway Load Balancers, MTU
of a live flow                                      ToTarget, that flow's target  Flow stickiness
TCP SYN behind a RST, or FINs of both ends          a new flow, ToTarget          ours
TCP RST of the connection before, see `former`      ToTarget, in the old flow     ours
  and its target has been forgotten                 Drop MIDSTREAM                ours
TCP without SYN, no live flow                       Drop MIDSTREAM                Idle timeout
  and send_tcp_reset.on_idle_timeout.enabled        Reset to its sender           Listeners
anything else without a live flow                   a new flow, ToTarget          Idle timeout
  and no target, or no room in the flow table       Drop NO_TARGET, TABLE_FULL    ours
of a flow whose target failed: CARRY, MOVE, RESET   see `fates`                  Edit target group attributes
"""

from __future__ import annotations

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, TWO_TUPLE
from gwlbemu.core.gateway.fates import Fate
from gwlbemu.core.gateway.flows import OTHER_IDLE_SECONDS, Flow
from gwlbemu.core.gateway.key import flow_key, quoted_key
from gwlbemu.core.gateway.mss import clamp
from gwlbemu.core.gateway.placement import Placement
from gwlbemu.core.gateway.settings import LONGEST_PACKET
from gwlbemu.core.gateway.ttl_steps import entry_step
from gwlbemu.core.gateway.verdict import Reason, Reset, ToTarget, Verdict
from gwlbemu.errors import WireError
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.outer import encapsulate
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import ACK, RST, SYN, build_keepalive, build_reset, decode_tcp
from gwlbemu.wire.ttl import decrement


class Entry:
    """The way from an endpoint to a target."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._counters = placement.counters
        self._emulation = placement.settings.emulation

    def receive(self, endpoint: int, packet: bytes, now: float) -> Verdict:
        """Return the verdict for one packet; `endpoint` is the 64-bit id of the endpoint it came from."""
        try:
            return self._judge(endpoint, packet, now)
        except Exception as error:
            return self._counters.fault(error)

    def _judge(self, endpoint: int, packet: bytes, now: float) -> Verdict:
        drop = self._counters.drop
        table = self._placement.table.by_endpoint.get(endpoint)
        if table is None:
            return drop(Reason.UNKNOWN_ENDPOINT)
        if len(packet) > LONGEST_PACKET:
            return drop(Reason.TOO_LONG)
        try:
            ip = decode_ip(packet)
            packet = packet[: ip.total_length]  # short frames are padded
            flags = sequence = 0
            if ip.protocol == TCP and not ip.is_fragment:
                tcp = decode_tcp(packet, ip)
                flags, sequence = tcp.flags, tcp.sequence
                if self._emulation.mss_clamp:
                    packet = clamp(packet, ip, tcp)
            if ip.is_fragment and self._emulation.fragments == "drop":
                return drop(Reason.FRAGMENT)
            key, swapped = self._key(table, packet, ip)
        except WireError:
            return drop(Reason.MALFORMED)
        connection = ip.protocol == TCP and not ip.is_fragment
        flow = table.get(key)
        if flow is not None and self._placement.table.is_over(flow, now):
            self._placement.end(flow)
            flow = None
        elif flow is not None and flow.state.is_reusable and flags & (SYN | ACK) == SYN:
            self._placement.end_connection(flow, now, reset=False)
            flow = None
        late = self._late_reset(endpoint, key, flags, sequence, swapped, now)
        if late is not None:
            if not self._placement.group.knows(late.target):
                return drop(Reason.MIDSTREAM)
            flow = late
        elif flow is None:
            refused = self._refuse(endpoint, packet, connection, flags)
            if refused is not None:
                return refused
        elif flow.target.held:
            answer = self._failed(flow, endpoint, packet, connection, flags, swapped, now)
            if answer is not None:
                return answer
        step = entry_step(self._emulation.ttl_decrement, flow is None or swapped == flow.state.from_high)
        if step and ip.ttl <= step:
            return drop(Reason.TTL_EXPIRED)
        if flow is None:
            self._placement.advance(now)
            placed = self._placement.place(endpoint, key, swapped, ip, now, is_error=self._is_error(packet, ip))
            if isinstance(placed, Reason):
                return drop(placed)
            flow = placed
            if flags & SYN:
                self._placement.former.note_syn(endpoint, key, now, sequence, swapped)
        if flags & RST and late is None and self._placement.attributes.stickiness == FIVE_TUPLE:
            flow.change_state(reset_sent=True)
        return self._forward(flow, ip, packet, step, now)

    def _key(self, table: dict[int, Flow], packet: bytes, ip: IpPacket) -> tuple[int, bool]:
        stickiness = self._placement.attributes.stickiness
        if self._emulation.icmp_errors == "parent":
            quoted = quoted_key(packet, ip, stickiness)
            if quoted is not None and quoted[0] in table:
                return quoted
        return flow_key(ip, stickiness)

    def _is_error(self, packet: bytes, ip: IpPacket) -> bool:
        return quoted_key(packet, ip, self._placement.attributes.stickiness) is not None

    def _late_reset(self, endpoint: int, key: int, flags: int, sequence: int, swapped: bool, now: float) -> Flow | None:
        """Return the former flow that a RST is of: by it an end answers what is left of the connection before."""
        former = self._placement.former.find(endpoint, key, now) if flags & RST else None
        return former.flow if former is not None and former.is_before(sequence, swapped) else None

    def _refuse(self, endpoint: int, packet: bytes, connection: bool, flags: int) -> Verdict | None:
        """Judge a packet of no flow: only a SYN (without ACK) begins a TCP flow."""
        midstream = self._emulation.midstream
        if not connection or (flags & (SYN | ACK)) == SYN or midstream == "new":
            return None
        if midstream == "rst" or self._placement.attributes.reset_on_idle_timeout:
            return self._reset(endpoint, packet)
        return self._counters.drop(Reason.MIDSTREAM)

    def _failed(
        self, flow: Flow, endpoint: int, packet: bytes, connection: bool, flags: int, swapped: bool, now: float
    ) -> Verdict | None:
        """Do what the flow's target calls for; None when the packet goes on, to whatever target the flow has then."""
        self._placement.advance(now)
        fate = flow.target.fate
        if fate is Fate.MOVE:
            self._placement.move(flow)
        elif fate is Fate.RESET and connection and flow.placed_at < flow.target.failed_at:
            # A flow that failing open has put there since is not touched: its target was known to be unhealthy.
            if self._emulation.reset_ends == "both":
                return self._reset_both(flow, endpoint, packet, flags, swapped, now)
            self._placement.end_failed(flow, now)
            return self._reset(endpoint, packet)
        return None

    def _reset_both(self, flow: Flow, endpoint: int, packet: bytes, flags: int, swapped: bool, now: float) -> Verdict:
        """Answer this end; the flow stays until the other has been answered, too, which the first time is asked for a
        packet: only its own packet says which sequence number a RST must have to be taken.
        """
        told = flow.state.told | (2 if swapped else 1)
        if told == 3 or flags & RST:
            self._placement.end_failed(flow, now)
            return self._reset(endpoint, packet)
        flow.change_state(told=told)
        answer = self._reset(endpoint, packet)
        return answer._replace(probe=build_keepalive(packet) or b"") if isinstance(answer, Reset) else answer

    def _reset(self, endpoint: int, packet: bytes) -> Verdict:
        answer = build_reset(packet)
        if answer is None:
            return self._counters.drop(Reason.MIDSTREAM)
        self._counters.resets += 1
        return Reset(endpoint, answer)

    def _forward(self, flow: Flow, ip: IpPacket, packet: bytes, step: int, now: float) -> ToTarget:
        target, tunnel, tally = flow.target, flow.tunnel, flow.tally
        flow.last_seen_at = now
        if flow.state.only_errors and not self._is_error(packet, ip):
            self._placement.lengthen(flow, ip.protocol)
        if (
            ip.protocol == TCP
            and flow.idle_timeout == OTHER_IDLE_SECONDS
            and self._placement.attributes.stickiness == TWO_TUPLE
        ):
            # A 2-tuple flow that began without TCP and has some now.
            self._placement.table.set_idle_timeout(flow, self._placement.idle_seconds(TCP, flow))
            if flow.state.is_carriable:
                self._placement.changes.flow_updated(flow)
        flow.packets_to += 1
        flow.bytes += len(packet)
        tally.packets_to += 1
        tally.bytes_to += len(packet)
        header = tunnel.header(flow.cookie)
        inner = decrement(packet, step) if step else packet
        return ToTarget(
            target.id,
            encapsulate(self._placement.settings.node_address, target.address, tunnel.source_port, header, inner),
        )
