"""A series of drills, one per event and policy, in a running lab or in one of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gwlbemu.errors import SettingError
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill.actions import put_policy_back, set_policy
from gwlbemu.trials.drill.drill import Tell, run
from gwlbemu.trials.drill.participants import NotPossible, choose_participants, healthy_by_node, healthy_in, why_not
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.own_lab import own_lab


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
    """Bring up a lab, drill in it, take it down; no lab when nothing of it is possible. Raises what `up` raises."""
    impossible = _check(plan, options, healthy_in(plan))
    if impossible.keys() >= set(options.events):
        return _refusals(options, impossible)
    tell(f"bringing up lab {plan.lab}")
    with own_lab(plan) as lab:
        return _drill(lab, options, tell, impossible)


def drill_running(name: str | None, options: Options, tell: Tell = lambda _: None) -> list[RunReport]:
    """Drill in a lab that is up, and put back what that changed."""
    lab = open_lab(name)
    impossible = _check(lab.plan, options, healthy_by_node(lab))
    if impossible.keys() >= set(options.events):
        return _refusals(options, impossible)
    return _drill(lab, options, tell, impossible)


def _check(plan: Plan, options: Options, healthy: Mapping[str, set[str]]) -> dict[str, str]:
    """Return which of the events cannot be, and why, as far as it can be told before anything is sent.

    Raises UnknownNameError for ends that are not there.
    """
    return {
        event: why
        for event in options.events
        if (why := why_not(plan, event, options.source, options.destinations, healthy))
    }


def _refusals(options: Options, impossible: Mapping[str, str]) -> list[RunReport]:
    return [
        RunReport(event, policy, impossible=impossible[event])
        for event in options.events
        for policy in options.policies
    ]


def _drill(lab: RunningLab, options: Options, tell: Tell, impossible: dict[str, str]) -> list[RunReport]:
    ends = choose_participants(lab, options.source, options.destinations, options.port)
    original = lab.plan
    runs = [(event, policy) for event in options.events for policy in options.policies]
    found: list[RunReport] = []
    try:
        for number, (event, policy) in enumerate(runs, 1):
            if event in impossible:
                found.append(RunReport(event, policy, impossible=impossible[event]))
                continue
            title = f"{event}, {policy} ({number} of {len(runs)})"
            try:
                put_policy_back(lab, original)
                set_policy(lab, original, policy)
                now = open_lab(original.lab, root=lab.state.root)
                found.append(
                    run(now, ends, event, policy, flows=options.flows, port=options.port, tell=_titled(tell, title))
                )
            except SettingError as error:  # what AWS refuses is a report, too, not the end of the series
                found.append(RunReport(event, policy, impossible=str(error)))
            except NotPossible as error:  # what the topology cannot do, whatever the policy
                alike = [each for each in options.events if (each == "zone") == (event == "zone")]
                impossible |= dict.fromkeys(alike, str(error))
                found.append(RunReport(event, policy, impossible=str(error)))
        return found
    finally:
        put_policy_back(lab, original)


def _titled(tell: Tell, title: str) -> Tell:
    return lambda text: tell(f"{title}: {text}")
