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

from ipaddress import ip_address

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE
from gwlbemu.core.gateway.flows import Flow
from gwlbemu.core.gateway.former import Former
from gwlbemu.core.gateway.key import flow_key, quoted_key
from gwlbemu.core.gateway.placement import Placement
from gwlbemu.core.gateway.settings import LONGEST_PACKET
from gwlbemu.core.gateway.ttl_steps import exit_step
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint, Verdict
from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve, protocols
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.mismatch import Mismatch, mismatch_of
from gwlbemu.wire.outer import Outer, decapsulate
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import FIN, RST, decode_tcp
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
            verdict = self._judge(source, datagram, now)
            if isinstance(verdict, Drop):
                member = self._placement.group.by_address.get(source)
                if member is not None:
                    self._counters.refusals.note(member.id, datagram, verdict)
            return verdict
        except Exception as error:
            return self._counters.fault(error)

    def _judge(self, source: bytes, datagram: bytes, now: float) -> Verdict:
        drop = self._counters.drop
        try:
            outer = decapsulate(datagram)
        except WireError as error:
            return drop(Reason.INVALID_GENEVE_TUNNEL, mismatch_of(error))
        try:
            header, _ = geneve.decode(outer.header)
            options = aws.parse(header)
        except WireError as error:
            return drop(Reason.INVALID_GENEVE_TUNNEL, mismatch_of(error, "GENEVE options: "))
        if outer.destination != self._settings.node_address or outer.destination_port != geneve.PORT:
            return drop(Reason.INVALID_GENEVE_TUNNEL, self._not_to_us(outer))
        critical = aws.unknown_critical(header)
        if header.control or critical or header.protocol_type not in _VERSIONS:
            return drop(Reason.INVALID_GENEVE_TUNNEL, _wrong_header(header, critical))
        if source != outer.source or source not in self._placement.group.by_address:
            return drop(Reason.INVALID_GENEVE_TUNNEL, Mismatch("sender", _text(outer.source), "a registered target"))
        table = self._placement.table.by_endpoint.get(-1 if options.endpoint_id is None else options.endpoint_id)
        if table is None or options.endpoint_id is None:
            return drop(Reason.INVALID_ENDPOINT_ID, self._wrong_endpoint(options.endpoint_id))
        if options.flow_cookie is None:
            return drop(Reason.INVALID_FLOW_COOKIE, Mismatch("option 3 (flow cookie)", "missing", "the flow's"))
        try:
            ip = decode_ip(outer.packet)
            packet = outer.packet[: ip.total_length]
            flags = decode_tcp(packet, ip).flags if ip.protocol == TCP and not ip.is_fragment else 0
            keys = self._keys(packet, ip)
        except WireError as error:
            return drop(Reason.INVALID_GENEVE_TUNNEL, mismatch_of(error, "inner packet: "))
        expected_version = _VERSIONS[header.protocol_type]
        if ip.version != expected_version:
            wrong = Mismatch("inner IP version", str(ip.version), f"{expected_version} behind that protocol type")
            return drop(Reason.INVALID_GENEVE_TUNNEL, wrong)
        live = [
            (flow, swapped)
            for key, swapped in keys
            if (flow := table.get(key)) is not None and not self._placement.table.is_over(flow, now)
        ]
        known = [(flow, swapped) for flow, swapped in live if flow.cookie == options.flow_cookie]
        key, swapped = keys[0]
        former = None if known else self._former(options.endpoint_id, key, options.flow_cookie, flags, now)
        if former is not None:
            known = [(former.flow, swapped)]
        if not known:
            is_late = any(self._is_late(options.endpoint_id, key, options.flow_cookie, now) for key, _ in keys)
            if not live:
                wrong = Mismatch("inner packet", _ends(ip), "one of a live flow")
                return drop(Reason.MISSING_FLOW_ENTRY, wrong, is_late=is_late)
            wrong = Mismatch("flow cookie", f"0x{options.flow_cookie:08x}", f"0x{live[0][0].cookie:08x}")
            return drop(Reason.INVALID_FLOW_COOKIE, wrong, is_late=is_late)
        if len(packet) > LONGEST_PACKET:
            return drop(Reason.TOO_LONG, Mismatch("inner length", str(len(packet)), f"at most {LONGEST_PACKET}"))
        flow, swapped = known[0]
        step = exit_step(self._settings.emulation.ttl_decrement, swapped == flow.state.from_high)
        if step and ip.ttl <= step:
            return drop(Reason.TTL_EXPIRED, Mismatch("inner TTL", str(ip.ttl), f"more than {step}"))
        if former is not None:
            return self._forward_late(former, packet, flags=flags, step=step)
        return self._forward(flow, packet, protocol=ip.protocol, flags=flags, swapped=swapped, step=step, now=now)

    def _not_to_us(self, outer: Outer) -> Mismatch:
        if outer.destination_port != geneve.PORT:
            return Mismatch("UDP port", str(outer.destination_port), str(geneve.PORT))
        return Mismatch("outer destination", _text(outer.destination), _text(self._settings.node_address))

    def _wrong_endpoint(self, got: int | None) -> Mismatch:
        ours = " or ".join(aws.format_endpoint(each.id) for each in self._settings.endpoints)
        return Mismatch("option 1 (endpoint id)", "missing" if got is None else aws.format_endpoint(got), ours)

    def _keys(self, packet: bytes, ip: IpPacket) -> list[tuple[int, bool]]:
        stickiness = self._placement.attributes.stickiness
        quoted = quoted_key(packet, ip, stickiness)
        return [flow_key(ip, stickiness)] + ([quoted] if quoted is not None else [])

    def _forward(
        self, flow: Flow, packet: bytes, *, protocol: int, flags: int, swapped: bool, step: int, now: float
    ) -> ToEndpoint:
        tally = flow.tally
        flow.last_seen_at = now
        flow.packets_from += 1
        flow.bytes += len(packet)
        tally.packets_from += 1
        tally.bytes_from += len(packet)
        if flow.state.half_open:
            flow.change_state(half_open=False)
            self._placement.table.set_idle_timeout(flow, self._placement.idle_seconds(protocol, flow))
            if flow.state.is_carriable:
                self._placement.changes.flow_placed(flow)
        if flags & (FIN | RST) and self._placement.attributes.stickiness == FIVE_TUPLE:
            self._close(flow, flags, swapped, now)
        return ToEndpoint(flow.tunnel.endpoint, decrement(packet, step) if step else packet)

    def _former(self, endpoint: int, key: int, cookie: int, flags: int, now: float) -> Former | None:
        """Return the former flow that a packet is of and may still come back in."""
        former = self._placement.former.find(endpoint, key, now)
        if former is None or not former.may_return(cookie, flags):
            return None
        return former if self._placement.group.knows(former.flow.target) else None

    def _is_late(self, endpoint: int, key: int, cookie: int, now: float) -> bool:
        """Whether a packet that is refused is of a flow that has ended early, or that a jump of the clock is ending."""
        former = self._placement.former.find(endpoint, key, now)
        if former is not None and former.flow.cookie == cookie:
            return True
        table, endings = self._placement.table, self._placement.endings
        flow = table.by_endpoint[endpoint].get(key)
        if endings is None or flow is None or flow.cookie != cookie:
            return False
        return endings.is_of(flow.placed_at, table.expires_at(flow))

    @staticmethod
    def _forward_late(former: Former, packet: bytes, *, flags: int, step: int) -> ToEndpoint:
        """Let a packet of a former flow out, which touches nothing of the present one."""
        flow = former.flow
        flow.tally.packets_from += 1
        flow.tally.bytes_from += len(packet)
        former.reset |= flags & RST != 0
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


def _wrong_header(header: geneve.Header, critical: geneve.Option | None) -> Mismatch:
    if header.control:
        return Mismatch("GENEVE O bit", "1", "0")
    if critical is not None:
        return Mismatch("critical option", f"class 0x{critical.option_class:04x} type {critical.type}", "AWS's alone")
    return Mismatch("GENEVE protocol type", f"0x{header.protocol_type:04x}", "0x0800 or 0x86dd")


def _ends(ip: IpPacket) -> str:
    source, destination = _text(ip.source), _text(ip.destination)
    if ip.source_port or ip.destination_port:
        source, destination = f"{source} port {ip.source_port}", f"{destination} port {ip.destination_port}"
    return f"{protocols.name(ip.protocol)} {source} -> {destination}"


def _text(address: bytes) -> str:
    return str(ip_address(address))
