"""What the contract says of the connections that were on a lost target of a network load balancer."""

from __future__ import annotations

from collections import Counter

from gwlbemu.trials.drill.judge import Evidence, FlowEvidence
from gwlbemu.trials.drill.outcome import TERMINATE
from gwlbemu.trials.drill.report import ContractCheck


def network_policy_check(evidence: Evidence, hit: list[FlowEvidence]) -> ContractCheck:
    """Return whether such connections ended, or went on, as the policy says."""
    contract = "NL-16" if evidence.event == "deregister" else "NL-06"
    fates = Counter(flow.outcome for flow in hit)
    if evidence.policy == TERMINATE:
        text = f"{fates['reset']} of {len(hit)} connections were reset; TCP_ELB_Reset_Count rose by {evidence.resets}"
        return ContractCheck(contract, text, fates["reset"] == len(hit) <= evidence.resets)
    wanted, how = ("kept", "went on") if evidence.event == "deregister" else ("lost", "were left to their timeouts")
    return ContractCheck(contract, f"{fates[wanted]} of {len(hit)} connections {how}", fates[wanted] == len(hit))
