from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire import checksum, icmp, tcp
from gwlbemu.wire.build import build_ip, build_ipv4, build_ipv6
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.tcp import ACK, FIN, PSH, RST, SYN, build_reset, build_tcp, decode_tcp
from gwlbemu.wire.udp import build_udp, decode_udp
from tests.wire.wire_helpers import assert_clean, tshark

A, B = bytes((10, 0, 0, 1)), bytes((198, 51, 100, 7))
A6, B6 = bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("fd0000000000000000000000000000ff")
ROUTER, ROUTER6 = bytes((10, 0, 0, 254)), bytes.fromhex("20010db80000000000000000000000fe")
pairs = pytest.mark.parametrize(("a", "b"), [(A, B), (A6, B6)], ids=["IPv4", "IPv6"])


@pairs
def test_tcp_is_decoded_as_it_was_built(a: bytes, b: bytes) -> None:
    packet = build_tcp(
        a, b, 40000, 80, sequence=7, acknowledgement=9, flags=PSH | ACK, window=1, options=bytes(8), payload=b"GET"
    )
    head = decode_tcp(packet, decode_ip(packet))
    assert head == (40000, 80, 7, 9, PSH | ACK, 1, 28, len(packet) - 3, 3)


@pairs
@given(payload=st.binary(max_size=60))
def test_udp_is_decoded_as_it_was_built(a: bytes, b: bytes, payload: bytes) -> None:
    packet = build_udp(a, b, 40000, 53, payload)
    ip = decode_ip(packet)
    head = decode_udp(packet, ip)
    assert (head.source_port, head.destination_port, head.payload_length) == (40000, 53, len(payload))
    assert packet[head.payload_offset :] == payload
    assert head.checksum != 0
    assert checksum.is_right(a, b, 17, packet[ip.header_length :])


@pairs
def test_a_computed_udp_checksum_of_0_is_sent_as_ffff(a: bytes, b: bytes) -> None:
    plain = build_udp(a, b, 1, 2, b"\0\0")
    at = decode_ip(plain).header_length + 6
    packet = build_udp(a, b, 1, 2, plain[at : at + 2])
    assert packet[at : at + 2] == b"\xff\xff"


@pytest.mark.parametrize(("offset", "good"), [(4, False), (5, True), (6, True), (7, False)])
def test_an_impossible_tcp_header_length_is_an_error(offset: int, good: bool) -> None:
    packet = bytearray(build_tcp(A, B, 1, 2, payload=b"abcd"))
    packet[32] = offset << 4
    if good:
        assert decode_tcp(bytes(packet), decode_ip(bytes(packet))).payload_length == 4 - (offset - 5) * 4
    else:
        with pytest.raises(WireError):
            decode_tcp(bytes(packet), decode_ip(bytes(packet)))


@pytest.mark.parametrize("length", [0, 7, 13])
def test_an_impossible_udp_length_is_an_error(length: int) -> None:
    packet = bytearray(build_udp(A, B, 1, 2, b"abcd"))
    packet[25] = length
    with pytest.raises(WireError):
        decode_udp(bytes(packet), decode_ip(bytes(packet)))


@given(st.binary(max_size=60), st.sampled_from([1, 6, 17, 58]), st.booleans())
def test_any_transport_bytes_decode_or_raise_a_wire_error(data: bytes, protocol: int, six: bool) -> None:
    packet = build_ip(A6 if six else A, B6 if six else B, protocol, data)
    for decode in (decode_tcp, decode_udp, icmp.decode_icmp):
        with suppress(WireError):
            decode(packet, decode_ip(packet))
    with suppress(WireError):
        build_reset(packet)
    with suppress(WireError):
        icmp.build_icmp_error(packet, 3, 13, ROUTER6 if six else ROUTER)


@pytest.mark.parametrize(
    ("flags", "text"),
    [(SYN, "S"), (SYN | ACK, "S."), (PSH | ACK, "P."), (FIN | ACK, "F."), (RST, "R"), (ACK, "."), (0, "none")],
)
def test_flags_are_written_as_tcpdump_writes_them(flags: int, text: str) -> None:
    assert tcp.flags_text(flags) == text


# RFC 9293 3.10.7.1: <SEQ=SEG.ACK><CTL=RST> or <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>; SYN and FIN count in SEG.LEN.
@pairs
@pytest.mark.parametrize(
    ("flags", "payload", "sequence", "acknowledgement", "answer"),
    [
        (SYN, b"", 0, 1001, RST | ACK),
        (0, b"abc", 0, 1003, RST | ACK),
        (SYN | FIN, b"abc", 0, 1005, RST | ACK),
        (ACK, b"", 5000, 0, RST),
        (PSH | ACK, b"abc", 5000, 0, RST),
        (FIN | ACK, b"", 5000, 0, RST),
    ],
)
def test_a_reset_has_the_numbers_of_rfc_9293(
    a: bytes, b: bytes, flags: int, payload: bytes, sequence: int, acknowledgement: int, answer: int
) -> None:
    offending = build_tcp(a, b, 40000, 80, sequence=1000, acknowledgement=5000, flags=flags, payload=payload)
    reset = build_reset(offending)
    assert reset is not None
    ip = decode_ip(reset)
    head = decode_tcp(reset, ip)
    assert (ip.source, ip.destination, head.source_port, head.destination_port) == (b, a, 80, 40000)
    assert (head.sequence, head.acknowledgement, head.flags, head.window) == (sequence, acknowledgement, answer, 0)


def test_the_acknowledgement_of_a_reset_wraps_around() -> None:
    reset = build_reset(build_tcp(A, B, 1, 2, sequence=0xFFFFFFFF, flags=SYN))
    assert reset is not None
    assert decode_tcp(reset, decode_ip(reset)).acknowledgement == 0


def test_a_reset_is_never_answered_with_a_reset() -> None:
    assert build_reset(build_tcp(A, B, 1, 2, flags=RST)) is None
    assert build_reset(build_tcp(A, B, 1, 2, flags=RST | ACK)) is None


def test_only_tcp_can_be_reset() -> None:
    with pytest.raises(WireError):
        build_reset(build_udp(A, B, 1, 2))


@pairs
def test_an_icmp_error_quotes_the_packet_and_goes_to_its_sender(a: bytes, b: bytes) -> None:
    four = len(a) == 4
    packet = build_tcp(a, b, 40000, 80, payload=bytes(2000))
    kind, code = icmp.PROHIBITED if four else icmp.V6_PROHIBITED
    error = icmp.build_icmp_error(packet, kind, code, ROUTER if four else ROUTER6)
    assert error is not None
    ip = decode_ip(error)
    head = icmp.decode_icmp(error, ip)
    assert (ip.source, ip.destination) == (ROUTER if four else ROUTER6, a)
    assert (head.type, head.code, head.is_error) == (kind, code, True)
    assert head.quoted is not None
    assert (head.quoted.source, head.quoted.source_port, head.quoted.destination_port) == (a, 40000, 80)
    assert len(error) == (576 if four else 1280)


def echo(a: bytes, b: bytes, kind: int, protocol: int) -> bytes:
    message = bytes((kind, 0, 0, 0)) + bytes.fromhex("12340001") + bytes(20)
    return build_ip(a, b, protocol, message)


def test_an_echo_shows_its_identifier_and_sequence() -> None:
    packet = echo(A, B, 8, 1)
    head = icmp.decode_icmp(packet, decode_ip(packet))
    assert (head.identifier, head.sequence, head.is_error, head.quoted) == (0x1234, 1, False, None)


def test_an_echo_may_be_answered_with_an_error() -> None:
    assert icmp.build_icmp_error(echo(A, B, 8, 1), 3, 13, ROUTER) is not None
    assert icmp.build_icmp_error(echo(A6, B6, 128, 58), 1, 1, ROUTER6) is not None


@pytest.mark.parametrize(
    ("what", "packet"),
    [
        ("an ICMP error", echo(A, B, 3, 1)),
        ("an ICMPv6 error", echo(A6, B6, 1, 58)),
        ("a later fragment", build_ipv4(A, B, 17, bytes(8), fragment_offset=8)),
        ("a multicast destination", build_udp(A, bytes((224, 0, 0, 1)), 1, 2)),
        ("a broadcast destination", build_udp(A, b"\xff" * 4, 1, 2)),
        ("an IPv6 multicast destination", build_udp(A6, b"\xff\x02" + bytes(13) + b"\x01", 1, 2)),
        ("no source", build_udp(bytes(4), B, 1, 2)),
        ("no IPv6 source", build_udp(bytes(16), B6, 1, 2)),
    ],
)
def test_no_icmp_error_is_sent_about(what: str, packet: bytes) -> None:
    assert icmp.build_icmp_error(packet, 3, 13, ROUTER6 if packet[0] >> 4 == 6 else ROUTER) is None


def test_an_unreadable_quotation_is_no_quotation() -> None:
    packet = build_ipv4(A, B, 1, bytes((3, 1, 0, 0)) + bytes(4) + b"\x45\0\0")
    assert icmp.decode_icmp(packet, decode_ip(packet)).quoted is None


def test_tshark_finds_every_checksum_of_ours_right(tmp_path: Path) -> None:
    packets = []
    for a, b, router in ((A, B, ROUTER), (A6, B6, ROUTER6)):
        syn = build_tcp(a, b, 40000, 8000, sequence=1, options=bytes.fromhex("020405b4"))
        kind, code = icmp.PROHIBITED if router == ROUTER else icmp.V6_PROHIBITED
        packets += [syn, build_reset(syn), build_udp(a, b, 40000, 5000, b"odd"), build_udp(a, b, 40000, 5000)]
        packets += [icmp.build_icmp_error(syn, kind, code, router)]
    packets.append(build_ipv6(A6, B6, 0, bytes((17, 0, 1, 4, 0, 0, 0, 0)) + build_udp(A6, B6, 1, 2, b"abc")[40:]))
    found = tshark([packet for packet in packets if packet is not None], tmp_path)
    assert len(found) == 11
    for layers in found:
        assert_clean(layers)
    assert sum("tcp.checksum.status" in layers for layers in found) >= 4


def test_scapy_reads_our_packets_and_would_build_the_same_bytes() -> None:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6

    for packet, layer in (
        (build_tcp(A, B, 40000, 80, sequence=5, payload=b"x"), IP),
        (build_tcp(A6, B6, 40000, 80, sequence=5, payload=b"x"), IPv6),
    ):
        theirs = layer(packet)
        assert (theirs[TCP].sport, theirs[TCP].seq) == (40000, 5)
        del theirs[TCP].chksum
        if layer is IP:
            del theirs.chksum
        assert bytes(theirs) == packet
