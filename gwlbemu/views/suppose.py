"""What a change would make of a lab: `fail`, `heal`, `register`, `deregister` and `set`, applied to a plan and states.

As the lab is when the change has been noticed: health checks have failed or passed, attributes are in force. Nothing is
done to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gwlbemu.errors import SettingError
from gwlbemu.lab.failure import refuse_unknown
from gwlbemu.lab.planned import deregistered, nodes_of_group, registered, target_id_in, with_attributes
from gwlbemu.paths.values import States
from gwlbemu.topology.file.changes import read_change
from gwlbemu.topology.plan.values import Node, Plan


def suppose(plan: Plan, states: States, text: str) -> tuple[Plan, States]:
    """Return plan and states after the change that `text` names, such as "fail instance fw-a1".

    Raises SettingError for words that name no change, and what the change itself would be refused with.
    """
    try:
        verb, arguments = change = read_change(text)
    except ValueError as error:
        raise SettingError(f"--after {text!r}: {error}") from None
    if verb in ("fail", "heal"):
        return plan, _broken(plan, states, (arguments[0], arguments[1]), broken=verb == "fail")
    if verb == "set":
        return with_attributes(plan, arguments[0], change.values)[0], states
    return _membership(plan, states, verb, *arguments)


def _broken(plan: Plan, states: States, failure: tuple[str, str], *, broken: bool) -> States:
    kind, name = failure
    refuse_unknown(plan, kind, name)
    now = states.broken | {failure} if broken else states.broken - {failure}
    before, after = set(_unfit(plan, states.broken)), set(_unfit(plan, now))
    targets, members = dict(states.targets), dict(states.members)
    gateways = {node.name for node in plan.gateway_nodes}
    for node in plan.nodes:
        known = {(group.name, each.id) for group in plan.groups_of(node.load_balancer) for each in group.targets}
        unfit = known if _is_cut(node, now) else known & after
        were = known if _is_cut(node, states.broken) else known & before
        for group, target in unfit | were:
            state = "unhealthy" if (group, target) in unfit else "healthy"
            if node.name in gateways:
                targets[node.name, target] = state
            else:
                members[node.name, group, target] = state
    return replace(states, targets=targets, members=members, broken=now)


def _is_cut(node: Node, broken: frozenset[tuple[str, str]]) -> bool:
    """Whether a node reaches nobody."""
    return bool({("node", node.name), ("zone", node.zone)} & broken)


def _unfit(plan: Plan, broken: frozenset[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield group and id of the targets whose health checks fail while these are broken.

    Of a load balancer's node as a target that is so while nobody reaches it; that nobody is left behind it is not seen.
    """
    nodes = {node.address: node for node in plan.application_nodes}
    instances = {each.name: each for each in plan.instances} | {
        each.address: each for each in plan.instances if each.vpc
    }
    for group in plan.target_groups:
        for target in group.targets:
            instance = instances.get(target.id) or instances.get(target.address)
            node = nodes.get(target.address)
            if node is not None and _is_cut(node, broken):
                yield group.name, target.id
            if instance is None:
                continue
            whole = {("instance", instance.name), ("link", instance.name), ("health", instance.name)}
            # A frozen process still accepts connections, which is all that a TCP check wants (its kernel does).
            frozen = ("process", instance.name) in broken and group.health_check.protocol != "TCP"
            if whole & broken or ("zone", instance.zone) in broken or frozen:
                yield group.name, target.id


def _membership(plan: Plan, states: States, verb: str, group: str, target: str) -> tuple[Plan, States]:
    nodes = [node.name for node in nodes_of_group(plan, group)]
    # The weights by which a node chooses go by who is registered since when: what it would choose then is left open.
    seeds = {node: seed for node, seed in states.seeds.items() if node not in nodes}
    if verb == "register":
        changed, member = registered(plan, group, target)
        target, state = member.id, "healthy"
    else:
        changed, target = deregistered(plan, group, target), target_id_in(plan, group, target)
        state = "draining"
    if verb == "deregister" and changed == plan:
        return changed, replace(states, seeds=seeds)
    gateways = {node.name for node in plan.gateway_nodes}
    targets = {(node, target): state for node in nodes if node in gateways}
    members = {(node, group, target): state for node in nodes if node not in gateways}
    return changed, replace(
        states, targets={**states.targets, **targets}, members={**states.members, **members}, seeds=seeds
    )
