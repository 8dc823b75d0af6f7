"""The requests of a run while it goes on: whom it strikes, when, and what became of each request so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from gwlbemu.lab.client import Client
from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.requests import Outcome, parse_outcomes
from gwlbemu.trials.drill.actions import NodeClocks
from gwlbemu.trials.drill.live import Tell
from gwlbemu.trials.drill.participants import Participants, group_with, instance_of

MARGIN_SECONDS = 0.5  # between what a node says and what its engine has heard
# Requests that are under way when a target is deregistered: answered in time, and not.
SHORT_SECONDS, LONG_SECONDS, SLOW_REQUESTS = 2.0, 12.0, 8
OK = 200


@dataclass(slots=True)
class RequestRun:
    """One run while it goes on. Instants are seconds of the kernel's monotonic clock."""

    lab: RunningLab
    ends: Participants
    event: str
    tell: Tell
    clocks: NodeClocks
    process: Client
    struck: tuple[str, ...] = ()  # targets
    node: str = ""  # whose engine, or whose zone, is lost
    zone: str = ""
    applied_at: float = 0.0
    told_at: float = 0.0  # all nodes know what was asked of them
    found_at: float = 0.0
    undone_at: float = 0.0
    back_at: float = 0.0
    noticed: bool = False
    took_seconds: float = 0.0
    slow: list[tuple[float, Client]] = field(default_factory=list)  # seconds of each request, and who sends them

    def outcomes(self) -> list[Outcome]:
        """Return what became of every request that has ended."""
        return parse_outcomes(self.process.output())

    def names(self) -> set[str]:
        """The struck targets' instances, as their web servers call themselves."""
        subject = self.ends.subject
        return {instance_of(self.lab.plan, group_with(subject.groups, each), each) for each in self.struck}
