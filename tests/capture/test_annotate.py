from __future__ import annotations

import pytest

from gwlbemu.capture.annotate import Annotator, Names
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import CLIENT, ENDPOINT, NODE, SERVER, TARGET, ethernet, syn, tunnelled

NAMES = Names({ENDPOINT: "vpce-fw-a"}, {TARGET: "fw-a1"}, {NODE: "gwlb-fw-a"})
FLOW = "tcp 198.51.100.10:40000 > 10.0.1.10:80"


def comments(packet: bytes, names: Names = NAMES) -> tuple[str, ...]:
    annotator = Annotator(names)
    first = annotator.comments(ethernet(packet))
    assert annotator.comments(ethernet(packet)) == first, "the remembered comment is the same"
    return first


def test_a_packet_on_its_way_to_a_target_is_told() -> None:
    assert comments(tunnelled(syn())) == (f"{FLOW}, vpce-fw-a, cookie 0x98ef1b00, to target fw-a1",)


def test_a_returned_packet_is_told() -> None:
    assert comments(tunnelled(syn(), TARGET, NODE)) == (f"{FLOW}, vpce-fw-a, cookie 0x98ef1b00, returned by fw-a1",)


def test_a_stranger_and_unknown_names_are_told() -> None:
    assert comments(tunnelled(syn(), SERVER, NODE))[0].endswith("to node gwlb-fw-a from a stranger")
    assert comments(tunnelled(syn()), Names()) == (f"{FLOW}, vpce-02356de92d389839c, cookie 0x98ef1b00",)


def test_frames_without_geneve_have_no_comment() -> None:
    assert comments(syn()) == ()
    assert comments(build_udp(CLIENT, SERVER, 1, 53)) == ()
    assert Annotator(NAMES).comments(b"") == ()
    assert Annotator(NAMES).comments(bytes(12) + b"\x08\x06" + bytes(28)) == ()


def test_the_memory_tells_flows_directions_cookies_and_fragments_apart() -> None:
    annotator = Annotator(NAMES)
    packets = [
        tunnelled(syn()),
        tunnelled(syn(SERVER, CLIENT)),
        tunnelled(syn(), TARGET, NODE),
        tunnelled(syn(), cookie=1),
        tunnelled(build_udp(CLIENT, SERVER, 40000, 80)),
        tunnelled(build_ipv4(CLIENT, SERVER, 17, bytes.fromhex("9c400050") + bytes(8), fragment_offset=8)),
        tunnelled(build_udp(bytes(16), bytes(15) + b"\1", 40000, 80)),
    ]
    together = [annotator.comments(ethernet(packet)) for packet in packets]
    assert together == [comments(packet) for packet in packets]
    assert len(set(together)) == len(packets)


def test_a_frame_with_a_broken_inside_is_told() -> None:
    frame = bytearray(ethernet(tunnelled(syn())))
    frame[85] += 1
    (text,) = Annotator(NAMES).comments(bytes(frame))
    assert "inside: IPv4 total length 41" in text


def test_comments_of_flows_that_are_gone_are_forgotten_and_those_of_live_ones_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    annotator = Annotator(NAMES, remembered=10)
    live, described = ethernet(tunnelled(syn(), cookie=0)), 0
    real = Annotator._describe

    def describe(self: Annotator, frame: bytes, missing: int) -> tuple[str, ...]:
        nonlocal described
        described += frame == live
        return real(self, frame, missing)

    monkeypatch.setattr(Annotator, "_describe", describe)
    for cookie in range(1, 1000):
        frame = ethernet(tunnelled(syn(), cookie=cookie))
        assert f"cookie 0x{cookie:08x}" in annotator.comments(frame)[0]
        assert "cookie 0x00000000" in annotator.comments(live)[0]
        assert len(annotator) <= 20
    assert described == 1
