"""Who reaches whom in a lab that is up, by packets, beside what the path model says of the same packets."""

from __future__ import annotations

from collections.abc import Sequence

from gwlbemu.lab.running import RunningLab
from gwlbemu.trials.probes import observe
from gwlbemu.views.model import Model, Question
from gwlbemu.views.reach import Pair


def by_packets(lab: RunningLab, model: Model, asked: Sequence[Question]) -> list[Pair]:
    """Send a packet for each question and return the pairs, in the same order. Raises what `observe` raises."""
    return [
        Pair(question, tuple(dict.fromkeys(model.ask(question).outcomes)), seen.outcome)
        for question, seen in observe(lab, asked)
    ]
