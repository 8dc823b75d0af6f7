"""The targets of a lab as its nodes see them: every zone decides for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import Node, Plan
from gwlbemu.views.ask import Reading, ask, value_of


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target as one node sees it. State, reason and description are AWS's words (DescribeTargetHealth).

    A node of an application load balancer counts requests, every other one packets; what a node does not count is 0.
    """

    target_group: str
    node: str
    id: str  # an instance's name, or an address
    address: str
    zone: str
    state: str  # initial | healthy | unhealthy | draining | unused | unavailable
    reason: str  # such as Target.FailedHealthChecks; "" for a healthy target
    description: str
    flows: int  # live flows of this node that are bound to it, or connections of this node to it
    packets_to: int = 0
    packets_from: int = 0
    port: int = 0  # where it takes connections; 0 for a gateway load balancer's, whose group has one for all
    requests: int = 0  # that were sent to it
    in_flight: int = 0  # of these, those that it has not answered yet


def read_targets(lab: RunningLab) -> Reading[TargetState]:
    """Ask every node of the lab for its targets. Raises NetError without root."""
    answers, silent = ask(lab, [node.name for node in lab.plan.nodes], {"targets": {}})
    found = [
        state
        for node in lab.plan.nodes
        if node.name in answers
        for state in targets_of(lab.plan, node, answers[node.name]["targets"])
    ]
    return Reading(tuple(found), tuple(silent.values()))


def targets_of(plan: Plan, node: Node, answer: Mapping[str, Any]) -> tuple[TargetState, ...]:
    """Return the targets in a node's answer to `targets` or `status`. A node with one group does not name it."""
    groups = plan.groups_of(node.load_balancer)
    only = {"target_group": groups[0].name} if len(groups) == 1 else {}
    return tuple(value_of(TargetState, only | each, node=node.name) for each in answer["targets"])


def targets_by_node(plan: Plan, reading: Reading[TargetState]) -> dict[str, list[dict[str, Any]]]:
    """Return, by the name of each node that answered, its targets as dicts with the fields of TargetState as keys.

    That is the form in which `lab_map` takes them; a node without targets has an empty list.
    """
    silent = {each.process for each in reading.silent}
    found: dict[str, list[dict[str, Any]]] = {node.name: [] for node in plan.nodes if node.name not in silent}
    for each in reading.items:
        found[each.node].append(asdict(each))
    return found


def request_counters(plan: Plan) -> frozenset[str]:
    """Return the names of the nodes that count requests, which are those of application load balancers."""
    return frozenset(node.name for node in plan.application_nodes)


def all_healthy(targets: Iterable[TargetState]) -> bool:
    """Tell whether every one of the targets is healthy."""
    return all(each.state == "healthy" for each in targets)
