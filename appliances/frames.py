"""The frame loop: a batch in, one action for every frame, a batch out, everything counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from appliances.action import Action, Answer, Discard, Return
from appliances.tunnel import Received, read, swap, wrap
from gwlbemu.errors import WireError
from gwlbemu.ports.port import Port


class Decide(Protocol):
    """The part of an appliance that thinks; it has no socket and no clock."""

    def __call__(self, received: Received, *, now: float) -> Action: ...


Later = Callable[[float, Callable[[], None]], object]  # instant, what to do then


class FrameLoop:
    """Moves frames between `port` and `decide`.

    received = undecodable + returned + answered + discarded + replaced, at any time.
    """

    def __init__(self, port: Port, decide: Decide, later: Later) -> None:
        self.counters: Counter[str] = Counter()
        self._port = port
        self._decide = decide
        self._later = later

    def move(self, now: float) -> None:
        """Take one batch from the port and do what is decided about each frame."""
        back: list[bytes] = []
        for frame in self._port.recv():
            self.counters["received"] += 1
            try:
                received = read(frame)
            except WireError as error:
                self.counters["undecodable"] += 1
                self.counters[f"undecodable: {_kind(error)}"] += 1
                continue
            self._act(self._decide(received, now=now), received, back, now)
        if back:
            self._port.send(back)

    def status(self) -> dict[str, int]:
        """Return counters of this loop and of the port."""
        return {**self.counters, "kernel drops": self._port.drops(), "unsent": self._port.unsent}

    def _act(self, action: Action, received: Received, back: list[bytes], now: float) -> None:
        match action:
            case Return():
                self.counters["returned"] += 1
                back.append(swap(received.frame))
            case Answer(packet):
                self.counters["answered"] += 1
                back.append(wrap(received, packet))
            case Discard(reason):
                self.counters["discarded"] += 1
                self.counters[f"discarded: {reason}"] += 1
            case _:
                self.counters["replaced"] += 1
                if action.delay > 0:
                    frames = action.frames
                    self._later(now + action.delay, lambda: self._send(frames))
                else:
                    back.extend(action.frames)

    def _send(self, frames: tuple[bytes, ...]) -> None:
        self._port.send(frames)


def _kind(error: WireError) -> str:
    """The error's text without the numbers of this one packet, so that it can be a counter's name."""
    return re.sub(r"0x[0-9a-f]+|[0-9]+", "N", str(error))
