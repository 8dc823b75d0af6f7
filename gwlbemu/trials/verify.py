"""What a topology file expects, judged by packets: in a lab of its own, or in one that is up.

What happens `after` something happens in the lab: the changes are made by the verbs of the command line, waited for
until every target that the path model says has changed is in its new state, and put back afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby

from gwlbemu.errors import LabError
from gwlbemu.lab import change, failure
from gwlbemu.lab.planned import group_named
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.lab.up import OnStep
from gwlbemu.paths.values import States
from gwlbemu.topology.file.changes import Change, read_change
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.trials.own_lab import own_lab
from gwlbemu.trials.probes import observe
from gwlbemu.views.attributes import AttributeSetting, read_attributes
from gwlbemu.views.expectations import Case, Result, cases_of, judge, judge_by_model, supposed
from gwlbemu.views.explanation import Places
from gwlbemu.views.model import Model
from gwlbemu.views.reach import Pair
from gwlbemu.views.states import present_states
from gwlbemu.views.targets import read_targets

MARGIN = 60.0  # seconds beyond what health checks need by their settings
POLL = 0.05
GONE = ("draining", "unused", "")  # what a target is after it was deregistered

Key = tuple[str, ...]  # a node, the id of a target, and before that, of a network load balancer's, its group


class Expectations:
    """What a topology file expects (`expect:`), and whether it holds.

    `topology` is a path or the name of a topology that comes with gwlbemu. Raises TopologyError for a file that is
    wrong. `cases` has one entry for each pair, protocol and port, as text "client -> web-a tcp 80".
    """

    def __init__(self, topology: str | os.PathLike[str]) -> None:
        self._parsed = parse(*read_topology(topology))
        self.cases = cases_of(self._parsed)
        self.lab = self._parsed.topology.lab  # the lab's name in the file

    def judge(
        self, cases: Sequence[Case] | None = None, *, by_packets: bool = False, name: str | None = None
    ) -> list[Result]:
        """Judge all cases, or these, by the path model, or by packets in a lab that lives as long as that takes.

        The results come in the order in which they were judged: by packets those without `after` first. `name` is the
        lab's. Raises what `judge_in_a_lab` raises.
        """
        if by_packets:
            return [*judge_in_a_lab(self._parsed, cases, name=name)]
        return [*judge_by_model(self._parsed, resolve(self._parsed), cases)]


def judge_in_a_lab(
    parsed: Parsed, cases: Sequence[Case] | None = None, *, name: str | None = None, on_step: OnStep = lambda _: None
) -> Iterator[Result]:
    """Bring up a lab of a file, yield whether each of its cases (or these) holds, and take it down.

    The lab is called `name`, or like the file's with `-test` behind it; `on_step` is told what takes a while.
    Raises TopologyError, NetError without root, LabError when the lab is not well or a change is not noticed.
    """
    chosen = cases_of(parsed) if cases is None else cases  # what is wrong with the file is told before there is a lab
    on_step("bring up a lab")
    plan = resolve(parsed, lab=name or f"{parsed.topology.lab[:27]}-test")
    with own_lab(replace(plan, shortcuts=False)) as lab:  # kernels route every packet: each is seen where it is
        yield from judge_by_packets(lab, parsed, chosen, goes=True, on_step=on_step)


def judge_by_packets(
    lab: RunningLab, parsed: Parsed, cases: Sequence[Case], *, goes: bool = False, on_step: OnStep = lambda _: None
) -> Iterator[Result]:
    """Yield whether cases of a file hold in a lab of that file, those without `after` first.

    What was changed is put back, unless the lab `goes` anyway. Raises what `judge_in_a_lab` does; then, too, what was
    changed is put back, and not waited for.
    """
    cases = sorted(cases, key=lambda case: case.expected.after)
    model = _model(lab, parsed)
    groups = [(changes, list(group)) for changes, group in groupby(cases, key=lambda case: case.expected.after)]
    for _, group in groups:  # a change that would be refused is told before the first one is made
        supposed(model, parsed, group[0])
    for number, (changes, group) in enumerate(groups, 1):
        if changes:
            on_step(f"{', '.join(changes)}, until the targets have noticed")
        with ExitStack() as undo:
            before = _make_all(lab, model, changes, undo)
            yield from _judged(lab, parsed, group)
            if goes and number == len(groups):
                undo.pop_all()
        if changes and not (goes and number == len(groups)):
            on_step(f"put back: {', '.join(changes)}, until the targets are as they were")
            _wait(lab, before, f"the targets to be as they were before {', '.join(changes)}")


def _judged(lab: RunningLab, parsed: Parsed, cases: list[Case]) -> Iterator[Result]:
    model = _model(lab, parsed)
    began = time.monotonic()
    for case, (question, seen) in zip(cases, observe(lab, [case.question() for case in cases]), strict=True):
        now = time.monotonic()
        problems = tuple(judge(case.expected, seen.outcome))
        explained: list[str] = []
        if problems:
            said = model.ask(question)
            pair = Pair(question, said.outcomes, seen.outcome)
            explained = ["seen:", *(f"  {line}" for line in seen.journey), f"  = {seen.outcome.sentence}"]
            explained += ["the path model says otherwise:" if pair.differs else "explain says:"]
            explained += [f"  {line}" for line in model.explained(said, 0)]
        yield Result(case, problems, seen.outcome, tuple(explained), now - began)
        began = time.monotonic()


def _model(lab: RunningLab, parsed: Parsed) -> Model:
    plan, states, _ = present_states(lab)
    return Model(plan, states, Places(parsed.source, parsed.lines))


# ---- changes ----
def _make_all(lab: RunningLab, model: Model, changes: tuple[str, ...], undo: ExitStack) -> dict[Key, str]:
    """Make changes, `undo` being told how they are put back, and wait until they are noticed; return the targets'
    states before.
    """
    before = _states(lab)
    if changes:
        for text in changes:
            undo.callback(_make(lab, read_change(text)))
        known, after = _known(model.states), _known(model.after(changes).states)
        changed = {key: state for key, state in after.items() if known.get(key) != state}
        _wait(lab, changed, f"the targets to notice {', '.join(changes)}")
    return before


def _make(lab: RunningLab, made: Change) -> Callable[[], object]:
    """Make a change; return what puts it back."""
    plan = read_plan(lab.state)
    first, second = made.arguments[0], made.arguments[1]
    if made.verb in ("fail", "heal"):
        was_broken = (first, second) in failure.failures(lab)
        (failure.fail if made.verb == "fail" else failure.heal)(lab, first, second)
        if was_broken == (made.verb == "fail"):
            return lambda: None
        return lambda: (failure.heal if made.verb == "fail" else failure.fail)(lab, first, second)
    if made.verb == "set":
        old = [each for each in read_attributes(plan, first) if each.key in made.values]
        change.set_attributes(lab, first, made.values)
        return lambda: _set_back(lab, old)
    target = next((each for each in group_named(plan, first).targets if each.id == second), None)
    if made.verb == "register":
        change.register(lab, first, second)
        return (lambda: None) if target else (lambda: change.deregister(lab, first, second))
    change.deregister(lab, first, second)
    is_address = target is not None and target.id == target.address
    zone = target.zone if target is not None and is_address and target.zone == "all" else None
    return (lambda: change.register(lab, first, second, zone)) if target else (lambda: None)


def _set_back(lab: RunningLab, old: Iterable[AttributeSetting]) -> None:
    """Give every resource its attributes again at once: listeners of one load balancer may differ."""
    by_resource: dict[tuple[str, str], dict[str, str]] = {}
    for each in old:
        by_resource.setdefault((each.resource, each.kind), {})[each.key] = each.value
    for (resource, _), values in by_resource.items():
        change.set_attributes(lab, resource, values)


def _states(lab: RunningLab) -> dict[Key, str]:
    gateways = {node.name for node in lab.plan.gateway_nodes}
    return {
        (each.node, each.id) if each.node in gateways else (each.node, each.target_group, each.id): each.state
        for each in read_targets(lab).items
    }


def _known(states: States) -> dict[Key, str]:
    gateways: dict[Key, str] = {(*key,): state for key, state in states.targets.items()}
    return gateways | {(*key,): state for key, state in states.members.items()}


def _wait(lab: RunningLab, wanted: dict[Key, str], what: str) -> None:
    """Wait until targets are in these states, as long as health checks may need. Raises LabError."""
    checks = [group.health_check for group in lab.plan.target_groups]
    needed = max(
        (
            max(each.healthy_threshold_count, each.unhealthy_threshold_count)
            * (each.interval_seconds + each.timeout_seconds)
            for each in checks
        ),
        default=0,
    )
    give_up_at = time.monotonic() + needed + MARGIN
    while True:
        now = _states(lab)
        known = {key[1:] for key in now}  # a node names those of its zone alone, unless cross-zone is on
        missing = {
            key: state
            for key, state in wanted.items()
            if now.get(key, state if key[1:] in known else "") != state
            and not (state == "draining" and now.get(key, "") in GONE)
        }
        if not missing:
            return
        if time.monotonic() > give_up_at:
            told = ", ".join(f"{key[-1]} is {now.get(key, 'gone')} for {key[0]}" for key in missing)
            raise LabError(f"waited {needed + MARGIN:g} s for {what}: {told}")
        time.sleep(POLL)
