"""A series of drills, one per event and policy, in a running lab or in one of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gwlbemu.errors import SettingError
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill.actions import put_policy_back, set_policy
from gwlbemu.trials.drill.application import drill_requests
from gwlbemu.trials.drill.choice import chosen_subject
from gwlbemu.trials.drill.drill import run
from gwlbemu.trials.drill.live import Tell
from gwlbemu.trials.drill.outcome import (
    APPLICATION_EVENTS,
    APPLICATION_POLICIES,
    ENGINE,
    EVENTS,
    NETWORK_EVENTS,
    NETWORK_POLICIES,
    POLICIES,
)
from gwlbemu.trials.drill.participants import NotPossible, choose_participants, healthy_by_node, healthy_in, why_not
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.drill.subject import APPLICATION, GATEWAY, NETWORK, Subject
from gwlbemu.trials.own_lab import own_lab


@dataclass(frozen=True, slots=True)
class Options:
    """What to drill: each of `events` under each of `policies` (none: all there are), with `flows` connections.

    `source` and `destinations` are instances or addresses; without them ends are chosen that can talk. A destination
    that is a network load balancer is drilled itself. `port` is the TCP port of the web servers (None: 80), or of the
    network load balancer's listener (None: its first).
    """

    events: Sequence[str] = ()
    policies: Sequence[str] = ()
    flows: int = 12
    source: str | None = None
    destinations: Sequence[str] = ()
    port: int | None = None

    def about(self, subject: Subject) -> Options:
        """Return the same with every event and policy of the subject's type where none is named."""
        events, policies = _KNOWN[subject.type]
        return replace(self, events=self.events or events, policies=self.policies or policies)


# Events and policies by type of load balancer.
_KNOWN = {
    GATEWAY: (EVENTS, POLICIES),
    NETWORK: (NETWORK_EVENTS, NETWORK_POLICIES),
    APPLICATION: (APPLICATION_EVENTS, APPLICATION_POLICIES),
}


def drill_file(plan: Plan, options: Options, tell: Tell = lambda _: None) -> list[RunReport]:
    """Bring up a lab, drill in it, take it down; no lab when nothing of it is possible. Raises what `up` raises."""
    subject = chosen_subject(plan, options.source, options.destinations, options.port)
    options = options.about(subject)
    impossible = _check(plan, subject, options, healthy_in(plan, subject))
    if impossible.keys() >= _runs(options):
        return _refusals(options, impossible)
    tell(f"bringing up lab {plan.lab}")
    with own_lab(plan) as lab:
        return _drill(lab, subject, options, tell, impossible)


def drill_running(name: str | None, options: Options, tell: Tell = lambda _: None) -> list[RunReport]:
    """Drill in a lab that is up, and put back what that changed."""
    lab = open_lab(name)
    subject = chosen_subject(lab.plan, options.source, options.destinations, options.port)
    options = options.about(subject)
    impossible = _check(lab.plan, subject, options, healthy_by_node(lab, subject))
    if impossible.keys() >= _runs(options):
        return _refusals(options, impossible)
    return _drill(lab, subject, options, tell, impossible)


def _runs(options: Options) -> set[tuple[str, str]]:
    return {(event, policy) for event in options.events for policy in options.policies}


def _check(
    plan: Plan, subject: Subject, options: Options, healthy: Mapping[str, set[str]]
) -> dict[tuple[str, str], str]:
    """Return which of the runs cannot be, and why, as far as it can be told before anything is sent.

    Raises UnknownNameError for ends that are not there.
    """
    _, known = _KNOWN[subject.type]
    found = {}
    for event in options.events:
        why = why_not(plan, subject, event, options.source, options.destinations, healthy)
        for policy in options.policies:
            other = "" if policy in known else f"a policy of {subject.type} load balancers is {' or '.join(known)}"
            if other and subject.is_application:
                other = "an application load balancer is drilled without a policy"
            if why or other:
                found[event, policy] = why or other
    return found


def _refusals(options: Options, impossible: Mapping[tuple[str, str], str]) -> list[RunReport]:
    return [
        RunReport(event, policy, impossible=impossible[event, policy])
        for event in options.events
        for policy in options.policies
    ]


def _drill(
    lab: RunningLab, subject: Subject, options: Options, tell: Tell, impossible: dict[tuple[str, str], str]
) -> list[RunReport]:
    ends = choose_participants(lab, subject, options.source, options.destinations)
    original = lab.plan
    runs = [(event, policy) for event in options.events for policy in options.policies]
    found: list[RunReport] = []
    try:
        for number, (event, policy) in enumerate(runs, 1):
            if (event, policy) in impossible:
                found.append(RunReport(event, policy, impossible=impossible[event, policy]))
                continue
            title = f"{', '.join(filter(None, (event, policy)))} ({number} of {len(runs)})"
            try:
                put_policy_back(lab, subject)
                set_policy(lab, subject, policy)
                now = open_lab(original.lab, root=lab.state.root)
                told = _titled(tell, title)
                if subject.is_application:
                    found.append(drill_requests(now, ends, event, connections=options.flows, tell=told))
                else:
                    found.append(run(now, ends, event, policy, flows=options.flows, tell=told))
            except SettingError as error:  # what AWS refuses is a report, too, not the end of the series
                found.append(RunReport(event, policy, impossible=str(error)))
            except NotPossible as error:  # what the topology cannot do, whatever the policy
                alike = [
                    each
                    for each in runs
                    if (each[0] == "zone") == (event == "zone") and each[0] not in ("tables", ENGINE)
                ]
                impossible |= dict.fromkeys(alike, str(error))
                found.append(RunReport(event, policy, impossible=str(error)))
        return found
    finally:
        put_policy_back(lab, subject)


def _titled(tell: Tell, title: str) -> Tell:
    return lambda text: tell(f"{title}: {text}")
