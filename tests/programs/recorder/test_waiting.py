from __future__ import annotations

import sys

from gwlbemu.programs.recorder.waiting import FRAME, WaitingFrame, WaitingFrames


def frame(at_ns: int, size: int = 100) -> WaitingFrame:
    return WaitingFrame(at_ns, 0, True, bytes(size), size)


def times(frames: list[WaitingFrame]) -> list[int]:
    return [each.at_ns for each in frames]


def test_frames_come_out_in_the_order_of_time_and_not_before_they_are_ripe() -> None:
    waiting = WaitingFrames()
    waiting.add([frame(30), frame(50)])
    waiting.add([frame(10), frame(40)])
    assert times(waiting.take(40)) == [10, 30, 40]
    assert times(waiting.take(49)) == []
    waiting.add([frame(45)])
    assert times(waiting.take(sys.maxsize)) == [45, 50]
    assert len(waiting) == 0


def test_a_slice_takes_the_first_and_leaves_the_rest() -> None:
    waiting = WaitingFrames()
    waiting.add(frame(at) for at in (5, 3, 1, 4, 2))
    assert times(waiting.take(4, 3)) == [1, 2, 3]
    assert times(waiting.take(4, 3)) == [4]


def test_bytes_that_wait_are_counted_and_too_many_are_told() -> None:
    waiting = WaitingFrames(most_bytes=3 * (100 + FRAME))
    waiting.add(frame(at) for at in range(3))
    assert not waiting.are_too_many
    waiting.add([frame(3, size=0)])
    assert waiting.are_too_many
    waiting.take(sys.maxsize, 1)
    assert waiting.held_bytes == 2 * 100 + 3 * FRAME
    assert not waiting.are_too_many
    waiting.take(sys.maxsize)
    assert waiting.held_bytes == 0
