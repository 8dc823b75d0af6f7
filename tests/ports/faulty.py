"""A port on a bad line: loses, repeats and swaps frames, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gwlbemu.ports.port import Port


class Faulty:
    """Wrap `port`; each probability (0 to 1) applies to every frame, in both directions.

    A swapped frame waits for the next frame of its direction and follows it.
    """

    def __init__(
        self, port: Port, *, seed: int, drop: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0
    ) -> None:
        self._port = port
        self._inward = _Line(random.Random(f"{seed} in"), drop, duplicate, reorder)
        self._outward = _Line(random.Random(f"{seed} out"), drop, duplicate, reorder)
        self.fileno, self.drops, self.close = port.fileno, port.drops, port.close
        self.tagged = port.tagged

    @property
    def mtu(self) -> int:
        return self._port.mtu

    @property
    def unsent(self) -> int:
        return self._port.unsent

    def recv(self) -> list[bytes]:
        return self._inward.carry(self._port.recv())

    def send(self, frames: Sequence[bytes]) -> int:
        before = self._port.unsent
        self._port.send(self._outward.carry(frames))
        return max(len(frames) - (self._port.unsent - before), 0)


class _Line:
    def __init__(self, randomness: random.Random, drop: float, duplicate: float, reorder: float) -> None:
        self._random = randomness.random
        self._drop, self._duplicate, self._reorder = drop, duplicate, reorder
        self._waiting: list[bytes] = []

    def carry(self, frames: Sequence[bytes]) -> list[bytes]:
        carried: list[bytes] = []
        for frame in frames:
            if self._random() < self._drop:
                continue
            copies = 2 if self._random() < self._duplicate else 1
            if not self._waiting and self._random() < self._reorder:
                self._waiting = [frame] * copies
            else:
                carried += [frame] * copies + self._waiting
                self._waiting = []
        return carried
