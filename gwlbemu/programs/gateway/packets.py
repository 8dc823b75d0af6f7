"""A node's packets: frames in, judged, frames out, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gwlbemu.core.gateway.judged import Judged
from gwlbemu.ports.faults import Faults
from gwlbemu.ports.loop import Clock
from gwlbemu.ports.port import Port
from gwlbemu.programs.discards import Discards


class FrameJudge(Protocol):
    """What says where frames go: the core, or a trace around it."""

    def receive_frames(self, endpoint: int, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge a batch of Ethernet frames from an endpoint, in order; `now` in seconds of the loop's clock."""

    def receive_returned_frames(self, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge a batch of Ethernet frames that arrived at the ENI, in order."""


@dataclass(slots=True)
class Side:
    """A port with what the node knows of it."""

    name: str
    port: Port
    frames_in: int = 0
    verdicts: int = 0
    frames_out: int = 0

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames, if there are any."""
        if frames:
            self.frames_out += self.port.send(frames)


class Packets:
    """Moves packets between the endpoints and the ENI as `judge` says: the core, for a while a trace.

    `after_batch` is called after every batch. A batch whose judging raises is lost and noted in `faults`; the core
    itself raises for no packet (see `Balancer.take_faults`).
    """

    def __init__(
        self,
        endpoints: dict[int, Side],
        eni: Side,
        clock: Clock,
        discards: Discards,
        judge: FrameJudge,
        *,
        after_batch: Callable[[], None],
        faults: Faults | None = None,
    ) -> None:
        self.endpoints, self.eni = endpoints, eni
        self.judge = judge
        self._faults = Faults() if faults is None else faults
        self._clock, self._discards, self._after_batch = clock, discards, after_batch

    def endpoint_reader(self, endpoint: int) -> Callable[[], None]:
        """Return the reader of one endpoint's port: one batch per call."""
        side = self.endpoints[endpoint]

        def read() -> None:
            frames = side.port.recv()
            side.frames_in += len(frames)
            try:
                judged = self.judge.receive_frames(endpoint, frames, now=self._clock.now)
            except Exception as error:
                self._faults.note(f"packets of {side.name}", error)
                return
            side.verdicts += len(judged)
            self._follow(judged, side)

        return read

    def read_eni(self) -> None:
        """Read one batch of what came back from the targets."""
        frames = self.eni.port.recv()
        self.eni.frames_in += len(frames)
        try:
            judged = self.judge.receive_returned_frames(frames, now=self._clock.now)
        except Exception as error:
            self._faults.note(f"packets of {self.eni.name}", error)
            return
        self.eni.verdicts += len(judged)
        self._follow(judged, self.eni)

    def _follow(self, judged: Judged, came_from: Side) -> None:
        for frame, reason in judged.dropped:
            self._discards.tell(frame, f"dropped at {came_from.name}: {reason.value}")
        self.eni.send(judged.to_targets)
        for endpoint, frames in judged.to_endpoints.items():
            self.endpoints[endpoint].send(frames)
        self._after_batch()
