"""Whatever arrives at a node, it lives, and every frame gets a verdict."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gwlbemu.core.gateway.entry import Entry
from gwlbemu.core.gateway.judged import Judged
from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.ports.port import Port
from gwlbemu.wire.tcp import ACK, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.hostile import SHORT_FRAGMENT, Hostile
from tests.programs.gateway.gateway_node import MemoryNode, node_and_verbs

CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
ETHERNET = bytes(12) + b"\x08\x00"
GOOD = [
    ETHERNET + build_udp(CLIENT, SERVER, 1000, 53, b"query"),
    ETHERNET + build_tcp(CLIENT, SERVER, 1000, 80),
    ETHERNET + build_tcp(CLIENT, SERVER, 1000, 80, flags=ACK, payload=bytes(100)),
    bytes(12) + b"\x86\xdd" + build_udp(bytes(15) + b"\x01", bytes(15) + b"\x02", 1000, 53, b"query"),
]


def throw(node: MemoryNode, side: Port, frames: list[bytes]) -> None:
    """Bring the frames to a port of the node, as its loop does."""
    far = side._peer  # type: ignore[attr-defined]
    for start in range(0, len(frames), 64):
        far.send(frames[start : start + 64])
        for identity in node.packets.endpoints:
            node.packets.endpoint_reader(identity)()
        node.packets.read_eni()


def returned(frame: bytes) -> bytes:
    """A frame to a target, sent back as a good appliance does."""
    return frame[6:12] + frame[:6] + frame[12:26] + frame[30:34] + frame[26:30] + frame[34:]


@pytest.mark.parametrize("traced", [False, True], ids=["untraced", "traced"])
def test_no_frame_makes_a_node_raise_and_each_gets_one_verdict(tmp_path: Path, traced: bool) -> None:
    with node_and_verbs(tmp_path) as (node, verbs):
        node.packets.judge = node.balancer
        (endpoint,) = node.packets.endpoints.values()
        eni = node.packets.eni
        far_eni = eni.port._peer  # type: ignore[attr-defined]
        throw(node, endpoint.port, GOOD)
        back = [returned(frame) for frame in far_eni.recv()]
        assert len(back) == len(GOOD)
        if traced:
            verbs.trace_start({})
        for seed in range(10):
            throw(node, endpoint.port, [SHORT_FRAGMENT, *Hostile(seed, GOOD).frames(300)])
            throw(node, eni.port, [SHORT_FRAGMENT, *Hostile(seed, [*back, *GOOD]).frames(300)])
            while far_eni.recv():
                pass
            while endpoint.port._peer.recv():  # type: ignore[attr-defined]
                pass
            metrics = node.balancer.metrics(now=node.loop.now)
            assert node.balancer.take_faults() == [], f"seed {seed}"
            assert metrics["packets_received"] == metrics["verdicts"] == endpoint.frames_in + eni.frames_in
            assert (endpoint.verdicts, eni.verdicts) == (endpoint.frames_in, eni.frames_in)
            assert endpoint.frames_in + endpoint.port.tagged() == len(GOOD) + (seed + 1) * 301 - endpoint.port.drops()


def test_a_packet_that_makes_the_core_raise_is_a_drop_with_a_reason_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Entry._judge

    def judge(self: Entry, endpoint: int, packet: bytes, now: float) -> object:
        if packet[-1:] == b"!":
            raise OverflowError("can't convert negative int to unsigned")
        return usual(self, endpoint, packet, now)

    monkeypatch.setattr(Entry, "_judge", judge)
    with node_and_verbs(tmp_path) as (node, _):
        (endpoint,) = node.packets.endpoints.values()
        bad = ETHERNET + build_udp(CLIENT, SERVER, 7, 53, b"boo!")
        throw(node, endpoint.port, [GOOD[0], bad, GOOD[1]])
        metrics = node.balancer.metrics(now=node.loop.now)
        assert metrics[f"Dropped_{Reason.UNDECODABLE.value}"] == 1
        assert metrics["packets_received"] == metrics["verdicts"] == 3
        assert [type(error) for error in node.balancer.take_faults()] == [OverflowError]
        assert node.balancer.take_faults() == []


def test_a_batch_whose_judging_raises_is_lost_and_noted_and_the_node_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Judge:
        def receive_frames(self, endpoint: int, frames: object, *, now: float) -> object:
            raise LookupError

        def receive_returned_frames(self, frames: object, *, now: float) -> Judged:
            return Judged(Links())

    with node_and_verbs(tmp_path) as (node, _), caplog.at_level(logging.ERROR):
        (endpoint,) = node.packets.endpoints.values()
        node.packets.judge = Judge()  # type: ignore[assignment]
        throw(node, endpoint.port, GOOD)
        node.packets.judge = node.balancer
        throw(node, endpoint.port, GOOD)
        assert (endpoint.frames_in, endpoint.verdicts) == (8, 4)
        assert len(caplog.records) == 1
