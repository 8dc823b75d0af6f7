"""What the capture keeps does not grow with the flows, frames and dropped packets that it has seen."""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gwlbemu.capture import annotate
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.ring import TappedFrame
from gwlbemu.programs.discards import DroppedFrame, encode
from gwlbemu.programs.recorder import waiting
from gwlbemu.programs.recorder.config import CaptureConfig
from gwlbemu.programs.recorder.recorder import Recorder
from tests.capture.capture_helpers import ethernet, syn, tunnelled

FLOWS = 2000  # of a round
SLACK = 64 << 10  # bytes that Python's own caches may come to


def config(folder: Path) -> CaptureConfig:
    return CaptureConfig(
        lab="memory", taps=(), nodes={"node": "10.0.0.1"}, endpoints={}, targets={}, folder=str(folder),
        file_bytes=1 << 20, files=2, snapshot_length=9100, control=str(folder / "control"),
        discards=str(folder / "discards"),
    )  # fmt: skip


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    with ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)
        made = Recorder(config(tmp_path), loop, stack)
        stack.callback(made.stop)
        yield made


def flow(number: int) -> bytes:
    return ethernet(tunnelled(syn(), cookie=number))


def kept_after_rounds(recorder: Recorder, rounds: int, discards: Path) -> list[int]:
    """Give the capture other flows in each round, by a tap and as dropped packets; return the bytes that are in use."""
    kept = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as node:
        for number in range(rounds):
            for start in range(number * FLOWS, (number + 1) * FLOWS, 100):
                frames = [flow(each) for each in range(start, start + 100)]
                recorder._add([TappedFrame(start, 0, True, frame, len(frame)) for frame in frames])
                for frame in frames[:5]:
                    node.sendto(encode(DroppedFrame(start, "node", f"dropped: {start}", frame)), str(discards))
                recorder._take_discards()
                recorder._write(sys.maxsize)
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    return kept


def test_the_capture_s_memory_is_flat_however_many_flows_come_and_go(recorder: Recorder, tmp_path: Path) -> None:
    recorder._annotator = annotate.Annotator(recorder._config.names(), remembered=FLOWS // 2)
    tracemalloc.start()
    try:
        # Texts of addresses and ports are remembered, some thousands of them: those are full after a few rounds.
        *_, warm, fourth, fifth, sixth = kept_after_rounds(recorder, 6, tmp_path / "discards")
    finally:
        tracemalloc.stop()
    assert max(fourth, fifth, sixth) < warm + SLACK
    assert recorder.status({})["packets"] == 6 * FLOWS * 105 // 100


def test_a_burst_that_nobody_has_time_to_write_is_bounded_in_bytes(recorder: Recorder) -> None:
    recorder._waiting = waiting.WaitingFrames(most_bytes=1 << 20)
    sightings = [TappedFrame(1 << 62, 0, True, bytes(1500), 1500)] * 500

    class BusyRing:
        def read(self) -> list[TappedFrame]:
            return sightings

    for _ in range(10):
        recorder._ready(BusyRing())  # type: ignore[arg-type]
        assert recorder._waiting.held_bytes <= 1 << 20
    assert sum(recorder._packets) + len(recorder._waiting) == 5000
