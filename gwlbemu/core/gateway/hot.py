"""The two hot paths: an IPv4 TCP or UDP packet of a live flow with nothing unusual about it is read with one Struct,
looked up once and sent on, a batch in one loop.

They work on frames as a port carries them: a link header that means nothing here, then the IP packet. Whatever fails
one of the conditions goes to `entry` or `returns`, in the order of the batch. Those can judge any bytes and need no
hot path to be right; both ways give the same bytes (there is a test). Only here the headers of TCP and UDP are not
judged: a live flow's packet goes on with whatever is in it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gwlbemu.core.gateway.entry import Entry
from gwlbemu.core.gateway.flows import Flow
from gwlbemu.core.gateway.judged import Judged
from gwlbemu.core.gateway.lookup import Lookup
from gwlbemu.core.gateway.returns import Return
from gwlbemu.core.gateway.settings import LONGEST_PACKET, Settings
from gwlbemu.core.gateway.ttl_steps import entry_step
from gwlbemu.core.gateway.tunnel import prefix
from gwlbemu.wire.geneve import PORT as GENEVE_PORT
from gwlbemu.wire.geneve import PROTOCOL_IPV4
from gwlbemu.wire.protocols import UDP

# IPv4 without options: version and length of header, total length, fragment, TTL, protocol, checksum; then addresses
# and ports.
_INNER = struct.Struct(">BxHxxHBBH12s").unpack_from
# Outer IPv4: version, length, fragment, protocol, both addresses; UDP: destination port, length; GENEVE but the cookie;
# cookie; inner.
_RETURNED = struct.Struct(">BxHxxHxB2x8s2xHH2x36sIBxHxxHBBH12s").unpack_from
_SPECIAL_TCP = 0x07  # FIN, SYN, RST
_number = int.from_bytes
_BEFORE_TTL, _AFTER_CHECKSUM = slice(8), slice(12, None)


class HotPaths:
    """Judges batches. `lookups` are the flows as `FlowTable.lookups` has them; unless `usable`, every packet goes the
    careful way.
    """

    def __init__(
        self, settings: Settings, lookups: dict[int, dict[int, Lookup[Flow]]], entry: Entry, returns: Return
    ) -> None:
        self.usable = False
        # Only usable where it does not matter who sent first; then both ways cost the same.
        self._step = entry_step(settings.emulation.ttl_decrement, from_first_sender=True)
        self._links = links = settings.links
        self._entry, self._return = entry, returns
        self._lookups = lookups
        self._by_header = {
            prefix(PROTOCOL_IPV4, each.id): (each.id, links.endpoints[each.id][0], lookups[each.id])
            for each in settings.endpoints
        }
        self._start = start = links.length
        # Link header and outer IPv4; UDP; GENEVE but the cookie; cookie; inner up to its checksum.
        self._sent = struct.Struct(f">{start + 20}sIHH36sI8sBBH").pack
        self._returned = struct.Struct(f">{start}s8sBBH").pack

    def receive(self, endpoint: int, frames: Sequence[bytes], now: float) -> Judged:
        """Return the verdicts on frames from an endpoint (its 64-bit id), in order."""
        flows = self._lookups.get(endpoint, {}) if self.usable else {}
        start, step, sent, careful = self._start, self._step, self._sent, self._entry.receive
        judged = Judged(self._links)
        append = judged.to_targets.append
        whole = slice(start, None)
        for frame in frames:
            packet = frame[whole]
            try:
                first, size, fragment, ttl, protocol, checksum, ends = _INNER(packet)
                if (
                    first == 0x45
                    and size == len(packet) <= LONGEST_PACKET
                    and not fragment & 0x3FFF
                    and ttl > 1
                    and (protocol == UDP or not packet[33] & _SPECIAL_TCP)
                ):
                    flow = flows[protocol][ends]
                    if now - flow.last_seen_at < flow.idle_timeout and not flow.target.held:
                        tunnel, cookie, tally = flow.tunnel, flow.cookie, flow.tally
                        total = _number(packet) % 65535  # that is a one's complement sum (RFC 1071)
                        if size & 1:
                            total <<= 8
                        append(
                            sent(
                                tally.outer_headers[size],
                                tunnel.ports,
                                size + 48,
                                65535 - (tunnel.partial_sum + 2 * size + cookie + total) % 65535,
                                tunnel.prefix,
                                cookie,
                                packet[_BEFORE_TTL],
                                ttl - step,
                                protocol,
                                # RFC 1624: what the TTL loses, the checksum gains.
                                (checksum + 256) % 65535 if step else checksum,
                            )
                            + packet[_AFTER_CHECKSUM]
                        )
                        # Counted once nothing can fail any more.
                        flow.last_seen_at = now
                        flow.packets_to += 1
                        flow.bytes += size
                        tally.packets_to += 1
                        tally.bytes_to += size
                        continue
            except (KeyError, IndexError, struct.error):
                pass
            judged.add(frame, careful(endpoint, packet, now))
        return judged

    def receive_returns(self, frames: Sequence[bytes], now: float) -> Judged:
        """Return the verdicts on frames that came to the node's address, in order."""
        by_header = self._by_header if self.usable else {}
        start, step, returned, careful = self._start, self._step, self._returned, self._return.receive
        inner, flags = start + 68, start + 101
        before_ttl, after_checksum = slice(inner, inner + 8), slice(inner + 12, None)
        judged = Judged(self._links)
        to_endpoints = judged.to_endpoints
        for frame in frames:
            try:
                (
                    outer_first, outer_size, outer_fragment, outer_protocol, addresses, outer_port, udp_size, header,
                    cookie, first, size, fragment, ttl, protocol, checksum, ends,
                ) = _RETURNED(frame, start)  # fmt: skip
                if (
                    outer_first == first == 0x45
                    and len(frame) - inner == size <= LONGEST_PACKET
                    and outer_size == udp_size + 20 == size + 68
                    and outer_protocol == UDP
                    and outer_port == GENEVE_PORT
                    and not (outer_fragment | fragment) & 0x3FFF
                    and ttl > 1
                    and (protocol == UDP or not frame[flags] & _SPECIAL_TCP)
                ):
                    endpoint, link, flows = by_header[header]
                    flow = flows[protocol][ends]
                    tally = flow.tally
                    if (
                        cookie == flow.cookie
                        and addresses == tally.return_addresses
                        and now - flow.last_seen_at < flow.idle_timeout
                    ):
                        if step:
                            head = returned(link, frame[before_ttl], ttl - 1, protocol, (checksum + 256) % 65535)
                            to_endpoints[endpoint].append(head + frame[after_checksum])
                        else:
                            to_endpoints[endpoint].append(link + frame[inner:])
                        flow.last_seen_at = now
                        flow.packets_from += 1
                        flow.bytes += size
                        tally.packets_from += 1
                        tally.bytes_from += size
                        continue
            except (KeyError, IndexError, struct.error):
                pass
            datagram = frame[start:]
            judged.add(frame, careful(datagram[12:16], datagram, now))
        return judged
