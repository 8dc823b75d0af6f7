from __future__ import annotations

import pytest

from gwlbemu.capture.dissect import dissect_frame
from gwlbemu.capture.flowfilter import parse_flow
from gwlbemu.errors import SettingError
from gwlbemu.wire import icmp
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import CLIENT, SERVER, ethernet, syn, tunnelled

SIX = build_udp(bytes.fromhex("fd00") + bytes(13) + b"\1", bytes.fromhex("fd00") + bytes(13) + b"\2", 53, 40000)
ERROR = icmp.build_icmp_error(syn(), 3, 13, bytes((10, 9, 9, 9)))
assert ERROR is not None
PACKETS = {
    "syn": syn(),
    "reply": syn(SERVER, CLIENT),
    "tunnel": tunnelled(syn()),
    "other cookie": tunnelled(syn(), cookie=1),
    "udp": build_udp(CLIENT, SERVER, 40000, 80),
    "six": SIX,
    "gre": build_ipv4(CLIENT, SERVER, 47, bytes(4)),
    "error": ERROR,
}
FLOW = ["syn", "tunnel", "other cookie", "udp", "error"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("198.51.100.10:40000-10.0.1.10:80", FLOW),
        ("10.0.1.10:80-198.51.100.10:40000", FLOW),
        ("198.51.100.10-10.0.1.10", [*FLOW, "reply", "gre"]),
        ("198.51.100.10:40000-10.0.1.10:81", []),
        ("tcp 198.51.100.10:40000-10.0.1.10:80", ["syn", "tunnel", "other cookie", "error"]),
        ("10.0.1.10", [*FLOW, "reply", "gre"]),
        ("10.9.9.9", ["error"]),
        ("10.254.1.4", []),
        ("10.0.0.0/16-:40000", FLOW),
        (":53", ["six"]),
        ("udp 53", ["six"]),
        ("tcp 81", []),
        (":80 udp", ["udp"]),
        ("UDP", ["udp", "six"]),
        ("icmp", ["error"]),
        ("47", ["gre"]),
        ("gre 198.51.100.10", ["gre"]),
        ("cookie=0x98ef1b00", ["tunnel"]),
        ("cookie=00000001 tcp", ["other cookie"]),
        ("endpoint=vpce-02356de92d389839c", ["tunnel", "other cookie"]),
        ("endpoint=vpce-00000000000000001", []),
        ("fd00::1", ["six"]),
        ("[fd00::1]:53-[fd00::2]:40000", ["six"]),
        ("[fd00::2]:53", []),
        ("fd00::/64", ["six"]),
    ],
)
def test_an_expression_matches_inner_and_plain_packets_both_ways(expression: str, expected: list[str]) -> None:
    wanted = parse_flow(expression)
    found = {name for name, packet in PACKETS.items() if wanted.matches(dissect_frame(ethernet(packet)))}
    assert found == set(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "", "  ",
        "tpc", "10.0.0.256", "10.0.0.1:65536", "10.0.0.1:x", "[fd00::1", "[fd00::1]80", "10.0.0.1/8", "cookie=x",
        "endpoint=eni-1", "10.0.0.1 10.0.0.2", "256",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_word(expression: str) -> None:
    with pytest.raises(SettingError, match="--flow") as caught:
        parse_flow(expression)
    assert not expression.strip() or repr(expression.split()[-1]) in str(caught.value)
