"""Frames that wait until no other tap can bring an earlier one: in the order of time, and never too many bytes of them.

A burst that fills the memory is given out before its time: order matters less than memory then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

AT = itemgetter(0)
MOST_BYTES = 32 << 20  # of all that wait; each frame costs `FRAME` beside its own
FRAME = 250  # bytes of memory that a frame takes beside its own: many tiny ones must not be for nothing


class WaitingFrame(NamedTuple):
    """A frame that passed a tap, or that a node has dropped. The first five fields are a `TappedFrame`'s."""

    at_ns: int  # since 1970
    interface: int
    outgoing: bool | None  # None: dropped by a node
    frame: bytes
    length: int
    comment: str = ""


class WaitingFrames:
    """The frames that are held back."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._frames: list[WaitingFrame] = []
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def are_too_many(self) -> bool:
        """Whether all have to be taken now, ripe or not."""
        return self.held_bytes > self._most_bytes

    def add(self, frames: Iterable[WaitingFrame]) -> None:
        """Let frames wait, in any order."""
        before = len(self._frames)
        self._frames += frames
        self.held_bytes += sum(len(each.frame) + FRAME for each in self._frames[before:])

    def take(self, until_ns: int, most: int | None = None) -> list[WaitingFrame]:
        """Return, in order, what passed up to `until_ns`, `most` frames of it at most, and keep the rest."""
        frames = self._frames
        frames.sort(key=AT)
        ripe = bisect_right(frames, until_ns, hi=len(frames) if most is None else min(most, len(frames)), key=AT)
        taken, self._frames = frames[:ripe], frames[ripe:]
        self.held_bytes -= sum(len(each.frame) + FRAME for each in taken)
        return taken
