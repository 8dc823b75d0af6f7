"""A plan's network load balancer in the core's words: what its nodes are told, at their start and by `configure`."""

from __future__ import annotations

from ipaddress import IPv4Address

from gwlbemu.core.elb import tls, tls_policies
from gwlbemu.core.elb.rules import Action
from gwlbemu.core.elb.target import Target
from gwlbemu.core.network import settings
from gwlbemu.topology.plan.listeners import Listener, Tls
from gwlbemu.topology.plan.values import Plan, TargetGroup

_VERSIONS = {"ipv4": 4, "ipv6": 6}  # IpAddressType of a rule's condition


def network_balancer(plan: Plan, name: str) -> settings.Balancer:
    """Return the plan's network load balancer `name` as its nodes are told of it, at their start and by `configure`."""
    balancer = next(each for each in plan.load_balancers if each.name == name)
    return settings.Balancer(
        attributes=dict(balancer.attributes),
        listeners=tuple(_network_listener(each) for each in balancer.listeners),
        groups=tuple(_network_group(each) for each in plan.groups_of(name)),
    )


def _network_listener(listener: Listener) -> settings.Listener:
    (action,) = listener.default_actions
    port = listener.port or 0
    told = None if listener.tls is None else node_tls(listener.tls, port)
    by_version: dict[int, settings.Forward] = {}
    for rule in listener.rules:  # the first that matches counts
        for condition in rule.conditions:
            by_version.setdefault(_VERSIONS[condition.ip_address_type], _forward(rule.actions[0]))
    return settings.Listener(
        listener.protocol, port, _forward(action), dict(listener.attributes), tuple(sorted(by_version.items())), told
    )


def node_tls(told: Tls, port: int) -> tls.Tls:
    """Return how the listener on `port` speaks TLS as a node is told it, with files in the node's own folder."""
    versions = tls_policies.POLICIES[told.ssl_policy]
    return tls.Tls(
        certificates=tuple(certificate_file(port, number) for number in range(len(told.certificates))),
        oldest_version=versions.oldest,
        newest_version=versions.newest,
        alpn=tls_policies.ALPN_POLICIES[told.alpn_policy],
        trust_store=trust_store_file(port) if told.trust_store else "",
        ignore_expiry=told.ignore_client_certificate_expiry,
        advertise_authorities=told.advertise_trust_store_ca_names,
        passthrough=told.passthrough,
    )


def _forward(action: Action) -> settings.Forward:
    return settings.Forward(tuple((one.target_group, one.weight) for one in action.target_groups), action.sticky)


def _network_group(group: TargetGroup) -> settings.Group:
    return settings.Group(
        name=group.name,
        protocol=group.protocol,
        target_type=group.target_type,
        attributes=dict(group.attributes),
        health_check=group.health_check,
        targets=tuple(
            Target(each.id, IPv4Address(each.address).packed, each.zone, each.port) for each in group.targets
        ),
    )


def certificate_file(port: int, number: int) -> str:
    """Return the name, in a node's own folder, of a certificate of the listener on `port`; 0 is the default one."""
    return f"tls-{port}-{number}.pem"


def trust_store_file(port: int) -> str:
    """Return the name, in a node's own folder, of the trust store of the listener on `port`."""
    return f"tls-{port}-trust.pem"
