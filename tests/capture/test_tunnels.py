"""Tunnels as they are found in captures: nested, odd, cut, broken."""

from __future__ import annotations

import pytest

from gwlbemu.capture.dissect import dissect_frame
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.capture.render import dictionary, line
from gwlbemu.wire import aws
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import CLIENT, COOKIE, ENDPOINT, NODE, SERVER, TARGET, ethernet, syn, tunnelled

A6, B6 = bytes.fromhex("fd00") + bytes(13) + b"\1", bytes.fromhex("fd00") + bytes(13) + b"\2"
SYN = "tcp 198.51.100.10:40000 > 10.0.1.10:80 [S] seq 1000 len 0 ttl 64"
AWS = aws.encode_header(0x0800, ENDPOINT, COOKIE)
OUTER, TEXT = "10.254.1.4:1 > 10.254.1.10:6081 ", "geneve vpce-02356de92d389839c cookie 0x98ef1b00"


def told(frame: bytes, *, missing: int = 0, link_type: int = 1, verbose: bool = False) -> str:
    captured = CapturedPacket(1, 0, Interface("", "", link_type), frame, len(frame) + missing)
    dissection = dissect_frame(frame, link_type, missing=missing)
    dictionary(captured, dissection)
    return line(captured, dissection, verbose=verbose).split("00:00:00.000000000  ")[1]


def geneve(payload: bytes) -> str:
    """Return the line of a UDP datagram to port 6081."""
    return told(ethernet(build_udp(NODE, TARGET, 1, 6081, payload)))


def test_geneve_in_geneve_is_told_to_the_end() -> None:
    inside = build_udp(CLIENT, SERVER, 60001, 6081, AWS + syn())
    assert geneve(AWS + inside) == (
        f"{OUTER}{TEXT} | udp 198.51.100.10:60001 > 10.0.1.10:6081 len 80 ttl 64 | {TEXT} | {SYN}"
    )


def test_vxlan_in_geneve_is_told_to_the_end() -> None:
    inside = build_udp(CLIENT, SERVER, 1, 4789, bytes.fromhex("0800000000000500") + ethernet(syn()))
    assert geneve(AWS + inside).endswith(f"udp 198.51.100.10:1 > 10.0.1.10:4789 len 62 ttl 64 | vxlan vni 5 | {SYN}")


@pytest.mark.parametrize(
    ("protocol", "head", "words"),
    [(47, "00000800", "gre"), (47, "20000800 0000002a", "gre key 42"), (4, "", "ip in ip")],
)
def test_other_tunnels_in_geneve_are_told_to_the_end(protocol: int, head: str, words: str) -> None:
    text = geneve(AWS + build_ipv4(CLIENT, SERVER, protocol, bytes.fromhex(head) + syn()))
    assert text.endswith(f" | {words} | {SYN}")


def test_an_ethernet_frame_in_geneve_is_opened() -> None:
    assert geneve(bytes.fromhex("0000 6558 00000a00") + ethernet(syn())) == f"{OUTER}geneve vni 10 type 0x6558 | {SYN}"


def test_protocol_type_0_is_called_that() -> None:
    assert geneve(bytes(8) + syn()) == f"{OUTER}geneve type 0x0000  (inside: protocol type 0x0000, 40 bytes)"


def test_reserved_bits_are_named() -> None:
    option = bytes.fromhex("010801e2") + ENDPOINT.to_bytes(8, "big")
    assert geneve(bytes.fromhex("0301080000000000") + option + syn()) == (
        f"{OUTER}geneve vpce-02356de92d389839c reserved bits in the header, option 0108/01 | {SYN}"
    )


def test_an_option_that_overruns_is_called_that_and_the_packet_behind_it_is_told() -> None:
    text = geneve(bytes.fromhex("0200080000000000 0108011f cafebabe") + syn())
    assert (
        text
        == f"{OUTER}geneve | {SYN}  (GENEVE option 0108/01 overruns: it claims 124 bytes, 4 of the options are left)"
    )


def test_more_options_than_bytes_are_called_that() -> None:
    text = geneve(bytes((0x3F, 0)) + AWS[2:] + syn())
    assert text.startswith(f"{OUTER}{TEXT} ")
    assert "GENEVE option" not in text
    assert text.endswith("(GENEVE claims 252 bytes of options, 72 there)")


def test_other_versions_and_too_few_bytes_are_called_that() -> None:
    assert geneve(b"\x40" + bytes(11)).endswith("(GENEVE version 1, expected 0)")
    assert geneve(bytes(7)).endswith("(7 bytes are too short for GENEVE's header)")


def test_an_outer_packet_of_ipv6_with_vlan_is_told_with_everything_when_asked() -> None:
    packet = build_udp(A6, B6, 6081, 6081, AWS + syn())
    tagged = bytes(12) + bytes.fromhex("81000007 86dd") + packet
    assert told(tagged, verbose=True) == (
        f"[fd00::1]:6081 > [fd00::2]:6081 len 128 ttl 64 vlan 7 {TEXT} | {SYN} df id 0x7"
        "  checksums: outer UDP right, inner IP right, inner TCP right"
    )


def test_the_outer_packet_of_ipv4_shows_ttl_and_df_when_asked() -> None:
    text = told(ethernet(tunnelled(syn())), verbose=True)
    assert text.startswith(f"10.254.1.4:60001 > 10.254.1.10:6081 len 108 ttl 255 {TEXT} | {SYN} df id 0x7")
    assert "outer UDP right" in text


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (20, "(the capture ends in the IP header)"),
        (48, "(the capture ends in GENEVE's header)"),
        (60, "(the capture ends in GENEVE's options)"),
        (90, "(inside: the capture ends in the IP header)"),
        (82, "(inside: not captured)"),
    ],
)
def test_where_a_cut_packet_ends_is_told(kept: int, words: str) -> None:
    frame = ethernet(tunnelled(syn()))
    text = told(frame[:kept], missing=len(frame) - kept)
    assert words in text
    assert text.endswith(f"(cut to {kept} of {len(frame)} bytes)")


def test_a_cut_packet_that_lies_about_its_length_is_not_believed() -> None:
    frame = bytearray(ethernet(syn()))
    frame[16:18] = (1000).to_bytes(2, "big")
    assert "(IPv4 total length 1000, 40 bytes there)" in told(bytes(frame[:50]), missing=4)


def test_ports_are_shown_when_they_are_0_and_not_when_there_are_none() -> None:
    assert told(ethernet(build_udp(CLIENT, SERVER, 0, 53, b""))).startswith("udp 198.51.100.10:0 > 10.0.1.10:53 ")
    assert told(ethernet(build_udp(CLIENT, SERVER, 0, 0, b""))).startswith("udp 198.51.100.10:0 > 10.0.1.10:0 ")
    later = build_ipv4(CLIENT, SERVER, 17, bytes(8), fragment_offset=8)
    assert told(ethernet(later)).startswith("udp 198.51.100.10 > 10.0.1.10 fragment")


def test_jumbo_payloads_are_named() -> None:
    packet = build_tcp(CLIENT, SERVER, 1, 2, payload=bytes(20))
    big = packet[:2] + b"\0\0" + packet[4:] + bytes(70_000)
    assert " len 70020 ttl 64 jumbo (length field 0)" in told(ethernet(big))
    assert " len 70020 ttl 64 jumbo (length field 0)" in told(ethernet(big)[:100], missing=len(big) - 86)
    segment = build_tcp(A6, B6, 1, 2)[40:] + bytes(70_000)
    options = bytes.fromhex("0600c204") + (len(segment) + 8).to_bytes(4, "big")
    jumbogram = b"\x60\0\0\0\0\0\0\x40" + A6 + B6 + options + segment
    assert " len 70000 ttl 64 jumbo (length field 0)" in told(ethernet(jumbogram))


def test_a_short_packet_with_length_0_is_a_lie() -> None:
    packet = bytearray(syn())
    packet[2:4] = b"\0\0"
    assert "(IPv4 header length 20, total length 0, 40 bytes there)" in told(ethernet(bytes(packet)))


def test_a_snap_frame_is_opened_and_an_unknown_link_type_named() -> None:
    frame = bytes(12) + (48).to_bytes(2, "big") + bytes.fromhex("aaaa03 000000 0800") + syn()
    assert told(frame) == SYN
    assert told(frame, link_type=147).endswith("(link type 147 is not read)")
    cooked = bytes(14) + bytes.fromhex("8100 0007 0800") + syn()
    assert told(cooked, link_type=113, verbose=True).startswith("tcp")


def test_a_packet_of_the_other_ip_version_is_named() -> None:
    frame = bytearray(ethernet(build_udp(A6, B6, 1, 2, b"")))
    frame[12:14] = b"\x08\x00"
    assert told(bytes(frame)).endswith("(IPv6 under ethertype 0x0800)")
