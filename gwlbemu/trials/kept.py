"""What became of packets that a target got and did not return: what its log, its process and `fail` say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.ends import owner_of
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.packet_report import RULED
from gwlbemu.views.appliance_logs import ApplianceLogs, LoggedFlow
from gwlbemu.views.traces import TracedPacket


class Kept:
    """The targets of a lab, from now on. `broken` is what `fail` did: (kind, name)."""

    def __init__(self, lab: RunningLab, broken: Iterable[tuple[str, str]]) -> None:
        self._lab, self._broken, self._logs = lab, sorted(broken), ApplianceLogs(lab)

    def sentence(self, target: str, flow: LoggedFlow) -> str:
        """Say that `target` (an instance or an address) did not return a packet of `flow`, and what is known of why."""
        owner = self._owner(target)
        purpose = self._on_purpose(owner)
        state = self._state(owner)
        if owner and (state != "running" or purpose):
            said = f"{owner.name} did not return it"
            return said + (f": its program is {state}" if state != "running" else "") + purpose
        return self._logs.sentence(target, flow)

    def is_in_hand(self, traced: Sequence[TracedPacket]) -> bool:
        """Whether a target that runs may still be at work on a packet: it got it last, and its log says nothing."""
        last = {(step.identity, step.source): step for step in sorted(traced, key=lambda step: step.at)}
        flows = {(step.target, LoggedFlow.of(step)) for step in last.values() if step.verdict == "to-target"}
        return any(
            self._state(self._owner(target)) == "running" and RULED not in self._logs.sentence(target, flow)
            for target, flow in flows
        )

    def _owner(self, target: str) -> Instance | None:
        named = next((each for each in self._lab.plan.instances if each.name == target), None)
        return named or owner_of(self._lab.plan, target)

    def _state(self, owner: Instance | None) -> str:
        """Return the state of an instance's program: running, frozen or dead; without one "not there"."""
        name = owner.name if owner else ""
        return next((each.state for each in self._lab.processes() if each.name == name), "not there")

    def _on_purpose(self, owner: Instance | None) -> str:
        if owner is None:
            return ""
        concern = {("zone", owner.zone), *((kind, owner.name) for kind in ("instance", "process", "link"))}
        done = [f"{kind} {name}" for kind, name in self._broken if (kind, name) in concern]
        return f", on purpose (fail {', '.join(done)})" if done else ""
