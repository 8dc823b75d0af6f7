"""What a topology file expects (`expect:`), case by case, and whether it holds: by the path model, or as others saw it.

A case is one pair, one protocol and port. What is left open (which of several targets, a port) must not matter: a case
holds when it holds for every way that is possible.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.errors import SettingError, TopologyError
from gwlbemu.paths.values import Cause
from gwlbemu.topology.file.check_expectations import groups_of
from gwlbemu.topology.file.document import line_of
from gwlbemu.topology.file.expectations import Drop, Expectation
from gwlbemu.topology.file.parse import Parsed
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.explanation import Places
from gwlbemu.views.model import Model, Question
from gwlbemu.views.outcome import SILENT, Lost, Outcome, if_returned
from gwlbemu.wire.protocols import ICMP, TCP, UDP

PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
REASONS = [each.value for each in (*Cause, *Reason) if each is not Cause.OPEN]
MOST_CASES = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of an expectation; `number` is the expectation's in the file, from 0, and `line` where it stands."""

    number: int
    line: int
    expected: Expectation
    sender: str
    receiver: str  # an instance or an address
    port: int | None

    @property
    def protocol(self) -> int:
        """IANA's number of the protocol."""
        return PROTOCOLS[self.expected.protocol]

    def question(self) -> Question:
        """Return what the path model, or a lab, is asked."""
        return Question(self.sender, self.receiver, self.protocol, self.port)

    def __str__(self) -> str:
        port = f" {self.port}" if self.port else ""
        after = f" after {', '.join(self.expected.after)}" if self.expected.after else ""
        return f"{self.sender} -> {self.receiver} {self.expected.protocol}{port}{after}"


@dataclass(frozen=True, slots=True)
class Result:
    """Whether a case holds: what is wrong (none: it holds), and what tells why, line by line.

    `outcome` is what became of the packet, of several possible ways of one that does not hold.
    """

    case: Case
    problems: tuple[str, ...]
    outcome: Outcome
    explained: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether everything is as expected."""
        return not self.problems


def cases_of(parsed: Parsed) -> tuple[Case, ...]:
    """Return every case of a topology's expectations, in the order of the file.

    Raises TopologyError for a reason that no packet is dropped for, and for more than MOST_CASES.
    """
    groups = groups_of(parsed.topology)
    found: list[Case] = []
    for number, expected in enumerate(parsed.topology.expect):
        line = line_of(parsed.lines, ("expect", number))
        for key in ("dropped", "answer_dropped"):
            drop: Drop | None = getattr(expected, key)
            if drop is not None and drop.reason is not None and drop.reason not in REASONS:
                where = f"{parsed.source}:{line}: expect[{number}].{key}.reason"
                raise TopologyError(f"{where}: expected one of {', '.join(REASONS)}; got {drop.reason}")
        for sender in _each(expected.senders, groups):
            for receiver in _each(expected.receivers, groups):
                if sender != receiver:
                    found += [Case(number, line, expected, sender, receiver, port) for port in expected.port or (None,)]
        if len(found) > MOST_CASES:
            raise TopologyError(f"{parsed.source}:{line}: expect[{number}]: more than {MOST_CASES} pairs and ports")
    return tuple(found)


def _each(names: Sequence[str], groups: dict[str, tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(each for name in names for each in groups.get(name, (name,))))


def judge(expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Yield how an outcome differs from what is expected, a sentence each."""
    if expected.is_delivered and not outcome.answered:
        yield outcome.sentence
    elif expected.delivered is False and outcome.delivered:
        yield "delivered, and expected not to be"
    elif expected.dropped is not None:
        yield from _not_dropped(expected.dropped, outcome.lost, "the packet", "delivered")
    elif expected.answer_dropped is not None:
        if outcome.lost is not None:
            yield outcome.sentence
        else:
            yield from _not_dropped(expected.answer_dropped, outcome.answer_lost, "the answer", "answered")
    if expected.inspected_by is not None:
        wanted = set(expected.inspected_by)
        if set(outcome.there) != wanted:
            yield f"inspected by {_listed(outcome.there)} on the way there, expected {_listed(expected.inspected_by)}"
        if outcome.answered and set(outcome.back) != wanted:
            yield f"inspected by {_listed(outcome.back)} on the way back, expected {_listed(expected.inspected_by)}"
    if expected.same_appliance is not None and outcome.answered and outcome.same_appliance != expected.same_appliance:
        yield "the answer met the same targets" if outcome.same_appliance else "the answer met other targets"


def _not_dropped(expected: Drop, lost: Lost | None, what: str, otherwise: str) -> Iterator[str]:
    if lost is None:
        yield f"{otherwise}, and expected to be dropped" + (f" by {expected.by}" if expected.by else "")
        return
    seen = f"{lost.sentence} [{lost.reason}]" if lost.reason else lost.sentence
    if expected.by is not None and expected.by not in lost.names:
        yield f"{what} was lost at {lost.names[0]}, expected {expected.by}: {seen}"
    if (
        expected.reason is not None
        and lost.reason != expected.reason
        and (lost.reason or expected.reason not in SILENT)
    ):
        yield f"{what} was lost for {lost.reason or 'no reason that shows'}, expected {expected.reason}: {seen}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"


def judge_by_model(parsed: Parsed, plan: Plan, cases: Sequence[Case] | None = None) -> Iterator[Result]:
    """Yield, for each case of a file (or for these), whether it holds by the path model. Raises TopologyError."""
    now = Model(plan, places=Places(parsed.source, parsed.lines))
    models: dict[tuple[str, ...], Model] = {}
    for case in cases_of(parsed) if cases is None else cases:
        began = time.monotonic()
        changes = case.expected.after
        if changes not in models:
            models[changes] = supposed(now, parsed, case)
        yield _by_model(models[changes], case, began)


def supposed(model: Model, parsed: Parsed, case: Case) -> Model:
    """Return the model after the changes of a case. Raises TopologyError for one that would be refused."""
    try:
        return model.after(case.expected.after)
    except SettingError as error:
        raise TopologyError(f"{parsed.source}:{case.line}: expect[{case.number}].after: {error}") from None


def _by_model(model: Model, case: Case, began: float) -> Result:
    said = model.ask(case.question())
    ways = if_returned(said.outcomes)
    wrong = {number: told for number in ways if (told := tuple(judge(case.expected, said.outcomes[number])))}
    if not wrong:
        return Result(case, (), said.outcomes[ways[0]], (), time.monotonic() - began)
    number, problems = next(iter(wrong.items()))
    if len(ways) > 1:
        problems = tuple(f"in {len(wrong)} of {len(ways)} ways that are possible: {each}" for each in problems)
    explained = model.explained(said, number)
    return Result(case, problems, said.outcomes[number], explained, time.monotonic() - began)
