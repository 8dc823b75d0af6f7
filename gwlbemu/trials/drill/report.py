"""What a drill found: plain values, the same for people and for JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from gwlbemu.trials.drill.outcome import OUTCOMES


@dataclass(frozen=True, slots=True)
class FlowReport:
    """One connection. `before` and `after`: the targets on its way, hop by hop."""

    client_port: int
    server: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    outcome: str
    expected: str
    as_expected: bool
    seconds_silent: float  # the longest time without a packet of data, on the nodes' clock
    seconds_skipped: float  # of those, how many were skipped
    still_silent: bool
    records: int
    bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ContractCheck:
    """One line of the contract, and whether it came out so."""

    contract: str
    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class RequestPhase:
    """What became of the requests that began in a part of a run: answers by status, others by why there was none."""

    name: str
    requests: int
    answers: dict[str, int]
    no_answer: dict[str, int]
    longest_seconds: float
    again: int  # that were sent once more, since a kept connection had ended before an answer

    @property
    def failed(self) -> int:
        """How many were not answered with 200."""
        return self.requests - self.answers.get("200", 0)


@dataclass(frozen=True, slots=True)
class RunReport:
    """One event under one policy ("" of an application load balancer, which has requests for flows). Without either it
    was not possible: `impossible` says why.
    """

    event: str
    policy: str
    struck: tuple[str, ...] = ()
    took_effect_after_seconds: float | None = None  # on the nodes' clock; None: nobody noticed
    flows: tuple[FlowReport, ...] = ()
    checks: tuple[ContractCheck, ...] = ()
    notes: tuple[str, ...] = ()
    impossible: str = ""
    requests: tuple[RequestPhase, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything came out as the contract says."""
        return all(flow.as_expected for flow in self.flows) and all(check.ok for check in self.checks)

    @property
    def counts(self) -> dict[str, int]:
        """How many connections had each outcome."""
        counted = Counter(flow.outcome for flow in self.flows)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def longest_outage(self) -> FlowReport | None:
        """The flow that was silent for longest."""
        return max(self.flows, key=lambda flow: flow.seconds_silent, default=None)


def as_json(run: RunReport) -> dict[str, Any]:
    """Return a report as JSON-ready values, with `ok` and `counts`."""
    return asdict(run) | {"ok": run.ok, "counts": run.counts}
