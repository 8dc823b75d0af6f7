"""The frame loop: a batch in, one action for every frame, a batch out, everything counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from appliances.action import Action, Answer, Discard, Return
from appliances.tunnel import Received, read, swap, wrap
from gwlbemu.errors import WireError
from gwlbemu.ports.faults import Faults
from gwlbemu.ports.port import Port


class Decide(Protocol):
    """The part of an appliance that thinks; it has no socket and no clock."""

    def __call__(self, received: Received, *, now: float) -> Action: ...


Later = Callable[[float, Callable[[], None]], object]  # instant, what to do then


class FrameLoop:
    """Moves frames between `port` and `decide`.

    received = undecodable + returned + answered + discarded + replaced, at any time. A frame that makes `decide`
    raise is undecodable as well; the exception is noted in `faults`. `more` are counters of the part that thinks.
    """

    def __init__(
        self,
        port: Port,
        decide: Decide,
        later: Later,
        *,
        faults: Faults | None = None,
        more: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._faults = Faults() if faults is None else faults
        self._more = more
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
                self._act(self._decide(received, now=now), received, back, now)
            except WireError as error:
                self._undecodable(_kind(error))
            except Exception as error:
                self._faults.note("a frame", error)
                self._undecodable(f"a fault of the appliance ({type(error).__name__})")
        if back:
            self._port.send(back)

    def status(self) -> dict[str, int]:
        """Return counters of this loop and of the port."""
        return {**self.counters, **self._more(), **port_counters(self._port)}

    def _undecodable(self, why: str) -> None:
        self.counters["undecodable"] += 1
        self.counters[f"undecodable: {why}"] += 1

    def _act(self, action: Action, received: Received, back: list[bytes], now: float) -> None:
        match action:
            case Return():
                back.append(swap(received.frame))
                self.counters["returned"] += 1
            case Answer(packet):
                back.append(wrap(received, packet))
                self.counters["answered"] += 1
            case Discard(reason):
                self.counters["discarded"] += 1
                self.counters[f"discarded: {reason}"] += 1
            case _:
                if action.delay > 0:
                    frames = action.frames
                    self._later(now + action.delay, lambda: self._send(frames))
                else:
                    back.extend(action.frames)
                self.counters["replaced"] += 1

    def _send(self, frames: tuple[bytes, ...]) -> None:
        self._port.send(frames)


def port_counters(port: Port) -> dict[str, int]:
    """Return what a port lost or refused, by the names that a status has for it."""
    return {"kernel drops": port.drops(), "unsent": port.unsent, "tagged": port.tagged()}


def _kind(error: WireError) -> str:
    """The error's text without the numbers of this one packet, so that it can be a counter's name."""
    return re.sub(r"0x[0-9a-f]+|[0-9]+", "N", str(error))
