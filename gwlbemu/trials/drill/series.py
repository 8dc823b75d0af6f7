"""A series of drills, one per event and policy, in a running lab or in one of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.up import up
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill.actions import put_policy_back, set_policy
from gwlbemu.trials.drill.drill import run
from gwlbemu.trials.drill.participants import NotPossible, Participants, choose_participants
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.views.waiting import wait_until_healthy

HEALTHY_SECONDS = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to drill: each of `events` under each of `policies`, with `flows` connections.

    `source` and `destinations` are instances or addresses; without them ends are chosen that can talk. `port` is the
    TCP port of the web servers.
    """

    events: Sequence[str]
    policies: Sequence[str]
    flows: int = 12
    source: str | None = None
    destinations: Sequence[str] = ()
    port: int = 80


def drill_file(plan: Plan, options: Options, tell: Tell = lambda _: None) -> list[RunReport]:
    """Bring up a lab, drill in it, take it down. Raises what `up` raises."""
    lab = up(dataclasses.replace(plan, capture=dataclasses.replace(plan.capture, enabled=False)))
    try:
        if troubles := wait_until_healthy(lab, HEALTHY_SECONDS):
            raise LabError(f"lab {plan.lab} is not well: {'; '.join(troubles)}")
        return _drill(lab, options, tell)
    finally:
        down(plan.lab)


def drill_running(name: str | None, options: Options, tell: Tell = lambda _: None) -> list[RunReport]:
    """Drill in a lab that is up, and put back what that changed."""
    return _drill(open_lab(name), options, tell)


def _drill(lab: RunningLab, options: Options, tell: Tell) -> list[RunReport]:
    ends = choose_participants(lab, options.source, options.destinations, options.port)
    original = lab.plan
    try:
        return [
            _one(lab, original, ends, options, tell, event=event, policy=policy)
            for event in options.events
            for policy in options.policies
        ]
    finally:
        put_policy_back(lab, original)


def _one(
    lab: RunningLab, original: Plan, ends: Participants, options: Options, tell: Tell, *, event: str, policy: str
) -> RunReport:
    """One drill; what AWS refuses or the topology cannot do is a report too, not the end of the series."""
    tell(f"{event}, {policy} ...")
    put_policy_back(lab, original)
    try:
        set_policy(lab, original, policy)
        now = open_lab(original.lab, root=lab.state.root)
        return run(now, ends, event, policy, flows=options.flows, port=options.port)
    except (SettingError, NotPossible) as error:
        return RunReport(event, policy, impossible=str(error))
