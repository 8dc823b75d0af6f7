"""The present states of a running lab, in the words of the path model."""

from __future__ import annotations

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.errors import TopologyError
from gwlbemu.lab.configs import node_seed
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.paths.values import Bound, ConnectionKey, FlowKey, States
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.ask import NoAnswer, ask
from gwlbemu.views.flows import read_flows
from gwlbemu.views.targets import read_targets

FLOWS = 10_000  # of each node: what a node knows beyond is not asked for


def present_states(lab: RunningLab) -> tuple[Plan, States, tuple[NoAnswer, ...]]:
    """Return the lab's plan as it is now, what is so in it, and which nodes said nothing: of those nothing is known but
    what the plan says. Raises NetError without root.
    """
    plan = read_plan(lab.state)
    targets, flows = read_targets(lab), read_flows(lab, FLOWS)
    by_node: dict[str, dict[FlowKey, str]] = {}
    for flow in (each for each in flows.items if each.type == GATEWAY):
        key = (
            flow.endpoint, flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port
        )  # fmt: skip
        by_node.setdefault(flow.node, {})[key] = flow.target
    connections: dict[str, dict[ConnectionKey, Bound]] = {}
    for flow in (each for each in flows.items if each.type == NETWORK):
        place = flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port
        bound = Bound(flow.target_group, flow.target, flow.target_address, flow.target_port)
        connections.setdefault(flow.node, {})[place] = bound
    types = plan.node_types
    states = States(
        targets={(each.node, each.id): each.state for each in targets.items if types[each.node] == GATEWAY},
        flows=by_node,
        members={
            (each.node, each.target_group, each.id): each.state for each in targets.items if types[each.node] != GATEWAY
        },
        connections=connections,
        changed_tables=_changed_tables(lab, plan),
        without_engine=_without_engine(lab, plan),
        broken=frozenset(failures(lab)),
        seeds=_seeds(lab, plan),
    )
    return plan, states, targets.silent


def _changed_tables(lab: RunningLab, plan: Plan) -> frozenset[str]:
    answers, _ = ask(lab, [node.name for node in plan.network_nodes], {"status": {}})
    return frozenset(name for name, answer in answers.items() if answer["status"]["tables"] != "intact")


def _without_engine(lab: RunningLab, plan: Plan) -> frozenset[str]:
    answers, _ = ask(lab, [node.name for node in plan.addressed_nodes], {"status": {}})
    return frozenset(name for name, answer in answers.items() if answer["status"].get("proxy") not in ("", "running"))


def _seeds(lab: RunningLab, plan: Plan) -> dict[str, int]:
    """The seeds of the nodes whose choices can be told from them; none without the lab's secret, which is root's."""
    try:
        secret = lab.state.secret.read_text(errors="surrogateescape")
    except OSError:
        return {}
    names = [node.name for node in plan.nodes if plan.node_types[node.name] != APPLICATION]
    return {name: node_seed(secret, name) for name in names if _unchanged(lab, plan, name)}


def _unchanged(lab: RunningLab, plan: Plan, node: str) -> bool:
    """Whether a node has the targets that it began with, in their order: the weights by which it chooses go by that."""
    try:
        first = load(lab.state.topology.read_text(), plan.source, lab=plan.lab)
    except (OSError, TopologyError):
        return False
    balancer = next(each.load_balancer for each in plan.nodes if each.name == node)
    return [group.targets for group in first.groups_of(balancer)] == [
        group.targets for group in plan.groups_of(balancer)
    ]
