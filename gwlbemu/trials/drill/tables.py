"""A drill in which somebody flushes the tables of a network load balancer's node: `nft flush ruleset` inside it."""

from __future__ import annotations

import time
from collections import Counter

from gwlbemu.errors import LabError
from gwlbemu.lab import failure
from gwlbemu.net import firewall
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import NetworkNode
from gwlbemu.trials.drill.judge import Evidence, judge, kept_checks
from gwlbemu.trials.drill.live import Run, moved_since, newcomers, wait_for_fates
from gwlbemu.trials.drill.report import ContractCheck, RunReport
from gwlbemu.views.flows import read_flows
from gwlbemu.views.targets import read_targets

SEEN_SECONDS = 30.0
INTACT = "intact"


def flush_tables(drill: Run, policy: str) -> RunReport:
    """Flush the tables of the node with most connections, see that its keeper tells, and let `heal node` mend it."""
    nodes = {node.name: node for node in drill.participants.subject.network_nodes}
    carrying = Counter(node for carriers in drill.before.values() for node, _ in carriers)
    node = nodes[max(sorted(carrying), key=carrying.__getitem__)]
    drill.hit = {key for key, carriers in drill.before.items() if any(name == node.name for name, _ in carriers)}
    drill.tell(f"flushing the tables of {node.name}; waiting until its keeper tells")
    at = time.monotonic()
    try:
        with inside(path_of(node.namespace)):
            firewall.load("flush ruleset")
        seen = drill.clocks.wait(SEEN_SECONDS, lambda: _tables(drill, node) != INTACT)
        after_seconds = drill.clocks.since(at)
        drill.tell("waiting until the fate of every connection is plain")
        flows = wait_for_fates(drill, at, "tables", policy, noticed=True)
    finally:
        drill.tell("everything is put back")
        failure.heal(drill.lab, "node", node.name)
    evidence = Evidence(
        event="tables", policy=policy, struck=(node.name,), zone="", noticed=seen, after_seconds=after_seconds,
        flows=flows, jumps=list(drill.clocks.jumps), newcomers=newcomers(drill, ""),
    )  # fmt: skip
    evidence.moved_at_recovery = moved_since(drill, evidence)
    return judge(drill.lab, evidence, _checks(drill, node, evidence))


def _checks(drill: Run, node: NetworkNode, evidence: Evidence) -> list[ContractCheck]:
    hit = [flow for flow in evidence.flows if flow.hit]
    told = sum(flow.outcome == "reset" for flow in hit)
    answered = sum(state.records > 0 for state, _ in evidence.newcomers)
    came = len(evidence.newcomers)
    back = _tables(drill, node)
    return [
        ContractCheck(
            "", f"status tells that the tables of {node.name} are not as they were written", evidence.noticed
        ),
        ContractCheck("", f"{told} of {len(hit)} connections through {node.name} were reset", told == len(hit)),
        ContractCheck("", f"heal node {node.name}: its tables are {back}", back == INTACT),
        ContractCheck("", f"new connections: {answered} of {came} answered", answered == came > 0),
        _stale(drill),
        *kept_checks(drill.participants.subject, evidence, [flow for flow in evidence.flows if not flow.hit]),
    ]


def _stale(drill: Run) -> ContractCheck:
    """Whether every connection that a kernel holds is one that its keeper can name, on a target that there is."""
    there = {(each.node, each.target_group, each.id) for each in read_targets(drill.lab).complete()}
    flows = [each for each in read_flows(drill.lab).complete() if each.type == drill.participants.subject.type]
    stale = sum((each.node, each.target_group, each.target) not in there or not each.listener for each in flows)
    return ContractCheck("", f"{stale or 'no'} connections are on a target or listener that is not there", not stale)


def _tables(drill: Run, node: NetworkNode) -> str:
    """What a keeper says of its tables; LabError when it does not answer."""
    answer = drill.lab.call(node.name, "status")
    if "tables" not in answer:
        raise LabError(f"{node.name} says nothing of its tables")
    return str(answer["tables"])
