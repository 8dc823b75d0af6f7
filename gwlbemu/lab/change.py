"""Changes to a running lab that AWS has a call for: RegisterTargets, DeregisterTargets, Modify...Attributes.

Checked as a whole before the first node hears of it, then written to the plan in the state folder, so that status and
the next change see it, then told to every node it concerns. When a node refuses or does not answer, the nodes before it
are told the opposite and the plan is what it was. Live flows are touched only where AWS would touch them; that is the
core's business.

Who dies in between leaves the plan before his change beside the new one (`State.plan_before`): status says so, and the
next change first tells the nodes everything in which the two differ.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import APPLICATION, ATTRIBUTES, GATEWAY, NETWORK
from gwlbemu.errors import GwlbemuError, SettingError
from gwlbemu.lab import engines
from gwlbemu.lab.planned import deregistered, nodes_of_group, registered, with_attributes
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.lab.state import sealed
from gwlbemu.net.record import open_existing
from gwlbemu.programs.application.config import balancer_to_json as application_to_json
from gwlbemu.programs.network.config import balancer_to_json as network_to_json
from gwlbemu.topology.plan.application_settings import application_balancer
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.values import Node, Plan, Target

ADVANCE_SECONDS = 300.0  # two million flows go at some 30,000 a second beside the packets
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}

Order = tuple[str, dict[str, Any]]  # what a node is told: a verb and its arguments


@contextmanager
def _changing(lab: RunningLab) -> Iterator[Plan]:
    """Hold the lab's lock; yields the plan as it is now, not as it was when the lab was opened."""
    with open_existing(lab.plan.lab, root=lab.state.root) as record:
        plan = read_plan(lab.state)
        _complete_interrupted(lab, plan)
        yield plan
        now = read_plan(lab.state)
        engines.start_newly_needed(plan, now, lab.state, record)
        engines.end_superfluous(now, lab.state, record)


def _complete_interrupted(lab: RunningLab, plan: Plan) -> None:
    """Bring every node to the plan, if whoever changed it last died before all had heard of it."""
    before = lab.state.plan_before
    if not before.exists():
        return
    old = read_plan(lab.state, before)
    for node in _nodes_needed(lab, plan.nodes):
        for verb, arguments in _differences(node, old, plan):
            lab.call(node.name, verb, **arguments)
    before.unlink(missing_ok=True)


def _make(lab: RunningLab, before: Plan, after: Plan, nodes: Sequence[Node]) -> None:
    """Write the plan `after`, then tell every node what is different; undone when one of them does not take it."""
    engines.proxied_nodes(after)  # refuses what there is no engine for
    state = lab.state
    aside = state.plan.with_suffix(".after")
    try:
        with state.replaced(state.plan, sealed(to_json(after))):
            told: list[Node] = []
            try:
                for node in nodes:
                    told.append(node)
                    for verb, arguments in _differences(node, before, after):
                        lab.call(node.name, verb, **arguments)
            except BaseException:
                if not _tell_back(lab, told, after, before):
                    aside.unlink(missing_ok=True)
                    os.link(state.plan, aside)
                raise
    except BaseException:
        with suppress(FileNotFoundError):  # where a node could not be told back, the next change does it
            aside.replace(state.plan_before)
        raise


def _tell_back(lab: RunningLab, nodes: Sequence[Node], after: Plan, before: Plan) -> bool:
    """Tell nodes to be as `before` again; False when one may not have heard. What one refuses it has not done."""
    heard = True
    for node in nodes:
        for verb, arguments in _differences(node, after, before):
            try:
                lab.call(node.name, verb, **arguments)
            except SettingError:
                continue
            except GwlbemuError:
                heard = False
    return heard


def _differences(node: Node, old: Plan, new: Plan) -> Iterator[Order]:
    """What a node that is as the plan `old` says has to be told to be as `new` says."""
    (kind,) = (each.type for each in new.load_balancers if each.name == node.load_balancer)
    return _DIFFERENCES[kind](node.load_balancer, old, new)


def _gateway_differences(name: str, old: Plan, new: Plan) -> Iterator[Order]:
    targets, wanted = ({each.id: each for each in plan.group_of(name).targets} for plan in (old, new))
    for target in targets.keys() - wanted.keys():
        yield "deregister", {"id": target}
    for target, each in wanted.items():
        if targets.get(target) != each:
            yield "register", _as_arguments(each)
    known, asked = (_texts(plan, name) for plan in (old, new))
    for kind, texts in asked.items():
        changed = {key: text for key, text in texts.items() if known[kind][key] != text}
        if changed:
            yield "set", {"resource": kind, "attributes": changed}


def _texts(plan: Plan, name: str) -> dict[str, dict[str, str]]:
    """Every attribute of a gateway load balancer, its listener and its group, by kind of resource."""
    (balancer,) = (each for each in plan.load_balancers if each.name == name)
    attributes = ATTRIBUTES[GATEWAY].from_text(
        balancer.attributes, balancer.listener_attributes, plan.group_of(name).attributes
    )
    return {kind: attributes.as_text(kind) for kind in (LOAD_BALANCER, LISTENER, TARGET_GROUP)}


def _network_differences(name: str, old: Plan, new: Plan) -> Iterator[Order]:
    """The whole load balancer at once: its keeper finds what is different, in one transaction of the kernel."""
    known, wanted = (network_to_json(network_balancer(plan, name)) for plan in (old, new))
    if known != wanted:
        yield "configure", {"balancer": wanted}


def _application_differences(name: str, old: Plan, new: Plan) -> Iterator[Order]:
    """The same: what needs a new text for its engine is the keeper's to find."""
    known, wanted = (application_to_json(application_balancer(plan, name)) for plan in (old, new))
    if known != wanted:
        yield "configure", {"balancer": wanted}


# A new type of load balancer is a new row: what its nodes are told.
_DIFFERENCES = {
    GATEWAY: _gateway_differences,
    NETWORK: _network_differences,
    APPLICATION: _application_differences,
}


def _as_arguments(target: Target) -> dict[str, Any]:
    return {"id": target.id, "address": target.address, "zone": target.zone}


def _nodes_needed(lab: RunningLab, nodes: Sequence[Node]) -> Sequence[Node]:
    """The nodes, all of which are there to hear of a change: a change that one of them misses is not made."""
    lab.need(*(node.name for node in nodes))
    return nodes


def register(lab: RunningLab, group_name: str, target_id: str, zone: str | None = None) -> Target:
    """RegisterTargets: an instance's name, or an address for target type ip; with another port than the group's as
    web-a:8080. Raises AwsError.
    """
    with _changing(lab) as plan:
        changed, target = registered(plan, group_name, target_id, zone)
        nodes = _nodes_needed(lab, nodes_of_group(plan, group_name))
        _make(lab, plan, changed, nodes)
        return target


def deregister(lab: RunningLab, group_name: str, target_id: str) -> bool:
    """Deregister a target by its id, as DeregisterTargets does.

    Returns False when it was not registered, which AWS accepts, too: "If the specified target does not exist, the
    action returns successfully" (API reference, DeregisterTargets). Raises SettingError for an unknown group, LabError
    when a node that has to hear of it is frozen or dead.
    """
    with _changing(lab) as plan:
        changed = deregistered(plan, group_name, target_id)
        if changed == plan:
            return False
        nodes = _nodes_needed(lab, nodes_of_group(plan, group_name))
        _make(lab, plan, changed, nodes)
        return True


def set_attributes(lab: RunningLab, resource: str, values: Mapping[str, str]) -> None:
    """Modify attributes of a load balancer, its listeners, or a target group; all of `values` or none of them.

    `resource` is the name of a load balancer (its own keys, and those of all of its listeners), of one listener
    (web/TCP:80) or of a target group. Raises AwsError for an unknown key, a value out of range, or a combination that
    AWS refuses.
    """
    with _changing(lab) as plan:
        changed, names = with_attributes(plan, resource, values)
        nodes = _nodes_needed(lab, [node for node in plan.nodes if node.load_balancer in names])
        _make(lab, plan, changed, nodes)


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The flows that a jump of a node's clock has ended: how many, and the first of them (`flows`), a line each."""

    count: int
    flows: tuple[str, ...]


def advance(lab: RunningLab, seconds: float) -> dict[str, Ended]:
    """Move the clock of every node forward by `seconds`.

    Returns by node the flows that this ended. Raises LabError when a node is frozen or dead, or needs more than five
    minutes to let its flows go: time has passed then, and it goes on.
    """
    found = {}
    for node in _nodes_needed(lab, lab.plan.nodes):
        answer = lab.call(node.name, "advance", within_seconds=ADVANCE_SECONDS, seconds=seconds)
        found[node.name] = Ended(answer["count"], tuple(answer["ended"]))
    return found


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 351, 351s, 6m or 1h. Raises SettingError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|)", text)
    if match is None:
        raise SettingError(f"{text!r} is not a time: expected a number with s, m or h, such as 351s")
    return float(match[1]) * _UNITS[match[2]]
