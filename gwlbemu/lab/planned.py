"""What a change makes of a plan: the plan after RegisterTargets, DeregisterTargets or a Modify...Attributes call. Pure.

Nothing is told and nothing written here (that is `change`): a change is checked as a whole by making the plan after it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator, Mapping

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP, Attributes
from gwlbemu.core.elb.balancer_types import APPLICATION, ATTRIBUTES, GATEWAY, MOST_TARGETS, NETWORK, TYPE_OF_PROTOCOL
from gwlbemu.core.elb.network_attributes import check_group_attributes
from gwlbemu.core.elb.rules import sticky_refusal
from gwlbemu.core.elb.target import EVERY_ZONE, check_ip_target
from gwlbemu.errors import AwsError
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.values import LoadBalancer, Node, Plan, Target, TargetGroup

HIGHEST_PORT = 65535
_FIXED = ("UDP", "TLS")  # listeners of these protocols have no attributes (NLB guide, Idle timeout)


# ---- names -----------------------------------------------------------------------------------------------------------
def group_named(plan: Plan, name: str) -> TargetGroup:
    """Return the target group called `name`. Raises SettingError (TargetGroupNotFound) when there is none."""
    for group in plan.target_groups:
        if group.name == name:
            return group
    known = ", ".join(group.name for group in plan.target_groups)
    raise AwsError(f"no target group {name}; there are: {known}", "TargetGroupNotFound")


def nodes_of_group(plan: Plan, group: str) -> list[Node]:
    """Return the nodes whose load balancers forward to the target group `group`."""
    balancers = {balancer.name for balancer in plan.balancers_of(group)}
    return [node for node in plan.nodes if node.load_balancer in balancers]


def listener_name(balancer: LoadBalancer, listener: Listener) -> str:
    """Return the name by which `set` and `attributes` take one listener: web/TCP:80; a gateway's is its balancer's."""
    return f"{balancer.name}/{listener.protocol}:{listener.port}" if listener.protocol else balancer.name


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """What `set` and `attributes` take by name: a load balancer, one of its listeners, or a target group.

    A load balancer's name stands for itself and for all of its listeners that have attributes.
    """

    name: str
    type: str  # of the load balancer that may use it
    kinds: tuple[str, ...]  # the resources whose attributes it has: load-balancer, listener, target-group
    balancers: tuple[LoadBalancer, ...]  # that it concerns; none for a group that nobody uses
    listeners: frozenset[str] = frozenset()  # with attributes, by name (`listener_name`); none of a target group's
    group: TargetGroup | None = None


def resource_named(plan: Plan, name: str) -> Resource:
    """Return what is called `name`. Raises AwsError (LoadBalancerNotFound, ListenerNotFound) when nothing is."""
    for balancer in plan.load_balancers:
        listeners = {listener_name(balancer, each): each for each in balancer.listeners}
        changeable = frozenset(key for key, each in listeners.items() if each.protocol not in _FIXED)
        if name == balancer.name:
            return Resource(name, balancer.type, (LOAD_BALANCER, LISTENER), (balancer,), changeable)
        if name in listeners:
            return Resource(name, balancer.type, (LISTENER,), (balancer,), changeable & {name})
        if name.startswith(f"{balancer.name}/"):
            known = ", ".join(key for key in listeners if key != balancer.name) or "none by name"
            raise AwsError(f"no listener {name}; there are: {known}", "ListenerNotFound")
    for group in plan.target_groups:
        if group.name == name:
            users = plan.balancers_of(name)
            return Resource(name, TYPE_OF_PROTOCOL[group.protocol], (TARGET_GROUP,), users, group=group)
    names = [balancer.name for balancer in plan.load_balancers] + [group.name for group in plan.target_groups]
    raise AwsError(f"no load balancer or target group {name}; there are: {', '.join(names)}", "LoadBalancerNotFound")


# ---- targets ---------------------------------------------------------------------------------------------------------
def registered(plan: Plan, group_name: str, target_id: str, zone: str | None = None) -> tuple[Plan, Target]:
    """Return the plan with a target registered, and the target. `target_id` may have a port behind it: web-a:8080.

    Of type alb every node of the load balancer is registered, of which the first is returned. Raises AwsError.
    """
    group = group_named(plan, group_name)
    if group.target_type == "alb":
        return _alb_registered(plan, group, target_id)
    target = _target(plan, group, target_id, zone)
    others = tuple(old for old in group.targets if old.id != target.id)
    kind = TYPE_OF_PROTOCOL[group.protocol]
    if kind != GATEWAY and len(others) >= MOST_TARGETS[kind]:  # a gateway's node counts those that drain, too
        most = MOST_TARGETS[kind]
        raise AwsError(f"there are {most} targets, which is the most a load balancer may have", "TooManyTargets")
    return _with_group(plan, dataclasses.replace(group, targets=(*others, target))), target


def deregistered(plan: Plan, group_name: str, target_id: str) -> Plan:
    """Return the plan without a target, which need not have been registered. Raises SettingError."""
    group = group_named(plan, group_name)
    if group.target_type == "alb":
        nodes = {node.name for node in plan.application_nodes if node.load_balancer == target_id}
        kept = tuple(target for target in group.targets if target.id not in nodes)
        return _with_group(plan, dataclasses.replace(group, targets=kept))
    name, port = _name_and_port(group, target_id)
    left = tuple(target for target in group.targets if target.id != _id(group, name, port))
    return _with_group(plan, dataclasses.replace(group, targets=left))


def target_id_in(plan: Plan, group_name: str, target_id: str) -> str:
    """Return the id of a target as the plan has it: without a port that is the group's own. Raises AwsError."""
    group = group_named(plan, group_name)
    return _id(group, *_name_and_port(group, target_id))


def _name_and_port(group: TargetGroup, target_id: str) -> tuple[str, int]:
    """Take a port off a target's id. DeregisterTargets: who registered with another port than the group's has to name
    it here, too.
    """
    name, colon, port = target_id.rpartition(":")
    if not colon or ":" in name or not (port.isascii() and port.isdigit()):
        return target_id, group.port
    if TYPE_OF_PROTOCOL[group.protocol] == GATEWAY and int(port) != group.port:
        raise AwsError(f"a target of a {group.protocol} group has port {group.port}, not {port}")
    if not 1 <= int(port) <= HIGHEST_PORT:
        raise AwsError(f"target {target_id}: a port is from 1 to {HIGHEST_PORT}")
    return name, int(port)


def _id(group: TargetGroup, name: str, port: int) -> str:
    return name if port == group.port else f"{name}:{port}"


def _target(plan: Plan, group: TargetGroup, target_id: str, zone: str | None) -> Target:
    name, port = _name_and_port(group, target_id)
    full = _id(group, name, port)
    if group.target_type == "instance":
        if zone is not None:
            raise AwsError("an Availability Zone cannot be given for a target of type instance")
        for instance in plan.instances:
            if instance.name == name and instance.vpc == group.vpc:
                return Target(full, instance.address, instance.zone, port)
        known = ", ".join(i.name for i in plan.instances if i.vpc == group.vpc)
        raise AwsError(f"{name} is not an instance of VPC {group.vpc}; there are: {known}", "InvalidTarget")
    check_ip_target(name, [vpc.cidr for vpc in plan.vpcs if vpc.name == group.vpc])
    address = ipaddress.ip_address(name)
    homes = [s.zone for s in plan.subnets if s.vpc == group.vpc and address in ipaddress.ip_network(s.cidr)]
    if not homes and zone is None:
        raise AwsError(f"an Availability Zone (or all) is needed for {name}: not in VPC {group.vpc}")
    zones = {subnet.zone for subnet in plan.subnets if subnet.vpc == group.vpc} | {EVERY_ZONE}
    if zone is not None and zone not in zones:
        raise AwsError(f"VPC {group.vpc} has no zone {zone}; there are: {', '.join(sorted(zones))}")
    if homes and zone not in (None, homes[0]):
        raise AwsError(f"{name} is in zone {homes[0]} of VPC {group.vpc}, not in {zone}")
    return Target(full, name, zone or homes[0], port)


def _alb_registered(plan: Plan, group: TargetGroup, name: str) -> tuple[Plan, Target]:
    """RegisterTargets of an application load balancer (NLB guide, Use an Application Load Balancer as a target)."""
    there = {each.name: each for each in plan.load_balancers if each.type == APPLICATION and each.vpc == group.vpc}
    if name not in there:
        known = ", ".join(there) or "none"
        raise AwsError(
            f"{name} is no Application Load Balancer of VPC {group.vpc}; there are: {known}", "InvalidTarget"
        )
    if group.port not in {listener.port for listener in there[name].listeners}:
        raise AwsError(f"{name} has no listener on port {group.port} of target group {group.name}", "InvalidTarget")
    nodes = [node for node in plan.application_nodes if node.load_balancer == name]
    if {target.id for target in group.targets} - {node.name for node in nodes}:
        raise AwsError(f"target group {group.name} has an Application Load Balancer already", "TooManyTargets")
    targets = tuple(Target(node.name, node.address, node.zone, group.port) for node in nodes)
    return _with_group(plan, dataclasses.replace(group, targets=targets)), targets[0]


def _with_group(plan: Plan, group: TargetGroup) -> Plan:
    return dataclasses.replace(
        plan, target_groups=tuple(group if old.name == group.name else old for old in plan.target_groups)
    )


# ---- attributes ------------------------------------------------------------------------------------------------------
def with_attributes(plan: Plan, name: str, values: Mapping[str, str]) -> tuple[Plan, set[str]]:
    """Return the plan with attributes of the resource `name` changed, and the load balancers that it concerns.

    Raises AwsError for an unknown key, a value out of range, or a combination that AWS refuses.
    """
    resource = resource_named(plan, name)
    table = ATTRIBUTES[resource.type].TABLE
    by_kind = {kind: {key: value for key, value in values.items() if key in table[kind]} for kind in resource.kinds}
    if unknown := [key for key in values if not any(key in keys for keys in by_kind.values())]:
        if reason := ATTRIBUTES[resource.type].absent(unknown[0]):
            raise AwsError(f"{unknown[0]} of {name}: {reason}")
        known = ", ".join(key for kind in resource.kinds for key in table[kind])
        raise AwsError(f"'{unknown[0]}' is not an attribute of {name}; there are: {known}")
    if resource.group is not None and resource.type == NETWORK:
        _check_network_group(resource.group, values)
    if resource.group is not None and resource.type == APPLICATION:
        _check_stickiness(resource.group, resource.balancers, values)
    changed = plan
    for kind, texts in by_kind.items():
        if texts:
            if kind == LISTENER and not resource.listeners:
                raise AwsError(f"{next(iter(texts))} can't be changed for a UDP or TLS listener, as {name} is")
            for attributes in _attributes(changed, resource):
                attributes.changed(kind, texts)
            changed = _changed_plan(changed, resource, kind, texts)
    return changed, {balancer.name for balancer in resource.balancers}


def _check_network_group(group: TargetGroup, values: Mapping[str, str]) -> None:
    """Refuse what AWS refuses of a group of that protocol and target type."""
    check_group_attributes(group.protocol, group.target_type, values)


def _check_stickiness(group: TargetGroup, balancers: tuple[LoadBalancer, ...], values: Mapping[str, str]) -> None:
    """Refuse stickiness that AWS refuses of a group behind an action with several groups."""
    for listener in (each for balancer in balancers for each in balancer.listeners):
        rules = [action for rule in listener.rules for action in rule.actions]
        for action in (*rules, *listener.default_actions):
            if group.name in {one.target_group for one in action.target_groups}:
                together = group.attributes | dict(values)
                refusal = sticky_refusal(len(action.target_groups), action.sticky, group.name, together)
                if refusal:
                    raise AwsError(refusal, "InvalidConfigurationRequest")


def _attributes(plan: Plan, resource: Resource) -> Iterator[Attributes]:
    """Yield every combination of a load balancer's, a listener's and a target group's attributes in which it is."""
    kind = ATTRIBUTES[resource.type]
    if resource.group is not None and not resource.balancers:
        yield kind.from_text(target_group=resource.group.attributes)
    names = {balancer.name for balancer in resource.balancers}
    for balancer in (each for each in plan.load_balancers if each.name in names):
        for listener in balancer.listeners:
            if resource.group is None and listener_name(balancer, listener) not in resource.listeners:
                continue
            for name in dict.fromkeys(listener.target_groups()):
                if resource.group is None or resource.group.name == name:
                    group = group_named(plan, name)
                    yield kind.from_text(balancer.attributes, listener.attributes, group.attributes)


def _changed_plan(plan: Plan, resource: Resource, kind: str, texts: Mapping[str, str]) -> Plan:
    if resource.group is not None:
        group = group_named(plan, resource.group.name)
        return _with_group(plan, dataclasses.replace(group, attributes=group.attributes | dict(texts)))
    name = resource.balancers[0].name
    balancers = tuple(
        _changed_balancer(old, resource, kind, texts) if old.name == name else old for old in plan.load_balancers
    )
    return dataclasses.replace(plan, load_balancers=balancers)


def _changed_balancer(old: LoadBalancer, resource: Resource, kind: str, texts: Mapping[str, str]) -> LoadBalancer:
    if kind == LOAD_BALANCER:
        return dataclasses.replace(old, attributes=old.attributes | dict(texts))
    return dataclasses.replace(
        old,
        listeners=tuple(
            dataclasses.replace(each, attributes=each.attributes | dict(texts))
            if listener_name(old, each) in resource.listeners
            else each
            for each in old.listeners
        ),
    )
