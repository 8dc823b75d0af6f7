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
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP, Attributes
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY
from gwlbemu.core.elb.target import EVERY_ZONE, check_ip_target
from gwlbemu.errors import AwsError, GwlbemuError, SettingError
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.lab.state import sealed
from gwlbemu.net.record import open_existing
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.values import GatewayNode, LoadBalancer, Plan, Target, TargetGroup

KINDS = (LOAD_BALANCER, LISTENER, TARGET_GROUP)
ADVANCE_SECONDS = 300.0  # two million flows go at some 30,000 a second beside the packets
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


Order = tuple[str, dict[str, Any]]  # what a node is told: a verb and its arguments


@contextmanager
def _changing(lab: RunningLab) -> Iterator[Plan]:
    """Hold the lab's lock; yields the plan as it is now, not as it was when the lab was opened."""
    with open_existing(lab.plan.lab, root=lab.state.root):
        plan = read_plan(lab.state)
        _complete_interrupted(lab, plan)
        yield plan


def _complete_interrupted(lab: RunningLab, plan: Plan) -> None:
    """Bring every node to the plan, if whoever changed it last died before all had heard of it."""
    before = lab.state.plan_before
    if not before.exists():
        return
    old = read_plan(lab.state, before)
    for node in _nodes_needed(lab, plan.gateway_nodes):
        for verb, arguments in _differences(node, old, plan):
            lab.call(node.name, verb, **arguments)
    before.unlink(missing_ok=True)


def _make(lab: RunningLab, before: Plan, after: Plan, nodes: Sequence[GatewayNode], orders: Sequence[Order]) -> None:
    """Write the plan `after`, then give every node the `orders`; undone when one of them does not take them."""
    state = lab.state
    aside = state.plan.with_suffix(".after")
    try:
        with state.replaced(state.plan, sealed(to_json(after))):
            told: list[GatewayNode] = []
            try:
                for node in nodes:
                    told.append(node)
                    for verb, arguments in orders:
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


def _tell_back(lab: RunningLab, nodes: Sequence[GatewayNode], after: Plan, before: Plan) -> bool:
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


def _differences(node: GatewayNode, old: Plan, new: Plan) -> Iterator[Order]:
    """What a node that is as the plan `old` says has to be told to be as `new` says."""
    name = node.load_balancer
    targets, wanted = ({each.id: each for each in plan.group_of(name).targets} for plan in (old, new))
    for target in targets.keys() - wanted.keys():
        yield "deregister", {"id": target}
    for target, each in wanted.items():
        if targets.get(target) != each:
            yield "register", _as_arguments(each)
    known, asked = ({kind: _texts(plan, name, kind) for kind in KINDS} for plan in (old, new))
    for kind in KINDS:
        changed = {key: text for key, text in asked[kind].items() if known[kind][key] != text}
        if changed:
            yield "set", {"resource": kind, "attributes": changed}


def _texts(plan: Plan, name: str, kind: str) -> dict[str, str]:
    """Every attribute of a load balancer, its listener or its group, with its value."""
    (balancer,) = (each for each in plan.load_balancers if each.name == name)
    return _attributes(plan, balancer).as_text(kind)


def _as_arguments(target: Target) -> dict[str, Any]:
    return {"id": target.id, "address": target.address, "zone": target.zone}


def _nodes_needed(lab: RunningLab, nodes: Sequence[GatewayNode]) -> Sequence[GatewayNode]:
    """The nodes, all of which are there to hear of a change: a change that one of them misses is not made."""
    lab.need(*(node.name for node in nodes))
    return nodes


def group_named(plan: Plan, name: str) -> TargetGroup:
    """Return the target group called `name`. Raises SettingError (TargetGroupNotFound) when there is none."""
    for group in plan.target_groups:
        if group.name == name:
            return group
    known = ", ".join(group.name for group in plan.target_groups)
    raise AwsError(f"no target group {name}; there are: {known}", "TargetGroupNotFound")


def nodes_of_group(plan: Plan, group: str) -> list[GatewayNode]:
    """Return the nodes whose load balancers forward to the target group `group`."""
    balancers = {balancer.name for balancer in plan.balancers_of(group)}
    return [node for node in plan.gateway_nodes if node.load_balancer in balancers]


def _with_group(plan: Plan, group: TargetGroup) -> Plan:
    return dataclasses.replace(
        plan, target_groups=tuple(group if old.name == group.name else old for old in plan.target_groups)
    )


def register(lab: RunningLab, group_name: str, target_id: str, zone: str | None = None) -> Target:
    """RegisterTargets: an instance's name, or an address for target type ip. Raises AwsError."""
    with _changing(lab) as plan:
        changed, target = registered(plan, group_name, target_id, zone)
        nodes = _nodes_needed(lab, nodes_of_group(plan, group_name))
        _make(lab, plan, changed, nodes, [("register", _as_arguments(target))])
        return target


def registered(plan: Plan, group_name: str, target_id: str, zone: str | None = None) -> tuple[Plan, Target]:
    """Return the plan with a target registered, and the target. Raises AwsError."""
    group = group_named(plan, group_name)
    target = _target(plan, group, target_id, zone)
    others = tuple(old for old in group.targets if old.id != target.id)
    return _with_group(plan, dataclasses.replace(group, targets=(*others, target))), target


def _target(plan: Plan, group: TargetGroup, target_id: str, zone: str | None) -> Target:
    if group.target_type == "instance":
        if zone is not None:
            raise AwsError("an Availability Zone cannot be given for a target of type instance")
        for instance in plan.instances:
            if instance.name == target_id and instance.vpc == group.vpc:
                return Target(instance.name, instance.address, instance.zone, group.port)
        known = ", ".join(i.name for i in plan.instances if i.vpc == group.vpc)
        raise AwsError(f"{target_id} is not an instance of VPC {group.vpc}; there are: {known}", "InvalidTarget")
    check_ip_target(target_id, [vpc.cidr for vpc in plan.vpcs if vpc.name == group.vpc])
    address = ipaddress.ip_address(target_id)
    homes = [s.zone for s in plan.subnets if s.vpc == group.vpc and address in ipaddress.ip_network(s.cidr)]
    if not homes and zone is None:
        raise AwsError(f"an Availability Zone (or all) is needed for {target_id}: not in VPC {group.vpc}")
    zones = {subnet.zone for subnet in plan.subnets if subnet.vpc == group.vpc} | {EVERY_ZONE}
    if zone is not None and zone not in zones:
        raise AwsError(f"VPC {group.vpc} has no zone {zone}; there are: {', '.join(sorted(zones))}")
    if homes and zone not in (None, homes[0]):
        raise AwsError(f"{target_id} is in zone {homes[0]} of VPC {group.vpc}, not in {zone}")
    return Target(target_id, target_id, zone or homes[0], group.port)


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
        _make(lab, plan, changed, nodes, [("deregister", {"id": target_id})])
        return True


def deregistered(plan: Plan, group_name: str, target_id: str) -> Plan:
    """Return the plan without a target, which need not have been registered. Raises SettingError."""
    group = group_named(plan, group_name)
    left = tuple(target for target in group.targets if target.id != target_id)
    return _with_group(plan, dataclasses.replace(group, targets=left))


def set_attributes(lab: RunningLab, resource: str, values: Mapping[str, str]) -> None:
    """Modify attributes of a load balancer, its listener, or a target group; all of `values` or none of them.

    `resource` is the name of a load balancer (its own keys and its listener's) or of a target group. Raises
    AwsError for an unknown key, a value out of range, or a combination that AWS refuses.
    """
    with _changing(lab) as plan:
        changed, by_kind, names = with_attributes(plan, resource, values)
        nodes = _nodes_needed(lab, [node for node in plan.gateway_nodes if node.load_balancer in names])
        orders = [("set", {"resource": kind, "attributes": texts}) for kind, texts in by_kind.items() if texts]
        _make(lab, plan, changed, nodes, orders)


def with_attributes(
    plan: Plan, resource: str, values: Mapping[str, str]
) -> tuple[Plan, dict[str, dict[str, str]], set[str]]:
    """Return the plan with attributes of `resource` changed, the attributes by kind of resource, and the names of the
    load balancers that it concerns. Raises AwsError as `set_attributes` does.
    """
    balancers = [balancer for balancer in plan.load_balancers if balancer.name == resource]
    if balancers:
        kinds: tuple[str, ...] = (LOAD_BALANCER, LISTENER)
    else:
        group_named_or_balancer(plan, resource)
        kinds = (TARGET_GROUP,)
        balancers = list(plan.balancers_of(resource))
    table = ATTRIBUTES[balancers[0].type if balancers else GATEWAY].TABLE
    by_kind = {kind: {key: value for key, value in values.items() if key in table[kind]} for kind in kinds}
    if unknown := [key for key in values if not any(key in keys for keys in by_kind.values())]:
        known = ", ".join(key for kind in kinds for key in table[kind])
        raise AwsError(f"'{unknown[0]}' is not an attribute of {resource}; there are: {known}")
    changed = plan
    for kind, texts in by_kind.items():
        if texts:
            for balancer in balancers:
                _attributes(changed, balancer).changed(kind, texts)
            changed = _changed_plan(changed, resource, kind, texts)
    return changed, by_kind, {balancer.name for balancer in balancers}


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
    for node in _nodes_needed(lab, lab.plan.gateway_nodes):
        answer = lab.call(node.name, "advance", within_seconds=ADVANCE_SECONDS, seconds=seconds)
        found[node.name] = Ended(answer["count"], tuple(answer["ended"]))
    return found


def group_named_or_balancer(plan: Plan, name: str) -> None:
    """Raise SettingError (LoadBalancerNotFound) for a name that neither a load balancer nor a target group has."""
    names = [balancer.name for balancer in plan.load_balancers] + [group.name for group in plan.target_groups]
    if name not in names:
        raise AwsError(
            f"no load balancer or target group {name}; there are: {', '.join(names)}",
            "LoadBalancerNotFound",
        )


def _attributes(plan: Plan, balancer: LoadBalancer) -> Attributes:
    return ATTRIBUTES[balancer.type].from_text(
        balancer.attributes, balancer.listener_attributes, plan.group_of(balancer.name).attributes
    )


def _changed_plan(plan: Plan, resource: str, kind: str, texts: Mapping[str, str]) -> Plan:
    if kind == "target-group":
        group = group_named(plan, resource)
        return _with_group(plan, dataclasses.replace(group, attributes=group.attributes | dict(texts)))
    balancers = tuple(
        _changed_balancer(old, kind, texts) if old.name == resource else old for old in plan.load_balancers
    )
    return dataclasses.replace(plan, load_balancers=balancers)


def _changed_balancer(old: LoadBalancer, kind: str, texts: Mapping[str, str]) -> LoadBalancer:
    if kind == "load-balancer":
        return dataclasses.replace(old, attributes=old.attributes | dict(texts))
    (listener,) = old.listeners  # a gateway load balancer's: its keys are asked for by the load balancer's name
    changed = dataclasses.replace(listener, attributes=listener.attributes | dict(texts))
    return dataclasses.replace(old, listeners=(changed,))


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 351, 351s, 6m or 1h. Raises SettingError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|)", text)
    if match is None:
        raise SettingError(f"{text!r} is not a time: expected a number with s, m or h, such as 351s")
    return float(match[1]) * _UNITS[match[2]]
