"""Who reaches whom: every pair of a lab, or of a file, by the path model; and what was seen of its packets, if any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gwlbemu.topology.plan.ends import listening
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.model import Model, Question
from gwlbemu.views.outcome import Outcome, if_returned

SYMBOLS = {
    "=": "delivered and answered, inspected both ways by the same targets",
    "-": "delivered and answered, not inspected",
    "!": "delivered and answered, inspected in one direction only or by other targets",
    "~": "answered by a load balancer that gets no answer of a target",
    "<": "delivered, and the answer is lost",
    "x": "not delivered",
    "?": "as it is chosen: the ways that are possible end differently",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair: what the model says, each outcome that is possible once, and what was seen (None: nothing was sent)."""

    question: Question
    model: tuple[Outcome, ...]
    seen: Outcome | None = None

    @property
    def symbol(self) -> str:
        """The sign of the matrix: of what was seen, or else of what the model says."""
        told = (self.seen,) if self.seen else [self.model[number] for number in if_returned(self.model)]
        found = {_symbol(one) for one in told}
        return found.pop() if len(found) == 1 else "?"

    @property
    def differs(self) -> bool:
        """Whether what was seen is none of what the model says."""
        return self.seen is not None and _looks(self.seen) not in {_looks(one) for one in self.model}

    @property
    def outcome(self) -> Outcome:
        """What was seen, or else the first that the model says."""
        return self.seen or self.model[if_returned(self.model)[0]]


def questions(plan: Plan, protocol: int, port: int | None) -> Iterator[Question]:
    """Yield every pair of instances that are no appliances, those on the internet among them; and each of them with the
    network and application load balancers that listen at the port.
    """
    plain = [each.name for each in plan.instances if not each.appliance]
    receivers = [*plain, *listening(plan, protocol, port)]
    yield from (Question(one, other, protocol, port) for one in plain for other in receivers if one != other)


def by_model(model: Model, asked: Iterable[Question]) -> Iterator[Pair]:
    """Yield what the model says about each pair."""
    for question in asked:
        yield Pair(question, tuple(dict.fromkeys(model.ask(question).outcomes)))


def _symbol(outcome: Outcome) -> str:
    if outcome.answered and outcome.unserved:
        return "~"
    if outcome.answered:
        return {"same": "=", "none": "-"}.get(outcome.inspected, "!")
    return "<" if outcome.delivered else "x"


def _looks(outcome: Outcome) -> tuple[object, ...]:
    """What packets show of an outcome, whatever they show of a reason."""
    if not outcome.answered:
        return outcome.word, frozenset(outcome.there)
    return outcome.word, frozenset(outcome.there), frozenset(outcome.back), outcome.same_appliance
