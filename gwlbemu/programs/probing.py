"""Probing the targets of every group of a load balancer, and a log of their states: what keepers share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from gwlbemu.ports.loop import Loop
from gwlbemu.ports.probe import Check, ProbeResult
from gwlbemu.ports.prober import Pace, Probed, Prober


class TargetState(Protocol):
    """What a log tells of a target."""

    @property
    def target_group(self) -> str:
        """The name of its group."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def state(self) -> str:
        """AWS's word for its state."""


class StateLog:
    """Tells every change of a target's state."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._states: dict[tuple[str, str], str] = {}

    def note(self, targets: Sequence[TargetState]) -> None:
        """Tell what has changed since the last call; `targets` are all that are known."""
        states = {(each.target_group, each.id): each.state for each in targets}
        for name in sorted(states.keys() | self._states.keys()):
            before, after = self._states.get(name, "not registered"), states.get(name, "not registered")
            if before != after:
                self._log.info("target %s of %s: %s, was %s", name[1], name[0], after, before)
        self._states = states


G = TypeVar("G")


class GroupProbers(Generic[G]):
    """Probes the targets of groups, each in its own way, from one of `local_ports` of `local_address`.

    `check_of` says how a group is probed and how often; `targets` whom to probe in the group of a name; `report` is
    given the group's name, the target's and the result.
    """

    def __init__(
        self,
        loop: Loop,
        local_address: str,
        local_ports: Sequence[int],
        check_of: Callable[[G], tuple[Check, Pace]],
        targets: Callable[[str], Sequence[Probed]],
        report: Callable[[str, str, ProbeResult], None],
    ) -> None:
        self._loop, self._check_of = loop, check_of
        self._local = local_address, local_ports
        self._targets, self._report = targets, report
        self._probers: dict[str, _GroupProber] = {}

    def follow(self, groups: Mapping[str, G]) -> None:
        """Probe these groups from now on, and begin what is due."""
        checks = {name: self._check_of(group) for name, group in groups.items()}
        for name in list(self._probers):
            if self._probers[name].how != checks.get(name):
                self._probers.pop(name).stop()
        for name, how in checks.items():
            if name not in self._probers:
                report = partial(self._report, name)
                targets = partial(self._targets, name)
                self._probers[name] = _GroupProber(self._loop, how, *self._local, targets, report)
            self._probers[name].refresh()


class _GroupProber:
    """Probes the targets of one group in one way, until it is stopped."""

    def __init__(
        self,
        loop: Loop,
        how: tuple[Check, Pace],
        local_address: str,
        local_ports: Sequence[int],
        targets: Callable[[], Sequence[Probed]],
        report: Callable[[str, ProbeResult], None],
    ) -> None:
        self.how, self._stopped = how, False
        self._prober = Prober(
            loop,
            *how,
            local_address=local_address,
            local_ports=local_ports,
            targets=lambda: [] if self._stopped else targets(),
            report=report,
        )

    def refresh(self) -> None:
        """Begin what is due."""
        self._prober.refresh()

    def stop(self) -> None:
        """Probe no more; what is under way is not told."""
        self._stopped = True
        self._prober.refresh()
