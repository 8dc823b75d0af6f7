"""One table of cases for every way a node can be made: the pure core, a node on sockets, a node with a fast path.

A case begins with a node of two healthy targets and one live UDP flow from ENDPOINT; the packet that the case is about
arrives after that. It is either an inner packet from an endpoint (ENTRIES) or an outer datagram from a target, made out
of the datagram that the flow's own packet became (RETURNS). A third table has whole stories of one 5-tuple (REUSES).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.checksum import internet
from gwlbemu.wire.outer import encapsulate
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN, build_tcp
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


@dataclass(frozen=True)
class Arrival:
    """`packet` comes in at `endpoint`.

    `expected` is the inner packet that goes on to a target, or a reason; `known` tells whether it goes in the tunnel of
    the live flow, which then determines every byte around it.
    """

    description: str
    contract: tuple[str, ...]
    packet: bytes
    expected: bytes | Reason
    known: bool = True
    endpoint: int = ENDPOINT


def around(datagram: bytes, packet: bytes) -> bytes:
    """Return what another packet of the flow becomes whose own packet became `datagram`."""
    port = int.from_bytes(datagram[20:22], "big")
    return encapsulate(datagram[12:16], datagram[16:20], port, datagram[28:68], packet)


def with_checksum(head: bytes) -> bytes:
    """Put the checksum of an IPv4 header right."""
    blank = head[:10] + b"\0\0" + head[12:]
    return blank[:10] + internet(blank).to_bytes(2, "big") + blank[12:]


def with_head(change: Callable[[bytes], bytes]) -> bytes:
    """The flow's packet with a changed IPv4 header, its checksum right."""
    return with_checksum(change(FLOW[:20])) + FLOW[20:]


def lived(ttl: int) -> bytes:
    return build_udp(CLIENT, SERVER, 40000, 53, b"test", ttl=ttl)


LONGEST, TOO_LONG = (build_udp(CLIENT, SERVER, 40000, 53, bytes(size - 28)) for size in (8500, 8501))
ODD = build_udp(CLIENT, SERVER, 40000, 53, bytes(range(1, 250)))
MARKED, WITH_ID = with_head(lambda h: h[:1] + b"\xb8" + h[2:]), with_head(lambda h: h[:4] + b"\xbe\xef\x40\0" + h[8:])
LONGER_HEAD = with_checksum(b"\x46\0" + (len(FLOW) + 4).to_bytes(2, "big") + FLOW[4:20] + b"\x01\x01\x01\0") + FLOW[20:]
FIRST_FRAGMENT, LATER_FRAGMENT = (
    with_head(lambda h: h[:6] + b"\x20\0" + h[8:]), with_head(lambda h: h[:6] + b"\0\x10" + h[8:])
)  # fmt: skip
HALF_HEAD = with_checksum(FLOW[:2] + b"\0\x18" + FLOW[4:20]) + FLOW[20:24]
BAD_HEAD = FLOW[:10] + b"\x12\x34" + FLOW[12:]
UNSUMMED, BADLY_SUMMED = (FLOW[:26] + field + FLOW[28:] for field in (b"\0\0", b"\x12\x34"))
ECHO = build_ip(CLIENT, SERVER, 1, bytes.fromhex("0800f7fd00010001"))
ERROR = build_ip(CLIENT, SERVER, 1, bytes.fromhex("030d000000000000") + ANSWER)
GRE = build_ip(CLIENT, SERVER, 47, bytes(8))
SIX = build_udp(
    bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02"), 1, 2, b"six"
)
SIX_HOP = SIX[:7] + bytes([SIX[7] - 1]) + SIX[8:]
OPENING, DATA, RESET, SECOND = (
    build_tcp(CLIENT, SERVER, 40000, 80, flags=flags) for flags in (SYN, ACK, RST, SYN | ACK)
)
_MIDSTREAM, _MALFORMED = Reason.MIDSTREAM, Reason.MALFORMED

ENTRIES = [
    Arrival("the flow's next packet", ("GV-02", "GV-03", "GV-05", "GV-06", "GV-08"), FLOW, hop(FLOW)),
    Arrival("the other direction", ("FL-03", "GV-08"), ANSWER, hop(ANSWER)),
    Arrival("an odd number of bytes", ("GV-03",), ODD, hop(ODD)),
    Arrival("the longest packet", ("GV-19",), LONGEST, hop(LONGEST)),
    Arrival("one byte too long", ("GV-19",), TOO_LONG, Reason.TOO_LONG),
    Arrival("TTL 255", ("GV-20",), lived(255), hop(lived(255))),
    Arrival("TTL 2", ("GV-20",), lived(2), hop(lived(2))),
    Arrival("TTL 1", ("GV-20",), lived(1), Reason.TTL_EXPIRED),
    Arrival("TTL 0", ("GV-20",), lived(0), Reason.TTL_EXPIRED),
    Arrival("DSCP of its own", ("GV-02",), MARKED, hop(MARKED)),
    Arrival("ID of its own and DF", ("GV-02",), WITH_ID, hop(WITH_ID)),
    Arrival("an IPv4 option", (), LONGER_HEAD, hop(LONGER_HEAD)),
    Arrival("no UDP checksum", ("GV-03",), UNSUMMED, hop(UNSUMMED)),
    Arrival("a wrong UDP checksum", ("GV-03",), BADLY_SUMMED, hop(BADLY_SUMMED)),
    Arrival("a wrong IPv4 checksum", ("GV-03",), BAD_HEAD, hop(BAD_HEAD)),
    Arrival("padding behind it", (), FLOW + bytes(14), hop(FLOW)),
    Arrival("the first fragment of a datagram", ("FL-10",), FIRST_FRAGMENT, hop(FIRST_FRAGMENT), known=False),
    Arrival("a later fragment", ("FL-10",), LATER_FRAGMENT, hop(LATER_FRAGMENT), known=False),
    Arrival("another port", ("FL-01",), STRANGER, hop(STRANGER), known=False),
    Arrival("the same from another endpoint", ("FL-04",), FLOW, hop(FLOW), known=False, endpoint=OTHER_ENDPOINT),
    Arrival("an echo request", ("FL-01",), ECHO, hop(ECHO), known=False),
    Arrival("an ICMP error about the flow", ("FL-11",), ERROR, hop(ERROR), known=False),
    Arrival("GRE", ("FL-01",), GRE, hop(GRE), known=False),
    Arrival("IPv6", ("GV-01",), SIX, SIX_HOP, known=False),
    Arrival("a SYN", ("FL-08",), OPENING, hop(OPENING), known=False),
    Arrival("TCP data of no flow", ("FL-08",), DATA, _MIDSTREAM),
    Arrival("a RST of no flow", ("FL-08",), RESET, _MIDSTREAM),
    Arrival("a SYN with ACK of no flow", ("FL-08",), SECOND, _MIDSTREAM),
    Arrival("IP version 5", (), b"\x55" + FLOW[1:], _MALFORMED),
    Arrival("a header of 16 bytes", (), b"\x44" + FLOW[1:], _MALFORMED),
    Arrival("a length beyond its end", (), with_head(lambda h: h[:2] + b"\x01\0" + h[4:]), _MALFORMED),
    Arrival("half a UDP header", (), HALF_HEAD, hop(HALF_HEAD)),
]


# Reasons that the node of the cases cannot be brought to, and the file with the test that is about each. A new reason
# is a row above, or here.
ELSEWHERE = {
    Reason.NO_TARGET: "core/gateway/test_targets.py",
    Reason.TABLE_FULL: "core/gateway/test_flows.py",
    Reason.FRAGMENT: "core/gateway/test_flows.py",
    Reason.UNKNOWN_ENDPOINT: "core/gateway/test_flows.py",
    Reason.UNDECODABLE: "programs/gateway/test_hostile.py",
}


@dataclass(frozen=True)
class Enter:
    """`packet` comes in at the endpoint and goes on in the header of the 5-tuple's flow `number` (from 0)."""

    packet: bytes
    number: int


@dataclass(frozen=True)
class GiveBack:
    """The target returns what it got of `packet`, in the header of flow `number`; it arrives or is dropped."""

    packet: bytes
    number: int
    reason: Reason | None = None


@dataclass(frozen=True)
class Reuse:
    """What happens to one 5-tuple that is used again."""

    description: str
    contract: tuple[str, ...]
    steps: tuple[Enter | GiveBack, ...]


_BACK = {flags: build_tcp(SERVER, CLIENT, 80, 40000, flags=flags) for flags in (SYN | ACK, ACK, FIN | ACK, RST)}
OLD_RESET, NEW_RESET = (build_tcp(CLIENT, SERVER, 40000, 80, flags=RST, sequence=n) for n in (1000, 0x80000001))
NEW_SYN = build_tcp(CLIENT, SERVER, 40000, 80, flags=SYN, sequence=0x80000000)
_LAST = build_tcp(CLIENT, SERVER, 40000, 80, flags=FIN | ACK)
_SYN_ACK, _BYE, _SERVERS_RST = _BACK[SYN | ACK], _BACK[FIN | ACK], _BACK[RST]
_OPEN = (Enter(OPENING, 0), GiveBack(OPENING, 0), Enter(_SYN_ACK, 0), GiveBack(_SYN_ACK, 0))
_CLOSE = (Enter(_LAST, 0), GiveBack(_LAST, 0), Enter(_BYE, 0), GiveBack(_BYE, 0))
_CARRIED = (Enter(DATA, 1), GiveBack(DATA, 1), Enter(_BACK[ACK], 1), GiveBack(_BACK[ACK], 1))

REUSES = [
    Reuse(
        "a SYN right behind a RST that the target still has",
        ("FL-09", "GV-12"),
        (
            *_OPEN,
            Enter(DATA, 0),
            Enter(RESET, 0),
            Enter(OPENING, 1),
            GiveBack(DATA, 0),
            GiveBack(RESET, 0),
            GiveBack(OPENING, 1),
            *_CARRIED,
            GiveBack(DATA, 0, _COOKIE),
        ),
    ),
    Reuse(
        "a SYN right behind the server's RST, of a SYN that was refused",
        ("FL-09",),
        (
            Enter(OPENING, 0),
            GiveBack(OPENING, 0),
            Enter(_SERVERS_RST, 0),
            Enter(OPENING, 1),
            GiveBack(_SERVERS_RST, 0),
            GiveBack(OPENING, 1),
            Enter(_SYN_ACK, 1),
            GiveBack(_SYN_ACK, 1),
        ),
    ),
    Reuse(
        "a client resets what is left of the old connection behind its SYN",
        ("FL-09",),
        (
            *_OPEN,
            Enter(OLD_RESET, 0),
            Enter(NEW_SYN, 1),
            GiveBack(OLD_RESET, 0),
            GiveBack(NEW_SYN, 1),
            Enter(_BACK[ACK], 1),
            GiveBack(_BACK[ACK], 1),
            Enter(OLD_RESET, 0),
            GiveBack(OLD_RESET, 0),
            Enter(_SYN_ACK, 1),
            GiveBack(_SYN_ACK, 1),
            *_CARRIED,
            Enter(NEW_RESET, 1),
            GiveBack(NEW_RESET, 1),
            Enter(NEW_SYN, 2),
        ),
    ),
    Reuse(
        "the same, and the first RST has come back before the SYN",
        ("FL-09",),
        (
            *_OPEN,
            Enter(OLD_RESET, 0),
            GiveBack(OLD_RESET, 0),
            GiveBack(OLD_RESET, 0, _MISSING),
            Enter(NEW_SYN, 1),
            GiveBack(NEW_SYN, 1),
            Enter(OLD_RESET, 0),
            GiveBack(OLD_RESET, 0),
            Enter(_SYN_ACK, 1),
            GiveBack(_SYN_ACK, 1),
            *_CARRIED,
        ),
    ),
    Reuse(
        "an appliance keeps the old cookie behind a RST",
        ("GV-12",),
        (
            *_OPEN,
            Enter(RESET, 0),
            Enter(OPENING, 1),
            GiveBack(OPENING, 0, _COOKIE),
            GiveBack(RESET, 0),
            GiveBack(DATA, 0, _COOKIE),
        ),
    ),
    Reuse(
        "a RST that came back before the SYN",
        ("FL-09", "GV-12"),
        (*_OPEN, Enter(RESET, 0), GiveBack(RESET, 0), Enter(OPENING, 1), GiveBack(OPENING, 0, _COOKIE), *_CARRIED),
    ),
    Reuse(
        "a SYN behind both FINs while the last ACK is at the target",
        ("FL-09", "GV-12"),
        (
            *_OPEN,
            *_CLOSE,
            Enter(DATA, 0),
            Enter(OPENING, 1),
            GiveBack(DATA, 0),
            GiveBack(OPENING, 0, _COOKIE),
            GiveBack(OPENING, 1),
            *_CARRIED,
        ),
    ),
    Reuse(
        "a RST that the appliance keeps ends nothing",
        ("FL-09",),
        (*_OPEN, Enter(RESET, 0), Enter(DATA, 0), GiveBack(DATA, 0), Enter(_BACK[ACK], 0), GiveBack(_BACK[ACK], 0)),
    ),
]
