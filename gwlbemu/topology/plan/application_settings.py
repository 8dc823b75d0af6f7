"""A plan's application load balancer in the core's words: what its nodes are told."""

from __future__ import annotations

from ipaddress import IPv4Address

from gwlbemu.core.application import settings
from gwlbemu.core.elb.target import Target
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.network_settings import node_tls
from gwlbemu.topology.plan.values import Plan, TargetGroup


def application_balancer(plan: Plan, name: str) -> settings.Balancer:
    """Return the plan's application load balancer `name` as its nodes are told of it."""
    balancer = next(each for each in plan.load_balancers if each.name == name)
    return settings.Balancer(
        attributes=dict(balancer.attributes),
        listeners=tuple(_listener(each) for each in balancer.listeners),
        groups=tuple(_group(each) for each in plan.groups_of(name)),
    )


def _listener(listener: Listener) -> settings.Listener:
    port = listener.port or 0
    return settings.Listener(
        protocol=listener.protocol,
        port=port,
        rules=listener.rules,
        default_actions=listener.default_actions,
        attributes=dict(listener.attributes),
        tls=node_tls(listener.tls, port) if listener.tls else None,
    )


def _group(group: TargetGroup) -> settings.Group:
    return settings.Group(
        name=group.name,
        protocol=group.protocol,
        protocol_version=group.protocol_version,
        target_type=group.target_type,
        attributes=dict(group.attributes),
        health_check=group.health_check,
        targets=tuple(
            Target(each.id, IPv4Address(each.address).packed, each.zone, each.port) for each in group.targets
        ),
    )
