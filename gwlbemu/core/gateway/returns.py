"""A datagram from the targets' side, with all the care that the hot path leaves out: the verdict for any bytes
whatever.

Checks, in this order; a packet is counted by the first that fails and nothing is ever sent back. Guide, CloudWatch
metrics, names the metrics; the order is ours, AWS does not say.

    check                                                          otherwise             source
    whole IPv4/UDP to this node, port 6081, GENEVE version 0,      INVALID_GENEVE_TUNNEL guide; RFC 8926 section 3.4
      O bit clear, options consistent, none unknown and critical                         RFC 8926 sections 3.4, 3.5
    the sender is a target of the group                            INVALID_GENEVE_TUNNEL ours
    option 1 there, naming an endpoint of this load balancer       INVALID_ENDPOINT_ID   guide
    option 3 there                                                 INVALID_FLOW_COOKIE   guide
    the inner packet can be read, ethertype and version agree      INVALID_GENEVE_TUNNEL ours
    a live flow has the inner packet's key                         MISSING_FLOW_ENTRY    guide
    option 3 is that flow's cookie (*)                             INVALID_FLOW_COOKIE   guide
    (*) A connection's flow whose ports a SYN has taken over is remembered for a while: what is still on its way with
    its cookie arrives, up to its RST.

Not judged: outer source port, outer TTL, both outer checksums, option 2, the order of options, unknown options that are
not critical. An ICMP error may also come in the header of the flow that it quotes: an appliance answers inside a flow
(public appliances do).
"""

from __future__ import annotations

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE
from gwlbemu.core.gateway.flows import Flow
from gwlbemu.core.gateway.former import Former
from gwlbemu.core.gateway.key import flow_key, quoted_key
from gwlbemu.core.gateway.placement import Placement
from gwlbemu.core.gateway.settings import LONGEST_PACKET
from gwlbemu.core.gateway.ttl_steps import exit_step
from gwlbemu.core.gateway.verdict import Reason, ToEndpoint, Verdict
from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import FIN, RST, SYN, decode_tcp
from gwlbemu.wire.ttl import decrement

_VERSIONS = {geneve.PROTOCOL_IPV4: 4, geneve.PROTOCOL_IPV6: 6}


class Return:
    """The way from a target to an endpoint."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._counters = placement.counters
        self._settings = placement.settings

    def receive(self, source: bytes, datagram: bytes, now: float) -> Verdict:
        """Return the verdict for one outer IPv4 datagram from `source`."""
        try:
            return self._judge(source, datagram, now)
        except Exception as error:
            return self._counters.fault(error)

    def _judge(self, source: bytes, datagram: bytes, now: float) -> Verdict:
        drop = self._counters.drop
        try:
            outer = decapsulate(datagram)
            header, _ = geneve.decode(outer.header)
            options = aws.parse(header)
        except WireError:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        if outer.destination != self._settings.node_address or outer.destination_port != geneve.PORT:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        if header.control or aws.unknown_critical(header) or header.protocol_type not in _VERSIONS:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        if source != outer.source or source not in self._placement.group.by_address:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        table = self._placement.table.by_endpoint.get(-1 if options.endpoint_id is None else options.endpoint_id)
        if table is None or options.endpoint_id is None:
            return drop(Reason.INVALID_ENDPOINT_ID)
        if options.flow_cookie is None:
            return drop(Reason.INVALID_FLOW_COOKIE)
        try:
            ip = decode_ip(outer.packet)
            packet = outer.packet[: ip.total_length]
            flags = decode_tcp(packet, ip).flags if ip.protocol == TCP and not ip.is_fragment else 0
            keys = self._keys(packet, ip)
        except WireError:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        if ip.version != _VERSIONS[header.protocol_type]:
            return drop(Reason.INVALID_GENEVE_TUNNEL)
        live = [
            (flow, swapped)
            for key, swapped in keys
            if (flow := table.get(key)) is not None and not self._placement.table.is_over(flow, now)
        ]
        known = [(flow, swapped) for flow, swapped in live if flow.cookie == options.flow_cookie]
        former = None
        if not known and not flags & SYN:
            key, swapped = keys[0]
            former = self._placement.former.find(options.endpoint_id, key, now)
            if former is not None and self._is_of(former, options.flow_cookie, flags):
                known = [(former.flow, swapped)]
            else:
                former = None
        if not known:
            return drop(Reason.INVALID_FLOW_COOKIE if live else Reason.MISSING_FLOW_ENTRY)
        if len(packet) > LONGEST_PACKET:
            return drop(Reason.TOO_LONG)
        flow, swapped = known[0]
        step = exit_step(self._settings.emulation.ttl_decrement, swapped == flow.state.from_high)
        if step and ip.ttl <= step:
            return drop(Reason.TTL_EXPIRED)
        if former is not None:
            return self._forward_late(former, packet, flags=flags, step=step)
        return self._forward(flow, packet, protocol=ip.protocol, flags=flags, swapped=swapped, step=step, now=now)

    def _keys(self, packet: bytes, ip: IpPacket) -> list[tuple[int, bool]]:
        stickiness = self._placement.attributes.stickiness
        quoted = quoted_key(packet, ip, stickiness)
        return [flow_key(ip, stickiness)] + ([quoted] if quoted is not None else [])

    def _forward(
        self, flow: Flow, packet: bytes, *, protocol: int, flags: int, swapped: bool, step: int, now: float
    ) -> ToEndpoint:
        target = flow.target
        flow.last_seen_at = now
        flow.packets += 1
        flow.bytes += len(packet)
        target.packets_from += 1
        target.bytes_from += len(packet)
        if flow.state.half_open:
            flow.change_state(half_open=False)
            self._placement.table.set_idle_timeout(flow, self._placement.idle_seconds(protocol, flow))
            if flow.state.is_carriable:
                self._placement.changes.flow_placed(flow)
        if flags & (FIN | RST) and self._placement.attributes.stickiness == FIVE_TUPLE:
            self._close(flow, flags, swapped, now)
        return ToEndpoint(flow.tunnel.endpoint, decrement(packet, step) if step else packet)

    @staticmethod
    def _is_of(former: Former, cookie: int, flags: int) -> bool:
        """Tell whether a packet is one that a former flow has left behind, now that others have its ports."""
        if former.sequence is None or former.flow.cookie != cookie:
            return False
        return not former.reset or bool(flags & RST)

    def _forward_late(self, former: Former, packet: bytes, *, flags: int, step: int) -> ToEndpoint:
        """Let a packet of a former flow out, which touches nothing of the present one."""
        flow, target = former.flow, former.flow.target
        if self._placement.group.by_address.get(target.address) is target:
            target.packets_from += 1
            target.bytes_from += len(packet)
        else:
            self._counters.add_late(0, 1, 0, len(packet))
        former.reset |= bool(flags & RST)
        return ToEndpoint(flow.tunnel.endpoint, decrement(packet, step) if step else packet)

    def _close(self, flow: Flow, flags: int, swapped: bool, now: float) -> None:
        """Follow TCP's end: judged here, where the appliance has let the packet pass.

        Guide, Gateway Load Balancers: a flow ends when its connection does.
        """
        if flags & RST:
            self._placement.end_connection(flow, now, reset=True)
            return
        was_closed = flow.state.is_closed
        if swapped:
            flow.change_state(fin_from_high=True)
        else:
            flow.change_state(fin_from_low=True)
        if flow.state.is_closed and not was_closed:
            self._placement.changes.flow_removed(flow)
            self._placement.table.set_idle_timeout(flow, self._settings.emulation.fin_linger_seconds)
