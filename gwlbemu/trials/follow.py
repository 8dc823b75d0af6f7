"""Following a flow: what every node does with its packets while real traffic runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gwlbemu.errors import LabError
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.traces import TracedPacket


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which packets belong to it, in either direction: None matches anything; `port` is the one of either end."""

    protocol: int | None = None
    ends: tuple[frozenset[str], frozenset[str]] | None = None  # the addresses of each end, public and private
    port: int | None = None

    def matches(self, step: TracedPacket) -> bool:
        """Return whether a verdict is about a packet of this pattern."""
        if self.protocol is not None and step.protocol != self.protocol:
            return False
        if self.port is not None and self.port not in (step.source_port, step.destination_port):
            return False
        if self.ends is None:
            return True
        a, b = self.ends
        return any(
            one in a and other in b for one, other in ((step.source, step.destination), (step.destination, step.source))
        )


class FlowTrace:
    """The verdicts on a traced flow: readable while traffic runs and after the trace has ended."""

    def __init__(self, session: TraceSession, pattern: Pattern) -> None:
        self._session, self._pattern = session, pattern
        self._steps: list[TracedPacket] = []
        self._ended = False

    @property
    def hops(self) -> tuple[TracedPacket, ...]:
        """Every verdict of every node on every packet so far, in the order of time.

        Raises LabError when a node has died or is frozen.
        """
        if not self._ended:
            self._read()
        return tuple(sorted(self._steps, key=lambda step: step.at))

    def end(self) -> None:
        """Read for the last time; `hops` stays readable."""
        self._read()
        self._ended = True

    def _read(self) -> None:
        for node in self._session.nodes:  # one by one: what was read stays when the next one does not answer
            self._steps += [step for step in self._session.read_node(node) if self._pattern.matches(step)]


@contextmanager
def following(lab: RunningLab, pattern: Pattern) -> Iterator[FlowTrace]:
    """Trace every node for as long as the block runs; raises LabError when one does not answer.

    Between two readings a node keeps its last 10,000 verdicts. Other traces, and `inject`, may run at the same time.
    """
    with TraceSession(lab) as session:
        if session.silent:
            raise LabError("; ".join(session.silent.values()))
        trace = FlowTrace(session, pattern)
        yield trace
        trace.end()


def addresses_of(plan: Plan, name: str) -> frozenset[str]:
    """Return every address of an instance, or the address itself and its translation by an internet gateway."""
    for instance in plan.instances:
        if name == instance.name or name in instance.addresses:
            return instance.addresses
    return frozenset((name,))
