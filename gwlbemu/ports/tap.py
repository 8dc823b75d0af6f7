"""A port that shows every frame to somebody and is otherwise the port it wraps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from gwlbemu.ports.port import Port

Direction = Literal["in", "out"]


class Tap:
    """Give each received frame and each frame given to `send` to `sink`, once, in order."""

    def __init__(self, port: Port, sink: Callable[[Direction, bytes], None]) -> None:
        self._port = port
        self._sink = sink
        self.fileno, self.drops, self.close = port.fileno, port.drops, port.close

    @property
    def mtu(self) -> int:
        return self._port.mtu

    @property
    def unsent(self) -> int:
        return self._port.unsent

    def recv(self) -> list[bytes]:
        frames = self._port.recv()
        for frame in frames:
            self._sink("in", frame)
        return frames

    def send(self, frames: Sequence[bytes]) -> int:
        for frame in frames:
            self._sink("out", frame)
        return self._port.send(frames)
