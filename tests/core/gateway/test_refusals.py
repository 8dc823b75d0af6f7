"""What a refusal of a returned datagram says: the field, what it holds, and what belongs there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import Drop, ToTarget
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.protocols import UDP
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import CLIENT, SERVER, VPCE_A, query, settings

Change = Callable[[bytes, bytes], tuple[bytes, bytes]]


def again(datagram: bytes, change: Change, *, port: int = geneve.PORT, source: bytes = b"", back: bytes = b"") -> bytes:
    """The datagram as its target returns it, with another GENEVE header or inner packet, port or addresses."""
    outer = decapsulate(datagram)
    header, packet = change(outer.header, outer.packet)
    ends = source or outer.destination, back or outer.source
    segment = build_udp(*ends, outer.source_port, port, header + packet)[20:]
    return build_ipv4(*ends, UDP, segment, ttl=64, dont_fragment=False)


def same(header: bytes, packet: bytes) -> tuple[bytes, bytes]:
    return header, packet


def with_options(change: Callable[[geneve.Option], geneve.Option | None]) -> Change:
    def changed(header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        decoded, _ = geneve.decode(header)
        options = tuple(new for each in decoded.options if (new := change(each)) is not None)
        return geneve.encode(decoded._replace(options=options)), packet

    return changed


def option(kind: int, data: bytes | None) -> Change:
    return with_options(lambda each: each if each.type != kind else None if data is None else each._replace(data=data))


@pytest.mark.parametrize(
    ("change", "others", "told"),
    [
        (same, {"port": 60000}, "UDP port 60000, expected 6081"),
        (same, {"source": bytes([10, 9, 9, 9])}, "sender 10.9.9.9, expected a registered target"),
        (same, {"back": bytes([10, 9, 9, 9])}, "outer destination 10.9.9.9, expected 10.254.11.60"),
        (lambda header, packet: (bytes([header[0] | 0x40]) + header[1:], packet), {}, "GENEVE version 1, expected 0"),
        (lambda header, packet: (header[:1] + b"\x80" + header[2:], packet), {}, "GENEVE O bit 1, expected 0"),
        (
            lambda header, packet: (header[:2] + b"\x65\x58" + header[4:], packet),
            {},
            "GENEVE protocol type 0x6558, expected 0x0800 or 0x86dd",
        ),
        (
            lambda header, packet: (header[:35] + b"\x1f" + header[36:], packet),
            {},
            "GENEVE options: 124 bytes expected at offset 36, 4 left",
        ),
        (
            with_options(lambda each: each._replace(type=9, critical=True) if each.type == 2 else each),
            {},
            "critical option class 0x0108 type 9, expected AWS's alone",
        ),
        (option(aws.ENDPOINT_ID, None), {}, "option 1 (endpoint id) missing, expected vpce-0"),
        (
            option(aws.ENDPOINT_ID, bytes(8)),
            {},
            "option 1 (endpoint id) vpce-00000000000000000, expected vpce-0",
        ),
        (option(aws.FLOW_COOKIE, None), {}, "option 3 (flow cookie) missing, expected the flow's"),
        (option(aws.FLOW_COOKIE, b"\0\0\0\1"), {}, "flow cookie 0x00000001, expected 0x"),
        (lambda header, packet: (header, packet[:12]), {}, "inner packet: 12 bytes are too short for an IPv4 header"),
        (
            lambda header, packet: (header, build_udp(SERVER, CLIENT, 5, 6, b"")),
            {},
            "inner packet udp 198.51.100.7 port 5 -> 10.1.21.101 port 6, expected one of a live flow",
        ),
    ],
)  # fmt: skip
def test_a_refused_return_names_the_field(change: Change, others: dict[str, bytes], told: str) -> None:
    balancer = Balancer(settings(1), now=0.0)
    sent = balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert isinstance(sent, ToTarget)
    datagram = again(sent.datagram, change, **others)  # type: ignore[arg-type]
    verdict = balancer.receive_return(datagram[12:16], datagram, now=1.0)
    assert isinstance(verdict, Drop)
    assert str(verdict.wrong).startswith(told)


def test_drops_for_one_reason_are_equal_whatever_was_wrong() -> None:
    balancer = Balancer(settings(1), now=0.0)
    sent = balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert isinstance(sent, ToTarget)
    one, other = (again(sent.datagram, same, port=port) for port in (1, 2))
    verdicts = [balancer.receive_return(each[12:16], each, now=1.0) for each in (one, other)]
    assert verdicts[0] == verdicts[1]
    assert len(set(verdicts)) == 1
