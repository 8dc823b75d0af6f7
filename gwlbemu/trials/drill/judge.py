"""From evidence to report: each connection's fate beside what the contract expects, and the contract's lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.traffic import ConnectionState
from gwlbemu.trials.drill.outcome import (
    Carriers,
    ClockJump,
    FlowObservation,
    expected,
    holds,
    is_moved,
    outcome,
    silent_seconds,
)
from gwlbemu.trials.drill.participants import group_with
from gwlbemu.trials.drill.report import ContractCheck, FlowReport, RunReport
from gwlbemu.trials.drill.subject import GATEWAY, NETWORK, Subject
from gwlbemu.trials.drill.watch import ConnectionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEvidence:
    """What was seen of one connection; instants are seconds of the kernel's monotonic clock, `until` that at which its
    program looked last.

    `hit`: the failed target was on its way. `cut_off`: an end or a node of it is in the zone that was lost.
    `only_server_told`: a RST answered the server's packet and none the client's.
    """

    key: ConnectionKey
    state: ConnectionState
    before: Carriers
    after: Carriers
    until: float
    hit: bool
    cut_off: bool
    only_server_told: bool = False

    @property
    def silent(self) -> tuple[float, float]:
        """The longest time without data; the one that goes on, or ended in a RST, counts too."""
        state = self.state
        last = (state.last_at, state.end_at or self.until)
        gap = (state.gap_from, state.gap_to)
        return last if last[1] - last[0] > gap[1] - gap[0] else gap

    @property
    def observation(self) -> FlowObservation:
        """The same, as `outcome` wants it."""
        return FlowObservation(self.state.end, self.state.last_at, self.until, self.silent, self.before, self.after)

    def expected(self, event: str, policy: str, *, noticed: bool) -> str:
        """What the contract wants of it (see `outcome.expected`)."""
        return expected(event, policy, hit=self.hit, cut_off=self.cut_off, noticed=noticed)

    @property
    def outcome(self) -> str:
        """What became of it, in one word of `outcome.OUTCOMES`."""
        return outcome(self.observation)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """All that was seen in one run."""

    event: str
    policy: str
    struck: tuple[str, ...]
    zone: str
    noticed: bool
    after_seconds: float
    flows: list[FlowEvidence]
    jumps: list[ClockJump]
    newcomers: Sequence[tuple[ConnectionState, Carriers]] = field(default_factory=list)
    others: tuple[str, ...] = ()  # a sentence for each target that failed without having been struck
    resets: int = 0
    moved_at_recovery: int = 0


def judge(
    lab: RunningLab, evidence: Evidence, checks: Sequence[ContractCheck], notes: tuple[str, ...] = ()
) -> RunReport:
    """Return the report of a run: each connection beside what the contract expects, and the lines of the contract."""
    flows = tuple(_flow(lab, evidence, flow) for flow in sorted(evidence.flows, key=lambda each: not each.hit))
    struck = (f"zone {evidence.zone}", *evidence.struck) if evidence.zone else evidence.struck
    after = evidence.after_seconds if evidence.noticed else None
    return RunReport(evidence.event, evidence.policy, struck, after, flows, tuple(checks), (*evidence.others, *notes))


def _flow(lab: RunningLab, evidence: Evidence, flow: FlowEvidence) -> FlowReport:
    fate = flow.outcome
    wanted = flow.expected(evidence.event, evidence.policy, noticed=evidence.noticed)
    silent = silent_seconds(flow.silent, evidence.jumps)
    measured = flow.silent[1] - flow.silent[0]
    note = ""
    if is_moved(flow.before, flow.after) and fate != "moved":
        note = f"the load balancer moved it, {_why_refused(lab, flow)}"
    elif fate == "lost" and flow.only_server_told:
        note = "only the server was told: a RST answers who sends the next packet (emulation.reset_ends: both)"
    elif fate == "lost" and flow.state.end != "open":
        note = flow.state.end
    return FlowReport(
        client_port=flow.key.port,
        server=flow.key.server,
        before=tuple(flow.before.values()),
        after=tuple(flow.after.get(hop, "-") for hop in flow.before),
        outcome=fate,
        expected=wanted,
        as_expected=holds(wanted, flow.observation),
        seconds_silent=round(silent, 2),
        seconds_skipped=round(silent - measured, 2),
        still_silent=fate == "lost" and flow.state.end == "open",
        records=flow.state.records,
        bytes=flow.state.bytes,
        note=note,
    )


def _why_refused(lab: RunningLab, flow: FlowEvidence) -> str:
    for hop, target in flow.after.items():
        if flow.before.get(hop) != target:
            refused = _midstream_refusals(lab, target, flow.key.port)
            why = "takes no connection in mid-stream" if refused else "lets nothing through"
            return f"but {target} {why}"
    return "but nothing comes back"


def _midstream_refusals(lab: RunningLab, target: str, port: int) -> int:
    """How often the firewall behind a target has logged that it did not see the connection begin."""
    name = next((each.name for each in lab.plan.instances if target in (each.name, each.address)), target)
    lines = [line for path in lab.state.decision_files(name) for line in path.read_text().splitlines()]
    entries = [json.loads(line) for line in lines if '"midstream"' in line and line.endswith("}")]
    return sum(
        port in (entry["flow"].get("source_port"), entry["flow"].get("destination_port"))
        for entry in entries
        if entry.get("rule") == "midstream"
    )


class _Lines(NamedTuple):
    """The contract's lines about one type of load balancer, and its word for what it carries."""

    drained: str
    found: str
    kept: str
    checked: str
    word: str


_LINES = {
    GATEWAY: _Lines("TG-06", "TG-05", "FL-05", "TG-02", "flows"),
    NETWORK: _Lines("NL-16", "NL-06", "NL-02", "NL-06", "connections"),
}


def contract_checks(
    subject: Subject, evidence: Evidence, policy_check: Callable[[Evidence, list[FlowEvidence]], ContractCheck]
) -> list[ContractCheck]:
    """Return the lines of the contract that a run is about; `policy_check` judges the flows on a failed target."""
    lines, names = _LINES[subject.type], ", ".join(evidence.struck)
    hit = [flow for flow in evidence.flows if flow.hit]
    other = [flow for flow in evidence.flows if not flow.hit and not flow.cut_off]
    found: list[ContractCheck] = []
    if evidence.event == "deregister":
        found.append(newcomers_check(evidence, lines.drained, f"while it drained, new {lines.word} avoided {names}"))
    elif evidence.event == "zone":
        found.append(newcomers_check(evidence, "EX-03", "new connections are answered through the other zone"))
    elif evidence.noticed:
        found.append(newcomers_check(evidence, lines.found, f"new {lines.word} avoided {names}"))
    found += _noticed_checks(subject, evidence)
    if hit and (evidence.noticed or evidence.event == "deregister"):
        found.append(policy_check(evidence, hit))
    if subject.is_network and (cut_off := [flow for flow in evidence.flows if flow.cut_off]):
        lost = sum(flow.outcome == "lost" for flow in cut_off)
        text = f"{lost} of {len(cut_off)} connections to the address in zone {evidence.zone} were lost"
        found.append(ContractCheck("EX-03", text, lost == len(cut_off)))
    return found + kept_checks(subject, evidence, other)


def kept_checks(subject: Subject, evidence: Evidence, other: list[FlowEvidence]) -> list[ContractCheck]:
    """Return whether flows that were not concerned went on, on the same target."""
    lines, found = _LINES[subject.type], []
    if other:
        kept = sum(flow.outcome == "kept" for flow in other)
        text = f"{kept} of {len(other)} {lines.word} on other targets stayed there"
        found.append(ContractCheck(lines.kept, text, kept == len(other)))
    moved = evidence.moved_at_recovery
    found.append(ContractCheck(lines.kept, f"the recovery moved {moved or 'no'} live {lines.word}", not moved))
    return found


def gateway_policy_check(evidence: Evidence, hit: list[FlowEvidence]) -> ContractCheck:
    """Return whether a gateway load balancer did with the flows of a failed target as its policy says."""
    fates = Counter(flow.outcome for flow in hit)
    if evidence.policy == "reset":
        reset = fates["reset"]
        counted = evidence.resets >= reset
        server = sum(flow.only_server_told and flow.outcome != "reset" for flow in hit)
        others = f", of {server} only the server was told" if server else ""
        text = (
            f"{reset} of {len(hit)} flows were reset at the client{others};"
            f" TCP_GWLB_Reset_Count rose by {evidence.resets}"
        )
        return ContractCheck("FL-14", text, reset == len(hit) and counted)
    if evidence.policy == "rebalance":
        moved = sum(is_moved(flow.before, flow.after) for flow in hit)
        return ContractCheck("TG-08", f"{moved} of {len(hit)} flows moved in mid-stream", moved == len(hit))
    stayed = sum(not is_moved(flow.before, flow.after) for flow in hit)
    how = "are still carried by it" if evidence.event == "deregister" else "stayed with it and were lost"
    wanted = "kept" if evidence.event == "deregister" else "lost"
    ok = stayed == fates[wanted] == len(hit)
    return ContractCheck("TG-07", f"{stayed} of {len(hit)} flows {how}", ok)


def _noticed_checks(subject: Subject, evidence: Evidence) -> list[ContractCheck]:
    """Return whether health checks found the failure, where they could."""
    if not finds_failures(subject, evidence.event, evidence.struck):
        return [ContractCheck("", "a TCP health check still connects to a frozen process", not evidence.noticed)]
    if evidence.event not in ("kill", "freeze"):
        return []
    names = ", ".join(evidence.struck)
    return [ContractCheck(_LINES[subject.type].checked, f"health checks found that {names} failed", evidence.noticed)]


def newcomers_check(evidence: Evidence, contract: str, text: str) -> ContractCheck:
    """Return whether every new connection was answered, and by none of the targets that were struck."""
    answered = sum(state.records > 0 for state, _ in evidence.newcomers)
    on_struck = sum(
        any(target in evidence.struck for target in carriers.values()) for _, carriers in evidence.newcomers
    )
    total = len(evidence.newcomers)
    ok = answered == total > 0 == on_struck
    return ContractCheck(contract, f"{text}: {answered} of {total} answered", ok)


def finds_failures(subject: Subject, event: str, struck: Collection[str]) -> bool:
    """Return whether a health check can find what an event did: a frozen process still connects."""
    checks = {group_with(subject.groups, target).health_check.protocol for target in struck}
    return event != "freeze" or checks != {"TCP"}


def gateway_notes(evidence: Evidence) -> tuple[str, ...]:
    """Return what a user should know of a run with gateway load balancers beside the contract."""
    notes = []
    refused = [
        flow for flow in evidence.flows if flow.hit and flow.outcome != "moved" and is_moved(flow.before, flow.after)
    ]
    if refused:
        notes.append(
            f"{len(refused)} flows were moved by the load balancer and then lost: a stateful firewall that does not "
            "take connections in mid-stream turns a rebalance into an outage (firewall: {midstream: allow} takes them)"
        )
    if not evidence.noticed and evidence.event == "freeze":
        notes.append("nobody noticed: a health check of protocol HTTP would have")
    return tuple(notes)
