from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire import aws, checksum, ttl
from gwlbemu.wire.build import build_ipv6
from gwlbemu.wire.outer import Envelope, decapsulate, encapsulate
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.wire.wire_helpers import (
    GOLDEN_DATAGRAM,
    GOLDEN_HEADER,
    GOLDEN_INNER,
    NODE,
    TARGET,
    assert_clean,
    recorded,
    tshark,
)

AWS_CAPTURE = "suricata-verify_bug-6402-01_AWS-GWLB.pcap"
A4, B4 = bytes((10, 0, 0, 1)), bytes((198, 51, 100, 7))
A6, B6 = (
    bytes.fromhex("2001 0db8 0000 0000 0000 0000 0000 0001"),
    bytes.fromhex("fd00 0000 0000 0000 0000 0000 0000 00ff"),
)
inner_packets = st.one_of(
    st.builds(
        lambda payload, ttl, identification: build_udp(A4, B4, 1, 2, payload, ttl=ttl, identification=identification),
        st.binary(max_size=40),
        st.integers(3, 255),
        st.integers(0, 65535),
    ),
    st.builds(
        lambda payload, ttl: build_udp(A6, B6, 40000, 53, payload, ttl=ttl), st.binary(max_size=40), st.integers(3, 255)
    ),
)


@pytest.mark.contract("GV-01", "GV-02")
def test_the_golden_datagram_comes_out_byte_for_byte() -> None:
    assert encapsulate(NODE, TARGET, 60001, GOLDEN_HEADER, GOLDEN_INNER) == GOLDEN_DATAGRAM


@pytest.mark.contract("GV-02", "GV-05", "GV-06")
def test_our_encoder_reproduces_every_packet_that_aws_sent() -> None:
    frames = recorded(AWS_CAPTURE)
    assert len(frames) == 12
    directions = set()
    for frame in frames:
        datagram = frame[14:]
        outer = decapsulate(datagram)
        options = aws.parse_usual(outer.header)
        assert options == aws.AwsOptions(0x31E129CDC0CD8633, 0, 0x3DC956AC)
        header = aws.encode_header(outer.protocol_type, options.endpoint_id or 0, options.flow_cookie or 0)
        assert encapsulate(outer.source, outer.destination, outer.source_port, header, outer.packet) == datagram
        directions.add(outer.packet[12:20])
    assert len(directions) == 2, "both inner directions are in the capture, under one header"


@pytest.mark.contract("GV-01")
def test_sixty_eight_bytes_stand_in_front_of_inner_ipv4_and_ipv6_alike() -> None:
    six = build_udp(A6, B6, 1, 2, b"x")
    for packet, kind in ((GOLDEN_INNER, 0x0800), (six, 0x86DD)):
        datagram = encapsulate(NODE, TARGET, 60000, aws.encode_header(kind, 1, 2), packet)
        assert datagram[0] >> 4 == 4
        assert datagram[9] == 17
        assert datagram[68:] == packet


@given(inner_packets, st.integers(0, 65535), st.binary(min_size=40, max_size=40))
def test_both_outer_checksums_are_right_and_the_udp_one_is_never_0(packet: bytes, port: int, header: bytes) -> None:
    datagram = encapsulate(NODE, TARGET, port, header, packet)
    assert checksum.internet(datagram[:20]) == 0
    assert datagram[26:28] != b"\0\0"
    assert checksum.is_right(NODE, TARGET, 17, datagram[20:])


def test_a_computed_udp_checksum_of_0_is_sent_as_ffff() -> None:
    plain = encapsulate(NODE, TARGET, 60000, GOLDEN_HEADER, GOLDEN_INNER + b"\0\0")
    word = int.from_bytes(plain[26:28], "big")
    datagram = encapsulate(NODE, TARGET, 60000, GOLDEN_HEADER, GOLDEN_INNER + word.to_bytes(2, "big"))
    assert datagram[26:28] == b"\xff\xff"


@given(inner_packets, st.integers(0, 2))
def test_decrementing_on_the_way_equals_decrementing_before(packet: bytes, hops: int) -> None:
    envelope = Envelope(NODE, TARGET, 60000, GOLDEN_HEADER)
    assert envelope.wrap(packet, hops) == envelope.wrap(ttl.decrement(packet, hops))


@given(inner_packets, st.integers(0, 65535))
def test_decapsulate_is_the_inverse_of_encapsulate(packet: bytes, port: int) -> None:
    outer = decapsulate(encapsulate(NODE, TARGET, port, GOLDEN_HEADER, packet))
    assert outer == (NODE, TARGET, port, 6081, 255, 0x0800, GOLDEN_HEADER, packet)


def test_a_packet_that_makes_the_datagram_too_long_is_an_error() -> None:
    longest = build_ipv6(A6, B6, 59, bytes(65535 - 68 - 40))
    assert len(encapsulate(NODE, TARGET, 1, GOLDEN_HEADER, longest)) == 65535
    with pytest.raises(WireError):
        encapsulate(NODE, TARGET, 1, GOLDEN_HEADER, longest + b"x")


@given(st.binary(max_size=200))
def test_any_bytes_decapsulate_or_raise_a_wire_error(data: bytes) -> None:
    try:
        outer = decapsulate(data)
    except WireError:
        return
    assert len(outer.header) + len(outer.packet) <= len(data) - 28


@given(st.data())
def test_a_changed_golden_datagram_decapsulates_or_raises_a_wire_error(data: st.DataObject) -> None:
    changed = bytearray(GOLDEN_DATAGRAM)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, 99))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        decapsulate(bytes(changed[: data.draw(st.integers(60, 100))]))


@pytest.mark.parametrize("length", range(100))
def test_a_datagram_cut_off_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(WireError):
        decapsulate(GOLDEN_DATAGRAM[:length])


def test_padding_behind_the_datagram_is_not_part_of_the_packet() -> None:
    assert decapsulate(GOLDEN_DATAGRAM + bytes(7)).packet == GOLDEN_INNER


def changed(offset: int, *values: int) -> bytes:
    return GOLDEN_DATAGRAM[:offset] + bytes(values) + GOLDEN_DATAGRAM[offset + len(values) :]


@pytest.mark.parametrize(
    ("what", "datagram"),
    [
        ("TTL 2", changed(8, 2)),
        ("TOS", changed(1, 0x2E)),
        ("ID and DF", changed(4, 1, 2, 0x40, 0)),
        ("IP checksum", changed(10, 0, 0)),
        ("source port 6081", changed(20, 0x17, 0xC1)),
        ("UDP checksum 0", changed(26, 0, 0)),
        ("UDP checksum wrong", changed(26, 1, 2)),
    ],
)
def test_what_aws_does_not_judge_is_not_judged(what: str, datagram: bytes) -> None:
    assert decapsulate(datagram).packet == GOLDEN_INNER, what


@pytest.mark.parametrize(
    ("what", "datagram"),
    [
        ("IPv6 version", changed(0, 0x65)),
        ("header length 4", changed(0, 0x44)),
        ("total length beyond the bytes", changed(2, 0, 101)),
        ("more fragments", changed(6, 0x20)),
        ("later fragment", changed(6, 0, 1)),
        ("TCP", changed(9, 6)),
        ("UDP length beyond the total length", changed(24, 0, 81)),
        ("UDP length too short for GENEVE", changed(24, 0, 15)),
        ("GENEVE version 1", changed(28, 0x48)),
        ("options beyond the datagram", changed(28, 0x11)),
    ],
)
def test_an_impossible_datagram_is_an_error(what: str, datagram: bytes) -> None:
    with pytest.raises(WireError):
        decapsulate(datagram)


def test_swapping_the_outer_addresses_leaves_the_checksums_right() -> None:
    back = GOLDEN_DATAGRAM[:12] + TARGET + NODE + GOLDEN_DATAGRAM[20:]
    assert encapsulate(TARGET, NODE, 60001, GOLDEN_HEADER, GOLDEN_INNER) == back


@pytest.mark.contract("GV-01", "GV-02", "GV-05", "GV-06")
def test_tshark_reads_what_we_meant_and_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    tcp = build_tcp(b"\x0a\0\0\1", b"\xc6\x33\x64\7", 40000, 80, payload=b"GET / HTTP/1.0\r\n\r\n")
    six = build_udp(A6, B6, 40000, 5000, b"odd")
    envelopes = [
        Envelope(NODE, TARGET, 60001, aws.encode_header(kind, 0x2356DE92D389839C, 7)) for kind in (0x800, 0x86DD)
    ]
    datagrams = [envelopes[0].wrap(tcp, 2), envelopes[1].wrap(six, 1), envelopes[0].wrap(GOLDEN_INNER)]
    fields = ["ip.ttl", "ip.id", "ip.flags.df", "ip.dsfield", "udp.dstport"]
    fields += ["geneve.vni", "geneve.proto_type", "geneve.option.class", "geneve.option.type"]
    for layers, kind in zip(tshark(datagrams, tmp_path, *fields), ("0x0800", "0x86dd", "0x0800"), strict=True):
        assert_clean(layers)
        assert layers["ip.ttl"][0] == "255"
        assert int(layers["ip.id"][0], 16) == 0
        assert layers["ip.flags.df"][0] in ("0", "False")
        assert layers["ip.dsfield"][0] == "0x00"
        assert layers["udp.dstport"][0] == "6081"
        assert int(layers["geneve.vni"][0], 16) == 0
        assert layers["geneve.proto_type"] == [kind]
        assert layers["geneve.option.class"] == ["0x0108"] * 3
        assert [int(value, 16) for value in layers["geneve.option.type"]] == [1, 2, 3]
