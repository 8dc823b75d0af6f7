from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire.build import build_ipv4, build_ipv6
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.tcp import build_tcp
from tests.wire.wire_helpers import GOLDEN_INNER, recorded

A, B = bytes((10, 0, 0, 1)), bytes((198, 51, 100, 7))
A6, B6 = bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("fd0000000000000000000000000000ff")
UDP8 = bytes.fromhex("9c400035000800 00")
TCP20 = bytes.fromhex("9c400050 00000001 00000000 50020000 00000000")


def test_a_plain_ipv4_packet_decodes() -> None:
    assert decode_ip(GOLDEN_INNER) == IpPacket(
        version=4,
        protocol=17,
        source=bytes((10, 1, 21, 101)),
        destination=B,
        source_port=40000,
        destination_port=53,
        ttl=63,
        dscp=0,
        header_length=20,
        total_length=32,
        fragment_offset=0,
        more_fragments=False,
        identification=0x1234,
    )


def test_a_plain_ipv6_packet_decodes() -> None:
    ip = decode_ip(build_ipv6(A6, B6, 6, TCP20, hop_limit=7, dscp=46))
    assert (ip.version, ip.protocol, ip.source, ip.destination) == (6, 6, A6, B6)
    assert (ip.source_port, ip.destination_port, ip.ttl, ip.dscp) == (40000, 80, 7, 46)
    assert (ip.header_length, ip.total_length, ip.is_fragment) == (40, 60, False)


def test_ipv4_options_move_the_ports() -> None:
    packet = bytes.fromhex("46000020000000004011000 00a000001c6336407 01010101".replace(" ", "")) + UDP8
    ip = decode_ip(packet)
    assert (ip.header_length, ip.source_port, ip.destination_port) == (24, 40000, 53)


def test_padding_of_a_short_frame_does_not_count() -> None:
    assert decode_ip(GOLDEN_INNER + bytes(14)).total_length == 32


def test_a_protocol_without_ports_has_ports_0() -> None:
    ip = decode_ip(build_ipv4(A, B, 47, b"\0\0\x08\0"))
    assert (ip.protocol, ip.source_port, ip.destination_port) == (47, 0, 0)


def test_only_the_first_ipv4_fragment_shows_ports() -> None:
    first = decode_ip(build_ipv4(A, B, 17, UDP8, identification=9, more_fragments=True))
    later = decode_ip(build_ipv4(A, B, 17, UDP8, identification=9, fragment_offset=1480))
    assert (first.is_fragment, first.more_fragments, first.fragment_offset, first.source_port) == (True, True, 0, 40000)
    assert (later.is_fragment, later.more_fragments, later.fragment_offset, later.source_port) == (True, False, 1480, 0)
    assert first.identification == later.identification == 9


def test_a_first_fragment_too_short_for_its_ports_has_none() -> None:
    ip = decode_ip(build_ipv4(A, B, 6, b"\x9c\x40\0", more_fragments=True))
    assert (ip.source_port, ip.destination_port) == (0, 0)


def extension(following: int, units: int = 0) -> bytes:
    return bytes((following, units)) + bytes(6 + 8 * units)


def fragment(following: int, offset: int, more: bool) -> bytes:
    return bytes((following, 0)) + (offset | more).to_bytes(2, "big") + bytes.fromhex("00abcdef")


def test_ipv6_extension_headers_are_walked_to_the_upper_layer() -> None:
    chain = extension(60) + extension(43, 1) + extension(51) + bytes((17, 1)) + bytes(10)
    ip = decode_ip(build_ipv6(A6, B6, 0, chain + UDP8))
    assert (ip.protocol, ip.header_length, ip.source_port) == (17, 40 + 8 + 16 + 8 + 12, 40000)


def test_ipv6_fragments_of_one_datagram_agree_on_the_protocol() -> None:
    first = decode_ip(build_ipv6(A6, B6, 44, fragment(60, 0, True) + extension(17) + UDP8))
    later = decode_ip(build_ipv6(A6, B6, 44, fragment(60, 16, False) + b"rest"))
    assert first.protocol == later.protocol == 60
    assert (first.fragment_offset, later.fragment_offset) == (0, 16)
    assert first.identification == later.identification == 0xABCDEF
    assert first.is_fragment
    assert later.is_fragment


def test_an_atomic_ipv6_fragment_is_an_ordinary_packet() -> None:
    ip = decode_ip(build_ipv6(A6, B6, 44, fragment(17, 0, False) + UDP8))
    assert (ip.is_fragment, ip.protocol, ip.destination_port, ip.header_length) == (False, 17, 53, 48)


@pytest.mark.parametrize("following", [50, 59, 253])
def test_the_walk_ends_at_esp_no_next_header_and_unknown_protocols(following: int) -> None:
    assert decode_ip(build_ipv6(A6, B6, 0, extension(following))).protocol == following


@pytest.mark.parametrize(
    ("what", "packet"),
    [
        ("nothing", b""),
        ("version 5", b"\x55" + bytes(60)),
        ("IPv4 head cut off", GOLDEN_INNER[:19]),
        ("IHL 4", b"\x44" + GOLDEN_INNER[1:]),
        ("IHL beyond total length", b"\x4f" + GOLDEN_INNER[1:]),
        ("total length shorter than the head", b"\x45\0\0\x13" + GOLDEN_INNER[4:9] + b"\x2f" + GOLDEN_INNER[10:]),
        ("total length beyond the bytes", GOLDEN_INNER[:-1]),
        ("UDP head cut off", build_ipv4(A, B, 17, UDP8[:7])),
        ("TCP head cut off", build_ipv4(A, B, 6, TCP20[:19])),
        ("IPv6 head cut off", build_ipv6(A6, B6, 59, b"")[:39]),
        ("IPv6 payload beyond the bytes", build_ipv6(A6, B6, 17, UDP8)[:-1]),
        ("IPv6 extension missing", build_ipv6(A6, B6, 0, b"")),
        ("IPv6 extension beyond the packet", build_ipv6(A6, B6, 0, bytes((17, 1)) + bytes(6))),
        ("IPv6 fragment header cut off", build_ipv6(A6, B6, 44, bytes(7))),
        ("IPv6 TCP head cut off", build_ipv6(A6, B6, 6, TCP20[:19])),
    ],
)
def test_an_impossible_length_is_an_error(what: str, packet: bytes) -> None:
    with pytest.raises(WireError):
        decode_ip(packet)


def test_a_quoted_packet_may_end_after_its_ports() -> None:
    packet = build_tcp(A, B, 40000, 80, payload=bytes(100))
    with pytest.raises(WireError):
        decode_ip(packet[:28])
    ip = decode_ip(packet[:28], quoted=True)
    assert (ip.source_port, ip.destination_port, ip.total_length) == (40000, 80, 140)


@given(
    st.binary(max_size=120),
    st.sampled_from([b"", b"\x45\x00\x00\x28", b"\x60\0\0\0\0\x10\x00", b"\x60\0\0\0\0\x10\x2c"]),
    st.booleans(),
)
def test_any_bytes_decode_or_raise_a_wire_error(tail: bytes, head: bytes, quoted: bool) -> None:
    with suppress(WireError):
        ip = decode_ip(head + tail, quoted=quoted)
        assert ip.version in (4, 6)
        assert ip.header_length <= len(head + tail)


@given(
    st.binary(min_size=4, max_size=4),
    st.integers(0, 255).filter(lambda p: p not in (6, 17)),
    st.binary(max_size=50),
    st.integers(0, 255),
    st.integers(0, 63),
    st.integers(0, 65535),
    st.booleans(),
    st.integers(0, 1000),
)
def test_decode_gives_back_what_was_built(
    source: bytes, protocol: int, payload: bytes, ttl: int, dscp: int, identification: int, more: bool, words: int
) -> None:
    packet = build_ipv4(
        source, B, protocol, payload, ttl=ttl, dscp=dscp, identification=identification, more_fragments=more,
        fragment_offset=words * 8,
    )  # fmt: skip
    expected = IpPacket(4, protocol, source, B, 0, 0, ttl, dscp, 20, 20 + len(payload), words * 8, more, identification)
    assert decode_ip(packet) == expected


def test_a_packet_too_long_for_its_length_field_is_an_error() -> None:
    assert len(build_ipv4(A, B, 47, bytes(65515))) == 65535
    with pytest.raises(WireError):
        build_ipv4(A, B, 47, bytes(65516))
    with pytest.raises(WireError):
        build_ipv6(A6, B6, 47, bytes(65536))


def test_scapy_agrees_on_the_inner_packets_that_aws_sent() -> None:
    from scapy.layers.inet import IP

    for frame in recorded("suricata-verify_bug-6402-01_AWS-GWLB.pcap"):
        inner = decapsulate(frame[14:]).packet
        ours, theirs = decode_ip(inner), IP(inner)
        assert (ours.protocol, ours.ttl, ours.identification) == (theirs.proto, theirs.ttl, theirs.id)
        assert (ours.header_length, ours.total_length) == (theirs.ihl * 4, theirs.len)
        assert ".".join(map(str, ours.source)) == theirs.src


def test_the_inner_ipv6_packets_of_a_recorded_capture_decode() -> None:
    inners = [decapsulate(frame[14:]).packet for frame in recorded("zeek_geneve-ipv6.pcap")]
    assert [decode_ip(inner).version for inner in inners] == [6, 6]
    assert all(decode_ip(inner).total_length == len(inner) for inner in inners)
