"""One table of cases for every way a node can be made: the pure core, a node on sockets, a node with a fast path.

A case begins with a node of two healthy targets and one live UDP flow from ENDPOINT; the packet that the case is about
arrives after that. It is either an inner packet from an endpoint or an outer datagram from a target, made out of the
datagram that the flow's own packet became.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gwlbemu.core.verdict import Reason
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.tcp import ACK, RST, SYN, build_tcp
from gwlbemu.wire.udp import build_udp

ENDPOINT, OTHER_ENDPOINT = 0x2356DE92D389839C, 0x31E129CDC0CD8633
CLIENT, SERVER = bytes([10, 1, 21, 101]), bytes([198, 51, 100, 7])
FLOW = build_udp(CLIENT, SERVER, 40000, 53, b"test")
ANSWER = build_udp(SERVER, CLIENT, 53, 40000, b"answer")
STRANGER = build_udp(CLIENT, SERVER, 40001, 53, b"test")


@dataclass(frozen=True)
class Case:
    """`change` makes the datagram under test out of the flow's returned one.

    `expected` is the inner packet that comes out, or a reason.
    """

    description: str
    contract: tuple[str, ...]
    change: Callable[[bytes], bytes]
    expected: bytes | Reason


def at(offset: int, value: str) -> Callable[[bytes], bytes]:
    """Overwrite the bytes at `offset` of the datagram."""
    raw = bytes.fromhex(value)
    return lambda datagram: datagram[:offset] + raw + datagram[offset + len(raw) :]


def inner(packet: bytes, header: Callable[[bytes], bytes] = lambda header: header) -> Callable[[bytes], bytes]:
    """Put another packet behind the (changed) GENEVE header, lengths put right, checksums left wrong."""

    def change(datagram: bytes) -> bytes:
        tail = header(datagram[28:68]) + packet
        return (
            datagram[:2]
            + (28 + len(tail)).to_bytes(2, "big")
            + datagram[4:24]
            + (8 + len(tail)).to_bytes(2, "big")
            + b"\x12\x34"
            + tail
        )

    return change


def header(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change the GENEVE header and leave the packet."""
    return lambda datagram: inner(datagram[68:], change)(datagram)


def hop(packet: bytes) -> bytes:
    """One hop less, as a pass through an endpoint costs."""
    checksum = ((packet[10] << 8 | packet[11]) + 256) % 65535
    return packet[:8] + bytes([packet[8] - 1]) + packet[9:10] + checksum.to_bytes(2, "big") + packet[12:]


ICMP_ERROR = build_ip(SERVER, CLIENT, 1, bytes.fromhex("030d000000000000") + FLOW)
OTHER_PAYLOAD = build_udp(CLIENT, SERVER, 40000, 53, b"other payload")
NINE_HOPS, EIGHT_HOPS = (build_udp(CLIENT, SERVER, 40000, 53, b"test", ttl=ttl) for ttl in (9, 8))
OTHER_SYN, OTHER_RST = build_tcp(CLIENT, SERVER, 1, 2, flags=SYN), build_tcp(SERVER, CLIENT, 80, 7, flags=RST | ACK)
UNKNOWN_OPTION, CRITICAL_OPTION = bytes.fromhex("0102030100000000"), bytes.fromhex("0102830100000000")
_MISSING = Reason.MISSING_FLOW_ENTRY
_TUNNEL, _ENDPOINT, _COOKIE = Reason.INVALID_GENEVE_TUNNEL, Reason.INVALID_ENDPOINT_ID, Reason.INVALID_FLOW_COOKIE
_SAME = hop(hop(FLOW))

RETURNS = [
    Case("the packet as it was sent, addresses swapped", ("GV-09", "GV-18"), lambda datagram: datagram, _SAME),
    Case("outer TTL 2", ("GV-09",), at(8, "02"), _SAME),
    Case("UDP checksum 0", ("GV-09",), at(26, "0000"), _SAME),
    Case("a wrong UDP checksum", ("GV-09",), at(26, "dead"), _SAME),
    Case("a wrong outer IPv4 checksum", ("GV-09",), at(10, "dead"), _SAME),
    Case("outer source port 6081", ("GV-09",), at(20, "17c1"), _SAME),
    Case("outer TOS and ID of its own", ("GV-09",), lambda d: d[:1] + b"\xb8" + d[2:4] + b"\xbe\xef" + d[6:], _SAME),
    Case("options in another order", ("GV-09",), header(lambda h: h[:8] + h[32:40] + h[20:32] + h[8:20]), _SAME),
    Case("without option 2", ("GV-09",), header(lambda h: b"\x05" + h[1:20] + h[32:40]), _SAME),
    Case("another destination address", ("GV-10", "GV-14"), at(16, "0afe0b3d"), _TUNNEL),
    Case("another destination port", ("GV-10", "GV-14"), at(22, "17c2"), _TUNNEL),
    Case("GENEVE version 1", ("GV-10", "GV-14"), at(28, "48"), _TUNNEL),
    Case("options longer than the datagram", ("GV-10",), at(28, "3f"), _TUNNEL),
    Case("an option longer than the options", ("GV-10",), at(63, "1f"), _TUNNEL),
    Case("ethertype of Ethernet", ("GV-10",), at(30, "6558"), _TUNNEL),
    Case("ethertype of IPv6 over an IPv4 packet", ("GV-10",), at(30, "86dd"), _TUNNEL),
    Case("cut off inside the options", ("GV-10",), lambda d: inner(b"", lambda h: h[:30])(d), _TUNNEL),
    Case("a sender that is no target", ("GV-10", "GV-14"), at(12, "0afe0bc8"), _TUNNEL),
    Case("an outer fragment", ("GV-10",), at(6, "2000"), _TUNNEL),
    Case("a UDP length that cuts the inner packet", ("GV-10",), at(24, "004c"), _TUNNEL),
    Case("no option 1", ("GV-11", "GV-14"), header(lambda h: b"\x05" + h[1:8] + h[20:40]), _ENDPOINT),
    Case("option 1 names an unknown endpoint", ("GV-11",), at(40, "00112233"), _ENDPOINT),
    Case("no option 3", ("GV-12", "GV-14"), header(lambda h: b"\x06" + h[1:32]), _COOKIE),
    Case("a cookie with one bit changed", ("GV-12", "GV-14"), lambda d: d[:67] + bytes([d[67] ^ 1]) + d[68:], _COOKIE),
    Case("option 1 names another endpoint of ours", ("GV-13",), at(40, f"{OTHER_ENDPOINT:016x}"), _MISSING),
    Case("an inner packet of no flow", ("GV-13", "GV-15", "GV-17", "GV-14"), inner(STRANGER), _MISSING),
    Case("a SYN of the appliance's own", ("GV-17",), inner(OTHER_SYN), _MISSING),
    Case("another payload", ("GV-15",), inner(OTHER_PAYLOAD), hop(OTHER_PAYLOAD)),
    Case("another inner TTL", ("GV-15",), inner(NINE_HOPS), EIGHT_HOPS),
    Case("another DSCP", ("GV-15",), lambda d: inner(d[68:69] + b"\xb8" + d[70:])(d), _SAME[:1] + b"\xb8" + _SAME[2:]),
    Case("the appliance answers for the server", ("GV-16",), inner(ANSWER), hop(ANSWER)),
    Case("an ICMP error about the flow", ("GV-16",), inner(ICMP_ERROR), hop(ICMP_ERROR)),
    Case("reserved bits set", ("GV-21",), lambda d: d[:29] + b"\x3f" + d[30:35] + b"\xff" + d[36:], _SAME),
    Case(
        "an unknown option that is not critical", ("GV-21",), header(lambda h: b"\x0a" + h[1:] + UNKNOWN_OPTION), _SAME
    ),
    Case("an unknown critical option", ("GV-21",), header(lambda h: b"\x0a\x40" + h[2:] + CRITICAL_OPTION), _TUNNEL),
    Case("the O bit", ("GV-21",), at(29, "80"), _TUNNEL),
    Case("no inner packet", ("GV-10",), inner(b""), _TUNNEL),
    Case("a RST in the header of another connection", ("GV-16", "GV-13"), inner(OTHER_RST), _MISSING),
]
