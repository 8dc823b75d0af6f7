from __future__ import annotations

import pytest

from gwlbemu.capture.checks import judge
from gwlbemu.capture.dissect import dissect_frame
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.capture.render import line
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.checksum import total
from gwlbemu.wire.protocols import TCP, UDP
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import CLIENT, SERVER, ethernet, syn, tunnelled

A6, B6 = bytes.fromhex("fd00") + bytes(13) + b"\1", bytes.fromhex("fd00") + bytes(13) + b"\2"
SEGMENT = build_tcp(CLIENT, SERVER, 1, 2, payload=b"abc")


def states(packet: bytes, missing: int = 0) -> dict[str, str]:
    return {check.layer: check.state.value for check in judge(dissect_frame(ethernet(packet), missing=missing))}


def told(packet: bytes, *, missing: int = 0, verbose: bool = False) -> str:
    frame = ethernet(packet)
    captured = CapturedPacket(1, 0, Interface("", "", 1), frame, len(frame) + missing)
    return line(captured, dissect_frame(frame, missing=missing), verbose=verbose)


def changed(packet: bytes, at: int, value: int) -> bytes:
    return packet[:at] + value.to_bytes(2, "big") + packet[at + 2 :]


def unfinished(packet: bytes, at: int, protocol: int) -> bytes:
    """Leave the checksum at `at` as Linux leaves it to a network card: the pseudo-header's sum."""
    head = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
    addresses = packet[12:20] if head == 20 else packet[8:40]
    return changed(packet, at, (total(addresses) + protocol + len(packet) - head) % 65535)


def test_every_layer_of_a_tunnelled_packet_is_judged() -> None:
    assert states(tunnelled(syn())) == {
        "outer IP": "right", "outer UDP": "right", "inner IP": "right", "inner TCP": "right",
    }  # fmt: skip


@pytest.mark.parametrize(("at", "layer"), [(10, "outer IP"), (26, "outer UDP"), (78, "inner IP"), (104, "inner TCP")])
def test_a_wrong_checksum_is_named_with_what_belongs_there(at: int, layer: str) -> None:
    good = tunnelled(syn())
    assert "checksum" not in told(good)
    assert f"({layer} checksum 0x1234, expected 0x{good[at : at + 2].hex()})" in told(changed(good, at, 0x1234))


@pytest.mark.parametrize(
    ("packet", "layer"),
    [
        (unfinished(SEGMENT, 36, TCP), "TCP"),
        (unfinished(build_udp(CLIENT, SERVER, 1, 2, b"abc"), 26, UDP), "UDP"),
        (unfinished(build_tcp(A6, B6, 1, 2), 56, TCP), "TCP"),
    ],
)
def test_a_checksum_that_offload_left_unfinished_is_told_apart(packet: bytes, layer: str) -> None:
    assert states(packet)[layer] == "unfinished"
    assert "checksum" not in told(packet)
    assert f"{layer} unfinished" in told(packet, verbose=True)


def test_udp_without_a_checksum_is_right_over_ipv4_and_wrong_over_ipv6() -> None:
    assert states(changed(build_udp(CLIENT, SERVER, 1, 2, b"a"), 26, 0))["UDP"] == "absent"
    assert "(UDP checksum 0x0000, expected 0x" in told(changed(build_udp(A6, B6, 1, 2, b"a"), 46, 0))
    assert states(changed(build_udp(A6, B6, 1, 6081, bytes(8)), 46, 0))["outer UDP"] == "absent"  # RFC 6935


def test_what_cannot_be_judged_is_not_called_wrong() -> None:
    fragment = build_ipv4(CLIENT, SERVER, UDP, bytes.fromhex("0001000200101234") + bytes(8), more_fragments=True)
    assert states(fragment) == {"IP": "right", "UDP": "unjudged"}
    assert states(SEGMENT[:-2], missing=2) == {"IP": "right", "TCP": "unjudged"}
    other = bytes((TCP, 2, 3, 1)) + bytes(20)
    assert states(extended(43, other, build_tcp(A6, B6, 1, 2)[40:])) == {"TCP": "unjudged"}
    source_route = build_ipv4(CLIENT, SERVER, TCP, SEGMENT[20:])
    source_route = b"\x46" + source_route[1:20] + b"\x83\x04\x04\0" + source_route[20:]
    assert states(changed(source_route, 2, len(source_route)))["TCP"] == "unjudged"


def extended(following: int, header: bytes, segment: bytes) -> bytes:
    """Put an extension header between IPv6 and a segment."""
    length = (len(header) + len(segment)).to_bytes(2, "big")
    return b"\x60\0\0\0" + length + bytes((following, 64)) + A6 + B6 + header + segment


C6 = bytes.fromhex("fd00") + bytes(13) + b"\3"


@pytest.mark.parametrize(
    ("following", "header", "source", "destination"),
    [
        (43, bytes((TCP, 2, 0, 1)) + bytes(4) + C6, A6, C6),  # a routing header's last, RFC 8200 8.1
        (43, bytes((TCP, 2, 0, 0)) + bytes(4) + C6, A6, B6),
        (43, bytes((TCP, 4, 4, 1)) + bytes(4) + C6 + A6, A6, C6),  # the segment list is reversed, RFC 8754 2
        (60, bytes((TCP, 2, 1, 2, 0, 0, 0xC9, 16)) + C6, C6, B6),  # RFC 6275 6.3
    ],
)
def test_a_checksum_over_addresses_of_extension_headers_is_right(
    following: int, header: bytes, source: bytes, destination: bytes
) -> None:
    assert states(extended(following, header, build_tcp(source, destination, 1, 2)[40:])) == {"TCP": "right"}


def test_a_udp_length_that_does_not_fit_is_named() -> None:
    packet = changed(build_udp(CLIENT, SERVER, 1, 2, b"abcd"), 24, 10)
    assert "(UDP length 10, 12 bytes there)" in told(packet)


def test_icmp_is_judged() -> None:
    ping = build_ipv4(CLIENT, SERVER, 1, bytes.fromhex("080006f612340005") + b"ping")
    assert states(ping) == {"IP": "right", "ICMP": "right"}
    assert "(ICMP checksum 0x06f7, expected 0x06f6)" in told(changed(ping, 22, 0x06F7))
