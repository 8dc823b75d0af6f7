"""When to probe whom: every target at the group's interval, one that is still `initial` faster, never two at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from gwlbemu.ports.loop import Loop
from gwlbemu.ports.probe import ANY_PORT, INTERNAL_ERROR, Check, ProbeResult, probe


class Probed(Protocol):
    """What the prober wants to know of a target."""

    @property
    def id(self) -> str:
        """The target's name, as `report` is given it."""

    @property
    def address(self) -> bytes:
        """Its IPv4 address, 4 bytes."""

    @property
    def port(self) -> int:
        """Where it is probed by a check whose port is 0."""

    @property
    def initial(self) -> bool:
        """Whether its state is still `initial`."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds from the start of one probe to the start of the next; `initial_interval` None means the same for all."""

    interval: float
    initial_interval: float | None


class Prober:
    """Probe the targets that `targets()` names from `local_address` and one of `local_ports`, and give each result to
    `report(id, result)`.

    `refresh` must be called when the set of targets or a state may have changed (after `report` it happens by itself).
    """

    def __init__(
        self,
        loop: Loop,
        check: Check,
        pace: Pace,
        *,
        local_address: str,
        local_ports: Sequence[int] = ANY_PORT,
        targets: Callable[[], Sequence[Probed]],
        report: Callable[[str, ProbeResult], None],
    ) -> None:
        self._loop, self._check, self._pace = loop, check, pace
        self._local, self._local_ports = local_address, local_ports
        self._targets, self._report = targets, report
        self._next_at: dict[str, float] = {}
        self._busy: set[str] = set()
        self._wakes: set[float] = set()  # the instants for which a timer is set

    def refresh(self) -> None:
        """Start what is due now and come back when the next one is."""
        now = self._loop.now
        targets = {target.id: target for target in self._targets()}
        self._next_at = {name: self._next_at.get(name, now) for name in targets}
        for name, target in targets.items():
            if self._next_at[name] <= now and name not in self._busy:
                self._start(target, now)
        waiting = [at for name, at in self._next_at.items() if name not in self._busy]
        if waiting:
            self._wake(min(waiting))

    def _start(self, target: Probed, now: float) -> None:
        fast = self._pace.initial_interval if target.initial else None
        self._next_at[target.id] = now + (self._pace.interval if fast is None else fast)
        self._busy.add(target.id)
        self._loop.start(self._run(target))

    async def _run(self, target: Probed) -> None:
        try:
            check = self._check if self._check.port else replace(self._check, port=target.port)
            address = ".".join(map(str, target.address))
            result = await probe(address, check, local_address=self._local, local_ports=self._local_ports)
        except Exception as error:  # a bug; the target is not told healthy by it, and is probed again
            self._loop.faults.note("a health check", error)
            words = f"Health checks failed due to an internal error: {type(error).__name__}"
            result = ProbeResult(False, INTERNAL_ERROR, words)
        finally:
            self._busy.discard(target.id)
        try:
            if target.id in self._next_at:
                self._report(target.id, result)
        finally:
            self.refresh()

    def _wake(self, at: float) -> None:
        if at < min(self._wakes, default=math.inf):
            self._wakes.add(at)
            self._loop.call_at(at, partial(self._woken, at))

    def _woken(self, at: float) -> None:
        self._wakes.discard(at)
        self.refresh()
