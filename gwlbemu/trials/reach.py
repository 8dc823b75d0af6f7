"""Who reaches whom in a lab that is up, by packets, beside what the path model says of the same packets."""

from __future__ import annotations

from collections.abc import Sequence

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.probes import observe
from gwlbemu.views.model import Model, Question
from gwlbemu.views.reach import Pair
from gwlbemu.views.states import present_states


def by_packets(lab: RunningLab, asked: Sequence[Question]) -> list[Pair]:
    """Send a packet for each question and return the pairs, in the same order. Raises what `observe` raises."""
    found: dict[Question, Pair] = {}
    for some in _rounds(lab.plan, asked):
        plan, states, _ = present_states(lab)
        model = Model(plan, states)
        for question, (sent, seen) in zip(some, observe(lab, some), strict=True):
            found[question] = Pair(sent, tuple(dict.fromkeys(model.ask(sent).outcomes)), seen.outcome)
    return [found[question] for question in asked]


def _rounds(plan: Plan, asked: Sequence[Question]) -> list[list[Question]]:
    """The questions by the states that the model is asked in: all at once, unless the flow of one packet carries that
    of another, as stickiness without ports has it; then no two between the same ends at the same time.
    """
    if not any(group.attributes.get("stickiness.enabled") == "true" for group in plan.target_groups):
        return [list(asked)]
    rounds: list[list[Question]] = []
    ends: list[set[frozenset[str]]] = []
    for question in asked:
        mine = frozenset((question.sender, question.receiver))
        number = next((number for number, taken in enumerate(ends) if mine not in taken), len(rounds))
        if number == len(rounds):
            rounds.append([])
            ends.append(set())
        rounds[number].append(question)
        ends[number].add(mine)
    return rounds
