"""Asking the processes of a lab, without waiting for one that is dead or frozen. Every reader of a lab asks here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from gwlbemu.errors import LabError
from gwlbemu.lab.control import TIMEOUT, call
from gwlbemu.lab.running import RunningLab

T = TypeVar("T")
PATIENCE = 1.0  # seconds for an answer where a view must not stop; a process may have been frozen a moment ago
Answers = dict[str, dict[str, Any]]  # verb -> what one process answers to it


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A process that did not answer.

    `reason` is its state (frozen, dead, not started) or, where it runs, a sentence; `log` is the path of its log where
    the state is the reason.
    """

    process: str
    reason: str
    log: str = ""

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        if self.log:
            return f"{self.process} is {self.reason}; its log is {self.log}"
        return f"{self.process} does not answer: {self.reason}"


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What the nodes of a lab said, and which of them said nothing.

    `more` names the nodes that have more than was asked for.
    """

    items: tuple[T, ...]
    silent: tuple[NoAnswer, ...] = ()
    more: tuple[str, ...] = ()

    def complete(self) -> tuple[T, ...]:
        """Return the items. Raises LabError when a node did not answer."""
        if self.silent:
            raise LabError("; ".join(each.sentence for each in self.silent))
        return self.items


def ask(
    lab: RunningLab,
    names: Iterable[str],
    requests: Mapping[str, Mapping[str, Any]],
    *,
    within_seconds: float = TIMEOUT,
) -> tuple[dict[str, Answers], dict[str, NoAnswer]]:
    """Ask each of the processes `names` every one of the `requests` (verb -> arguments).

    Returns the answers by process and verb, and why there are none by process. A process that does not run is not
    asked; one that stops answering in between has no answers at all. Raises NetError without root, SettingError when a
    process refuses a request.
    """
    states = {process.name: process for process in lab.processes()}
    answers: dict[str, Answers] = {}
    silent: dict[str, NoAnswer] = {}
    for name in names:
        process = states.get(name)
        if process is None:
            silent[name] = NoAnswer(name, "not started")
        elif process.state != "running":
            silent[name] = NoAnswer(name, process.state, process.log)
        else:
            try:
                answers[name] = {
                    verb: call(lab.state.control(name), verb, within_seconds=within_seconds, **arguments)
                    for verb, arguments in requests.items()
                }
            except LabError as error:
                silent[name] = _why(lab, name, error)
    return answers, silent


def _why(lab: RunningLab, name: str, error: LabError) -> NoAnswer:
    """It may have been frozen or killed after it was looked at."""
    for process in lab.processes():
        if process.name == name and process.state != "running":
            return NoAnswer(name, process.state, process.log)
    return NoAnswer(name, str(error))


def ask_nodes(lab: RunningLab, verb: str, **arguments: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Ask every node through whose process packets pass one thing: its answer by name, and by name a sentence why there
    is none (see `ask`).
    """
    answers, silent = ask(lab, [node.name for node in lab.plan.gateway_nodes], {verb: arguments})
    sentences = {name: each.sentence for name, each in silent.items()}
    return {name: answer[verb] for name, answer in answers.items()}, sentences


def value_of(kind: type[T], answer: Mapping[str, Any], **others: Any) -> T:
    """Make a value of the dataclass `kind`: `others` as they are, its other fields by their names out of an answer.

    What an answer has beside those is left out; a field that it has not keeps its default.
    """
    names = {each.name for each in fields(kind)} - others.keys()  # type: ignore[arg-type]
    return kind(**others, **{name: answer[name] for name in names & answer.keys()})
