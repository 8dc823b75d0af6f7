"""Two joined ports in memory: what one end sends, the other receives."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

BATCH = 64
VLAN_TAGS = (b"\x81\x00", b"\x88\xa8")  # IEEE 802.1Q: a customer's tag, and a provider's in front of one


class MemoryPort:
    """One end of a pair made by `pair`; satisfies `Port`, its descriptor works in the loop."""

    def __init__(self, *, mtu: int, capacity: int) -> None:
        self.mtu = mtu
        self.unsent = 0
        self._peer: MemoryPort | None = None
        self._queue: deque[bytes] = deque()
        self._capacity = capacity
        self._dropped = self._tagged = 0
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = False

    def fileno(self) -> int:
        """Return the descriptor: see `Port`."""
        return self._ready

    def recv(self) -> list[bytes]:
        """Return a batch of frames: see `Port`."""
        queue = self._queue
        frames = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        if frames and not queue:
            os.eventfd_read(self._ready)
        return frames

    def send(self, frames: Sequence[bytes]) -> int:
        """Send frames: see `Port`."""
        peer = self._peer
        if peer is None or peer._closed:
            self.unsent += len(frames)
            return 0
        fitting = [frame for frame in frames if len(frame) <= self.mtu + 14]
        self.unsent += len(frames) - len(fitting)
        peer._arrive(fitting)
        return len(fitting)

    def _arrive(self, frames: Sequence[bytes]) -> None:
        untagged = [frame for frame in frames if bytes(frame[12:14]) not in VLAN_TAGS]
        self._tagged += len(frames) - len(untagged)
        frames = untagged
        taken = frames[: max(self._capacity - len(self._queue), 0)]
        self._dropped += len(frames) - len(taken)
        if taken and not self._queue:
            os.eventfd_write(self._ready, 1)
        self._queue.extend(bytes(frame) for frame in taken)

    def drops(self) -> int:
        """Return how many frames were lost before `recv`: see `Port`."""
        return self._dropped

    def tagged(self) -> int:
        """Return how many frames had a VLAN tag: see `Port`."""
        return self._tagged

    def close(self) -> None:
        """Give the descriptor back: see `Port`."""
        if not self._closed:
            self._closed = True
            os.close(self._ready)


def pair(*, mtu: int = 9001, capacity: int = 4096) -> tuple[MemoryPort, MemoryPort]:
    """Return two joined ends; each holds at most `capacity` frames that nobody has received yet, and drops the rest."""
    a, b = MemoryPort(mtu=mtu, capacity=capacity), MemoryPort(mtu=mtu, capacity=capacity)
    a._peer, b._peer = b, a
    return a, b
