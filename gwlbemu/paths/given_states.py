"""The states of targets that are given, told to a core as if its node had found them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from gwlbemu.core.application import settings as application
from gwlbemu.core.network import settings as network
from gwlbemu.paths.values import States

NOW = 1.0
_PROBED = {"healthy": True, "unhealthy": False, "unhealthy.draining": False}
G = TypeVar("G", application.Group, network.Group)


class _Core(Protocol):
    def observe(self, group: str, target: str, ok: bool, now: float, /) -> None: ...


def decided_at_once(groups: Iterable[G]) -> tuple[G, ...]:
    """Return the groups as ones of which one probe result decides: states are given and not found out."""
    found = []
    for group in groups:
        check = replace(group.health_check, healthy_threshold_count=1, unhealthy_threshold_count=1)
        found.append(replace(group, health_check=check))
    return tuple(found)


def observe(core: _Core, groups: Iterable[G], node: str, states: States) -> None:
    """Tell the core of a node what is so; a target of which nothing is given is healthy."""
    for group in groups:
        for target in group.targets:
            state = states.members.get((node, group.name, target.id), "healthy")
            if state in _PROBED:
                core.observe(group.name, target.id, _PROBED[state], NOW)
