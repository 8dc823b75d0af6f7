"""Following a flow: what every node does with its packets while real traffic runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.traces import TracedPacket, traced_packet


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which packets belong to it, in either direction: None matches anything; `port` is the one of either end."""

    protocol: int | None = None
    ends: tuple[frozenset[str], frozenset[str]] | None = None  # the addresses of each end, public and private
    port: int | None = None

    def matches(self, step: TracedPacket) -> bool:
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
    """The hops of a traced flow: readable while traffic runs and after the trace has ended."""

    def __init__(self, lab: RunningLab, pattern: Pattern) -> None:
        self._lab, self._pattern = lab, pattern
        self._last: tuple[TracedPacket, ...] | None = None

    @property
    def hops(self) -> tuple[TracedPacket, ...]:
        """Every verdict on every packet so far, in the order of time."""
        if self._last is not None:
            return self._last
        steps = [
            traced_packet(node.name, event)
            for node in self._lab.plan.gateway_nodes
            for event in self._lab.call(node.name, "trace_read")["events"]
        ]
        return tuple(sorted((step for step in steps if self._pattern.matches(step)), key=lambda step: step.at))

    def end(self) -> None:
        """Keep what there is."""
        self._last = self.hops


@contextmanager
def following(lab: RunningLab, pattern: Pattern) -> Iterator[FlowTrace]:
    """Trace every node for as long as the block runs. A node keeps its last 10,000 verdicts and one trace at a time."""
    try:
        for node in lab.plan.gateway_nodes:
            lab.call(node.name, "trace_start", match=[])
        trace = FlowTrace(lab, pattern)
        yield trace
        trace.end()
    finally:
        for node in lab.plan.gateway_nodes:
            lab.call(node.name, "trace_stop")


def addresses_of(plan: Plan, name: str) -> frozenset[str]:
    """Every address of an instance, or the address itself and its translation by an internet gateway."""
    for instance in plan.instances:
        own = {instance.address, instance.public_address, instance.ipv6_address} - {""}
        if name == instance.name or name in own:
            return frozenset(own | ({name} if name != instance.name else set()))
    return frozenset((name,))
