"""The path model of a lab, or of a file, asked for one pair after the other."""

from __future__ import annotations

from dataclasses import dataclass

from gwlbemu.errors import SettingError
from gwlbemu.paths.answer import expected_answers
from gwlbemu.paths.values import Exchange, Packet, States
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.explanation import Places, explanation
from gwlbemu.views.outcome import Outcome, outcome_of
from gwlbemu.views.suppose import suppose
from gwlbemu.wire.protocols import TCP

NO_PLACES = Places()
_MOST_KEPT = 1024  # answers


@dataclass(frozen=True, slots=True)
class Question:
    """Which packet: from an instance to an instance or an address; `port` is None where the protocol has none.

    A `source_port` of None is left open.
    """

    sender: str
    receiver: str
    protocol: int
    port: int | None = None
    source_port: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What the model says: every way that is possible, and its outcome; `possible` is empty where ends cannot talk."""

    possible: tuple[Exchange, ...]
    outcomes: tuple[Outcome, ...]


class Model:
    """The path model in some states."""

    def __init__(self, plan: Plan, states: States | None = None, places: Places = NO_PLACES) -> None:
        self.plan, self.states, self._places = plan, States() if states is None else states, places
        self._paths = Paths(plan)
        self._said: dict[Question, Said] = {}

    def after(self, changes: tuple[str, ...]) -> Model:
        """Return the model after changes such as "fail zone a". Raises SettingError for one that would be refused."""
        plan, states = self.plan, self.states
        for text in changes:
            plan, states = suppose(plan, states, text)
        return Model(plan, states, self._places)

    def ask(self, asked: Question) -> Said:
        """Return what becomes of a packet and its answer. Raises UnknownNameError for an instance that is not there."""
        found = self._said.get(asked)  # expectations ask the same again and again
        if found is None:
            if len(self._said) >= _MOST_KEPT:
                self._said.clear()
            found = self._said[asked] = self._answer(asked)
        return found

    def _answer(self, asked: Question) -> Said:
        packet = Packet(
            asked.sender, asked.receiver, asked.protocol, asked.source_port, asked.port, df=asked.protocol == TCP
        )
        try:
            found = exchange(self._paths, packet, self.states, expected_answers(self.plan))
        except SettingError as error:
            return Said((), (Outcome.never_sent(asked.sender, str(error)),))
        return Said(found.possible, tuple(outcome_of(self.plan, one) for one in found.possible))

    def explained(self, said: Said, number: int) -> tuple[str, ...]:
        """Return what `explain` says about one of the possible ways, line by line, and how it was chosen."""
        if not said.possible:
            return (said.outcomes[0].sentence,)
        one = said.possible[number]
        choices = [*one.there.choices, *(one.back.choices if one.back else ())]
        heading = [f"one of {len(said.possible)} ways that are possible, with {'; '.join(choices)}"]
        return (*(heading if len(said.possible) > 1 else ()), *explanation(one, self._places))
