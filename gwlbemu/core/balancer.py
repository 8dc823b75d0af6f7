"""One node of a Gateway Load Balancer, pure: packets, probe results and the time go in, verdicts and the next deadline
come out.

This file composes, and holds the two hot paths: an IPv4 TCP or UDP packet of a live flow with nothing unusual about it
is read with one Struct, looked up once and sent on. Whatever fails one of the conditions there goes to `entry` or
`returns`, which can judge any bytes and need no hot path to be right. Both ways give the same bytes (there is a test).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from gwlbemu.core import key as keys
from gwlbemu.core.attributes import FIVE_TUPLE
from gwlbemu.core.counters import Counters
from gwlbemu.core.entry import Entry
from gwlbemu.core.flows import Flow
from gwlbemu.core.placement import Placement, is_steady
from gwlbemu.core.records import FlowChange, FlowRecord, ProbeTarget, TargetChange, TargetHealth
from gwlbemu.core.returns import Return
from gwlbemu.core.settings import LONGEST_PACKET, Settings, Target
from gwlbemu.core.states import Membership
from gwlbemu.core.targets import TargetGroup
from gwlbemu.core.tunnel import Tunnel
from gwlbemu.core.verdict import ToEndpoint, ToTarget, Verdict
from gwlbemu.wire.geneve import PORT as GENEVE_PORT
from gwlbemu.wire.protocols import TCP, UDP

EXPIRE_BUDGET = 4096  # flows that one call of expire looks at: a few milliseconds

# IPv4 without options: version and length of header, total length, fragment, TTL, protocol, checksum, addresses; then
# the ports.
_INNER = struct.Struct(">BxHxxHBBHIIHH").unpack_from
# Outer IPv4: version, length, fragment, protocol, both addresses; UDP: destination port, length; GENEVE but the cookie;
# cookie; inner.
_RETURNED = struct.Struct(">BxHxxHxB2x8s2xHH2x36sIBxHxxHBBHIIHH").unpack_from
# Outer IPv4 up to the checksum; addresses and ports; UDP length, checksum; GENEVE but the cookie; cookie; inner up to
# its checksum.
_SEND = struct.Struct(">2sH6sH12sHH36sI8sBBH").pack
_HEAD = struct.Struct(">8sBBH").pack
_SPECIAL_TCP = 0x07  # FIN, SYN, RST
_new = tuple.__new__
_number = int.from_bytes


class Balancer:
    """One node. Times are seconds on one clock that never goes back.

    Every packet gets exactly one verdict and is counted once. With a fast path, `catch_up` is called with the key of a
    flow that is about to be let go, and calls `touch` when the fast path has carried something of it.
    """

    def __init__(self, settings: Settings, *, now: float, catch_up: Callable[[bytes], None] | None = None) -> None:
        self._settings = settings
        self._counters = Counters(now)
        self._group = TargetGroup(settings, settings.attributes, now)
        self._placement = Placement(settings, settings.attributes, self._group, self._counters, catch_up)
        self._entry = Entry(self._placement)
        self._return = Return(self._placement)
        self._step = settings.emulation.ttl_decrement >> 1
        self._prefixes = {Tunnel(bytes(4), bytes(4), 0, end.id, 4).prefix: end.id for end in settings.endpoints}
        self._hot: dict[int, dict[int, Flow]] = {}
        self._hot_returns: dict[bytes, dict[int, Flow]] = {}
        self._heat()
        self._placement.turn()

    # ---- packets ----
    def receive_packet(self, endpoint: int, packet: bytes, *, now: float) -> Verdict:
        """Judge an inner IP packet from endpoint `endpoint` (its 64-bit id)."""
        self._counters.received += 1
        try:
            first, size, fragment, ttl, protocol, checksum, source, destination, port, other_port = _INNER(packet)
            if (
                first == 0x45
                and size == len(packet) <= LONGEST_PACKET
                and not fragment & 0x3FFF
                and ttl > 1
                and (protocol == UDP or (protocol == TCP and not packet[33] & _SPECIAL_TCP))
            ):
                low, high = source << 16 | port, destination << 16 | other_port
                if low > high:
                    low, high = high, low
                flow = self._hot[endpoint][(protocol << 48 | low) << 48 | high]
                target = flow.target
                if now - flow.last_seen_at < flow.timeout and target.plain:
                    flow.last_seen_at = now
                    flow.packets += 1
                    flow.bytes += size
                    target.packets_to += 1
                    target.bytes_to += size
                    tunnel, cookie, step = flow.tunnel, flow.cookie, self._step
                    total = _number(packet, "big")  # one's complement sums are sums modulo 65535 (RFC 1071)
                    if size & 1:
                        total <<= 8
                    datagram = _SEND(
                        b"\x45\0",
                        size + 68,
                        b"\0\0\0\0\xff\x11",
                        -(tunnel.header_sum + size) % 65535,
                        tunnel.addresses_and_ports,
                        size + 48,
                        65535 - (tunnel.udp_sum + cookie + 2 * size + total) % 65535,
                        tunnel.prefix,
                        cookie,
                        packet[:8],
                        ttl - step,
                        protocol,
                        (checksum + 256) % 65535 if step else checksum,  # RFC 1624: what the TTL loses, this gains
                    )
                    return _new(ToTarget, (target.id, datagram + packet[12:]))
        except (KeyError, IndexError, struct.error):
            pass
        return self._entry.receive(endpoint, packet, now)

    def receive_return(self, source: bytes, datagram: bytes, *, now: float) -> Verdict:
        """Judge an outer IPv4 datagram that came to the node's address from `source`."""
        self._counters.received += 1
        try:
            (
                outer_first, outer_size, outer_fragment, outer_protocol, addresses, outer_port, udp_size, prefix,
                cookie, first, size, fragment, ttl, protocol, checksum, inner_source, destination, port, other_port,
            ) = _RETURNED(datagram)  # fmt: skip
            if (
                outer_first == first == 0x45
                and outer_size == len(datagram)
                and outer_size == udp_size + 20 == size + 68
                and outer_protocol == UDP
                and outer_port == GENEVE_PORT
                and not (outer_fragment | fragment) & 0x3FFF
                and ttl > 1
                and (protocol == UDP or (protocol == TCP and not datagram[101] & _SPECIAL_TCP))
                and size <= LONGEST_PACKET
            ):
                low, high = inner_source << 16 | port, destination << 16 | other_port
                if low > high:
                    low, high = high, low
                flow = self._hot_returns[prefix][(protocol << 48 | low) << 48 | high]
                target = flow.target
                if (
                    cookie == flow.cookie
                    and addresses == target.return_addresses
                    and now - flow.last_seen_at < flow.timeout
                ):
                    flow.last_seen_at = now
                    flow.packets += 1
                    flow.bytes += size
                    target.packets_from += 1
                    target.bytes_from += size
                    if not self._step:
                        return _new(ToEndpoint, (flow.tunnel.endpoint, datagram[68:]))
                    head = _HEAD(datagram[68:76], ttl - 1, protocol, (checksum + 256) % 65535)
                    return _new(ToEndpoint, (flow.tunnel.endpoint, head + datagram[80:]))
        except (KeyError, IndexError, struct.error):
            pass
        return self._return.receive(source, datagram, now)

    # ---- time and health ----
    def receive_probe_result(self, target: str, ok: bool, *, now: float, reason: str = "") -> None:
        """Count the result of a probe of `target`.

        `reason` may be one of AWS's codes that a prober knows (see `states`).
        """
        self._counters.roll(self._group, now)
        self._counters.probes += 1
        self._group.observe(target, ok, now, reason)
        self._placement.advance(now)

    def expire(self, *, now: float) -> None:
        """Do what is due by `now`, a bounded part of it: while more is left, next_deadline stays in the past."""
        self._placement.advance(now)
        self._counters.roll(self._group, now)
        for flow in self._placement.table.overdue(now, EXPIRE_BUDGET):
            self._placement.end(flow)

    def next_deadline(self) -> float:
        """Return when expire has something to do next; math.inf when nothing waits."""
        return min(self._placement.table.next_deadline(), self._group.next_deadline(), self._counters.next_deadline())

    # ---- management ----
    def register(self, target: Target, *, now: float) -> None:
        """Register a target. Raises SettingError (TooManyTargets, InvalidTarget)."""
        self._group.register(target, now)
        self._placement.advance(now)

    def deregister(self, target_id: str, *, now: float) -> None:
        """Let a target drain, then leave. Raises SettingError (InvalidTarget)."""
        self._group.deregister(target_id, now)
        self._placement.advance(now)

    def set_attributes(self, resource: str, attributes: Mapping[str, str], *, now: float) -> None:
        """Change attributes (AWS's keys and texts) of "load-balancer", "listener" or "target-group".

        Raises SettingError and changes nothing.
        """
        changed = self._placement.attributes.changed(resource, attributes)
        if changed.stickiness != self._placement.attributes.stickiness:
            self._placement.rekey()
        self._placement.attributes = changed
        self._group.change_attributes(changed, now)
        self._heat()
        self._placement.advance(now)

    # ---- reads ----
    @property
    def stickiness(self) -> str:
        """What a flow is at the moment: five_tuple or one of AWS's two types."""
        return self._placement.attributes.stickiness

    def attributes(self, resource: str) -> dict[str, str]:
        """Return every attribute of a resource as AWS writes it."""
        return self._placement.attributes.as_text(resource)

    def target_health(self, *, now: float) -> list[TargetHealth]:
        """Describe every target that this node uses, or cannot use because its zone is not enabled."""
        self._placement.advance(now)
        return [
            TargetHealth(
                member.id,
                member.address,
                member.zone,
                *member.status,
                member.flows,
                member.packets_to,
                member.packets_from,
            )
            for member in self._group.members.values()
            if self._group.in_scope(member) or member.flows or member.membership is Membership.NOT_IN_USE
        ]

    def flows(self, *, now: float, newest_first: bool = False) -> Iterator[FlowRecord]:
        """Yield the live flows; the table must not change meanwhile."""
        table = self._placement.table
        chosen = table.newest_first() if newest_first else table
        return (self._placement.record(flow) for flow in chosen if not table.is_over(flow, now))

    def metrics(self, *, now: float) -> dict[str, int]:
        """Return every metric by AWS's name, and ours; ActiveFlowCount is the flows not yet swept."""
        self._placement.advance(now)
        self._counters.roll(self._group, now)
        return self._counters.report(self._group, len(self._placement.table))

    def probe_targets(self, *, now: float) -> list[ProbeTarget]:
        """Return whom to probe."""
        self._placement.advance(now)
        return [
            ProbeTarget(member.id, member.address, member.health.healthy is None) for member in self._group.probed()
        ]

    # ---- for the fast path ----
    def take_flow_changes(self) -> list[FlowChange | TargetChange]:
        """Return what changed since the last call, in order; nothing unless Settings.track_changes."""
        return self._placement.take_changes()

    def touch(
        self,
        key: bytes,
        *,
        last_seen_at: float,
        packets: int,
        bytes: int,
        returned_packets: int = 0,
        returned_bytes: int = 0,
        target: bytes | None = None,
    ) -> None:
        """Add what the fast path has carried of a flow since the last touch, towards the target and back.

        `target` is the address that it was carried to, which the flow may have left meanwhile; None: the flow's. The
        flow may be gone; its target's packets count all the same.
        """
        flow = self._flow(key)
        if flow is not None:
            flow.last_seen_at = max(flow.last_seen_at, last_seen_at)
            flow.packets += packets + returned_packets
            flow.bytes += bytes + returned_bytes
        elif target is None:
            return
        self._counters.received += packets + returned_packets
        member = flow.target if flow is not None and target is None else self._group.by_address.get(target or b"")
        if member is None:
            self._counters.add_late(packets, returned_packets, bytes, returned_bytes)
            return
        member.packets_to += packets
        member.bytes_to += bytes
        member.packets_from += returned_packets
        member.bytes_from += returned_bytes

    def renew(self, key: bytes, *, last_seen_at: float) -> None:
        """Tell the fast path of a flow again if it has been seen here after `last_seen_at`.

        The fast path carries nothing of a flow that has been silent there for its idle timeout.
        """
        flow = self._flow(key)
        if flow is not None and flow.last_seen_at > last_seen_at and is_steady(flow):
            self._placement.changed("changed", flow)

    def _flow(self, key: bytes) -> Flow | None:
        endpoint, number = keys.from_key_bytes(key)
        return self._placement.table.by_endpoint.get(endpoint, {}).get(number)

    def _heat(self) -> None:
        """Use the hot paths where flows are 5-tuples and the TTL does not depend on who sent first."""
        hot = self._placement.attributes.stickiness == FIVE_TUPLE and self._settings.emulation.ttl_decrement != 1
        tables = self._placement.table.by_endpoint
        self._hot = tables if hot else {}
        self._hot_returns = {prefix: tables[endpoint] for prefix, endpoint in self._prefixes.items()} if hot else {}
