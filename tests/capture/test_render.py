from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.capture import pcapng, render
from gwlbemu.capture.dissect import dissect, dissect_frame
from gwlbemu.capture.flowfilter import parse_flow
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.wire import icmp
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.tcp import ACK, PSH, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import (
    AT,
    CLIENT,
    SERVER,
    ethernet,
    our_file,
    pcap_file,
    recorded,
    syn,
    tunnelled,
)
from tests.paths import PCAPS


def lines(data: bytes, flow: str = "") -> list[str]:
    reader = CaptureReader(io.BytesIO(data))
    wanted = parse_flow(flow) if flow else None
    found = [(captured, dissect(captured)) for captured in reader]
    shown = [render.line(captured, each) for captured, each in found if wanted is None or wanted.matches(each)]
    return [*shown, render.count_text(len(shown), len(found)), *render.losses(reader, "x.pcap")]


def dictionaries(reader: CaptureReader) -> Iterator[dict[str, object]]:
    """Return its packets as values; what was read is there before the file breaks."""
    return (render.dictionary(captured, dissect(captured)) for captured in reader)


def one(frame: bytes, link_type: int = 1) -> str:
    """Return the line of one frame, from the protocol on."""
    first, closing = lines(pcap_file([(0, frame)], link_type=link_type))
    assert closing == "1 packet"
    return first.split("00:00:00.000000000  ")[1]


def test_a_tunnelled_packet_shows_outer_options_inner_and_comments() -> None:
    block = pcapng.enhanced_packet(
        1, AT, ethernet(tunnelled(syn(ttl=63))), direction="in", comments=["to target\nfw-a1", "b"]
    )
    assert lines(our_file(block)) == [
        "    1  22:13:20.123456789  fw-a1/eth0 in  10.254.1.4:60001 > 10.254.1.10:6081 geneve vpce-02356de92d389839c"
        " cookie 0x98ef1b00 | tcp 198.51.100.10:40000 > 10.0.1.10:80 [S] seq 1000 len 0 ttl 63  # to target fw-a1 # b",
        "1 packet",
    ]


def quoting_error() -> bytes:
    error = icmp.build_icmp_error(syn(), 3, 13, SERVER)
    assert error is not None
    return error


A6, B6 = bytes.fromhex("fd00") + bytes(13) + b"\1", bytes.fromhex("fd00") + bytes(13) + b"\2"


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (
            build_tcp(CLIENT, SERVER, 40000, 80, sequence=1, acknowledgement=2, flags=PSH | ACK, payload=b"abc"),
            "tcp 198.51.100.10:40000 > 10.0.1.10:80 [P.] seq 1 ack 2 len 3 ttl 64",
        ),
        (build_udp(A6, B6, 1, 2, b"abc"), "udp [fd00::1]:1 > [fd00::2]:2 len 3 ttl 64"),
        (build_ipv4(CLIENT, SERVER, 47, b"abcd", dscp=46), "gre 198.51.100.10 > 10.0.1.10 len 4 ttl 64 dscp 46"),
        (
            build_ipv4(CLIENT, SERVER, 17, bytes(16), identification=9, fragment_offset=8, more_fragments=True),
            "udp 198.51.100.10 > 10.0.1.10 fragment 0x9@8+ len 16 ttl 64",
        ),
        (
            build_ipv4(CLIENT, SERVER, 1, bytes.fromhex("080006f612340005") + b"ping"),
            "icmp 198.51.100.10 > 10.0.1.10 echo request id 4660 seq 5 len 4 ttl 64",
        ),
        (
            quoting_error(),
            "icmp 10.0.1.10 > 198.51.100.10 unreachable code 13"
            " about tcp 198.51.100.10:40000 > 10.0.1.10:80 len 40 ttl 64",
        ),
    ],
)
def test_a_plain_packet_is_told_in_one_line(packet: bytes, text: str) -> None:
    assert one(ethernet(packet)) == text


TEXT = "tcp 198.51.100.10:40000 > 10.0.1.10:80 [S] seq 1000 len 0 ttl 64"


@pytest.mark.parametrize(
    ("what", "link_type", "head"),
    [
        ("raw IP", 101, b""),
        ("IPv4", 228, b""),
        ("Linux cooked", 113, bytes(14) + b"\x08\x00"),
        ("Linux cooked v2", 276, b"\x08\x00" + bytes(18)),
        ("BSD loopback", 0, b"\2\0\0\0"),
        ("two VLAN tags", 1, bytes(12) + bytes.fromhex("88a8000181000002 0800")),
    ],
)
def test_other_link_types_are_understood(what: str, link_type: int, head: bytes) -> None:
    assert one(head + syn(), link_type) == TEXT


def test_padding_is_not_shown() -> None:
    assert one(ethernet(syn()) + bytes(6)) == TEXT


def test_what_is_not_ip_is_named() -> None:
    assert one(bytes(12) + b"\x08\x06" + bytes(28)) == "arp len 42"
    assert one(b"abc") == "no network layer len 3"
    assert one(b"abc", link_type=105) == "no network layer len 3  (link type 105 is not read)"


def test_a_frame_that_lies_about_its_length_is_shown_with_the_reason() -> None:
    frame = bytearray(ethernet(tunnelled(syn())))
    frame[82 + 3] += 1
    text = one(bytes(frame))
    assert "geneve vpce-02356de92d389839c cookie 0x98ef1b00" in text
    assert "(inside: IPv4 total length 41, 40 bytes there)" in text
    frame[42] = 0x48
    assert "(GENEVE version 1, expected 0)" in one(bytes(frame))


def test_unknown_options_and_bits_are_shown() -> None:
    packet = build_udp(CLIENT, SERVER, 1, 6081, bytes.fromhex("0280 6558 00000a00 abcd8101 cafebabe"))
    assert "geneve vni 10 option! abcd/01=cafebabe control type 0x6558" in one(ethernet(packet))


def test_a_cut_frame_is_shown_as_far_as_it_goes() -> None:
    frame = ethernet(tunnelled(syn()))
    block = pcapng.enhanced_packet(0, AT, frame[: 82 + 28], original_length=len(frame))
    text = lines(our_file(block))[0]
    assert "| tcp 198.51.100.10:40000 > 10.0.1.10:80" in text
    assert text.endswith("(cut to 110 of 122 bytes)")


def test_the_end_of_a_broken_file_and_the_losses_of_the_capture_are_told() -> None:
    block = pcapng.enhanced_packet(0, AT, ethernet(syn()))
    data = our_file(block, pcapng.interface_statistics(1, AT, received=9, dropped=4), block)
    *_, count, broken, lost = lines(data[:-5])
    assert count == "1 packet"
    beyond = len(data) - len(block) + 8
    assert broken.startswith(f"x.pcap: the file cannot be read beyond byte {beyond}: the file ends inside the block")
    assert lost == "fw-a1/eth0: 4 packets were lost before the capture could write them"


def test_a_filter_shows_what_it_matches_and_counts_all() -> None:
    data = pcap_file([(0, ethernet(syn())), (1, ethernet(tunnelled(syn()))), (2, ethernet(syn(SERVER, SERVER)))])
    shown = lines(data, "198.51.100.10")
    assert [line[:5].strip() for line in shown[:-1]] == ["1", "2"]
    assert shown[-1] == "2 of 3 packets"


def test_a_dictionary_has_stable_keys_and_survives_json() -> None:
    block = pcapng.enhanced_packet(1, AT, ethernet(tunnelled(syn())), direction="in", comments=["x"])
    reader = CaptureReader(io.BytesIO(our_file(block, pcapng.enhanced_packet(0, AT, b"abc"))))
    first, second = dictionaries(reader)
    assert json.loads(json.dumps(first)) == first
    assert list(first) == list(second) == [
        "number", "time_ns", "interface", "direction", "length", "captured_length", "ethertype", "outer", "geneve",
        "packet", "comments", "trouble", "vlans", "checksums", "carried",
    ]  # fmt: skip
    assert first["time_ns"] == AT
    geneve, packet = first["geneve"], first["packet"]
    assert isinstance(geneve, dict)
    assert isinstance(packet, dict)
    assert (geneve["endpoint"], geneve["flow_cookie"]) == ("vpce-02356de92d389839c", "0x98ef1b00")
    assert (packet["source"], packet["destination_port"], packet["tcp_flags"]) == ("198.51.100.10", 80, "S")
    assert (second["outer"], second["geneve"], second["packet"]) == (None, None, None)


@given(st.binary(max_size=150), st.sampled_from([0, 1, 101, 113, 276, 999]), st.booleans(), st.integers(0, 122))
def test_no_frame_whatever_makes_the_rendering_raise(data: bytes, link_type: int, cut: bool, keep: int) -> None:
    for frame in (data, ethernet(tunnelled(syn()))[:keep] + data):
        dissection = dissect_frame(frame, link_type, missing=1000 * cut)
        block = pcapng.enhanced_packet(0, AT, frame, original_length=len(frame) + 1000 * cut)
        head = pcapng.section_header() + pcapng.interface_description("x", link_type=link_type)
        assert len(lines(head + block)) == 2
        with suppress(StopIteration):
            json.dumps(next(dictionaries(CaptureReader(io.BytesIO(head + block)))))
        assert dissection.inner is None or dissection.tunnel is not None


@pytest.mark.parametrize("name", sorted(path.name for path in PCAPS.glob("*.pcap")) or ["none"])
def test_inner_addresses_in_recorded_captures_are_those_that_tshark_sees(name: str, tmp_path: Path) -> None:
    data = recorded(name)
    command = [
        "tshark",
        "-n",
        "-r",
        str(PCAPS / name),
        "-T",
        "json",
        "-e",
        "ip.src",
        "-e",
        "ipv6.src",
        "-e",
        "geneve.vni",
    ]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = list(dictionaries(CaptureReader(io.BytesIO(data))))
    assert len(ours) == len(theirs)
    for mine, packet in zip(ours, theirs, strict=True):
        layers = packet["_source"]["layers"]
        inner = mine["packet"]
        assert isinstance(inner, dict)
        geneve = mine["geneve"]
        if "geneve.vni" in layers:
            assert isinstance(geneve, dict)
            assert geneve["vni"] == int(layers["geneve.vni"][0], 16)
            assert inner["source"] in layers.get("ip.src", [])[1:] + layers.get("ipv6.src", [])
