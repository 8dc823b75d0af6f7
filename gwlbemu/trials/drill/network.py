"""What the contract says of a drill with a network load balancer: its lines, held against what was seen."""

from __future__ import annotations

from collections import Counter

from gwlbemu.trials.drill.judge import Evidence, FlowEvidence, newcomers_check, noticed_checks
from gwlbemu.trials.drill.outcome import TERMINATE
from gwlbemu.trials.drill.report import ContractCheck
from gwlbemu.trials.drill.subject import Subject


def network_checks(subject: Subject, evidence: Evidence) -> list[ContractCheck]:
    """Return the lines of the contract that a run with a network load balancer is about."""
    hit = [flow for flow in evidence.flows if flow.hit]
    other = [flow for flow in evidence.flows if not flow.hit and not flow.cut_off]
    names = ", ".join(evidence.struck)
    found: list[ContractCheck] = []
    if evidence.event == "deregister":
        found.append(newcomers_check(evidence, "NL-16", f"while it drained, new connections avoided {names}"))
    elif evidence.event == "zone":
        found.append(newcomers_check(evidence, "EX-03", "new connections are answered through the other zone"))
    elif evidence.noticed:
        found.append(newcomers_check(evidence, "NL-06", f"new connections avoided {names}"))
    found += noticed_checks(subject, evidence)
    if hit and (evidence.noticed or evidence.event == "deregister"):
        found.append(_policy_check(evidence, hit))
    if cut_off := [flow for flow in evidence.flows if flow.cut_off]:
        lost = sum(flow.outcome == "lost" for flow in cut_off)
        text = f"{lost} of {len(cut_off)} connections to the address in zone {evidence.zone} were lost"
        found.append(ContractCheck("EX-03", text, lost == len(cut_off)))
    found += kept_checks(evidence, other)
    return found


def kept_checks(evidence: Evidence, other: list[FlowEvidence]) -> list[ContractCheck]:
    """Return whether connections that were not concerned went on, on the same target."""
    found = []
    if other:
        kept = sum(flow.outcome == "kept" for flow in other)
        text = f"{kept} of {len(other)} connections on other targets stayed there"
        found.append(ContractCheck("NL-02", text, kept == len(other)))
    moved = evidence.moved_at_recovery
    found.append(ContractCheck("NL-02", f"the recovery moved {moved or 'no'} live connections", not moved))
    return found


def _policy_check(evidence: Evidence, hit: list[FlowEvidence]) -> ContractCheck:
    contract = "NL-16" if evidence.event == "deregister" else "NL-06"
    fates = Counter(flow.outcome for flow in hit)
    if evidence.policy == TERMINATE:
        text = f"{fates['reset']} of {len(hit)} connections were reset; TCP_ELB_Reset_Count rose by {evidence.resets}"
        return ContractCheck(contract, text, fates["reset"] == len(hit) <= evidence.resets)
    wanted, how = ("kept", "went on") if evidence.event == "deregister" else ("lost", "were left to their timeouts")
    return ContractCheck(contract, f"{fates[wanted]} of {len(hit)} connections {how}", fates[wanted] == len(hit))
