"""The lab half of a plan, load balancing: what load balancers of every type have, listeners and target groups."""

from __future__ import annotations

from gwlbemu.core.elb import tls_policies
from gwlbemu.core.elb.balancer_types import GROUP_DEFAULTS, TYPE_OF_PROTOCOL
from gwlbemu.topology.file import attributes
from gwlbemu.topology.file import balancing as file
from gwlbemu.topology.file.places import subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.listeners import LAB_CERTIFICATE, Action, Condition, Listener, Rule, Tls, WeightedTargetGroup


def target_groups(topology: Topology, layout: Layout) -> tuple[plan.TargetGroup, ...]:
    """Return every target group, with the address and the zone of each target."""
    return tuple(_target_group(topology, layout, group) for group in topology.target_groups)


def load_balancers(topology: Topology) -> tuple[plan.LoadBalancer, ...]:
    """Return every load balancer, with its listeners and all its attributes."""
    return tuple(_load_balancer(topology, balancer) for balancer in topology.load_balancers)


def _target_group(topology: Topology, layout: Layout, group: file.TargetGroup) -> plan.TargetGroup:
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == group.vpc)
    kind = TYPE_OF_PROTOCOL[group.protocol]
    defaults = GROUP_DEFAULTS[kind](group.protocol, group.target_type)
    addresses = {i.name: layout.interface(i.subnet, i.name).address for i in vpc.instances}
    targets = [(one.id, addresses.get(one.id, one.id), one.port) for one in group.targets]
    return plan.TargetGroup(
        name=group.name,
        vpc=group.vpc,
        protocol=group.protocol,
        port=group.port,
        target_type=group.target_type,
        health_check=group.health_check.settings(group.protocol),
        attributes=attributes.complete(kind, attributes.TARGET_GROUP, defaults | group.attributes),
        targets=tuple(
            plan.Target(
                f"{name}:{port}" if port not in (None, group.port) else name,
                address,
                target_zone(vpc, address),
                port or group.port,
            )
            for name, address, port in targets
        ),
    )


def _load_balancer(topology: Topology, balancer: file.LoadBalancer) -> plan.LoadBalancer:
    subnets = subnets_by_name(topology)
    return plan.LoadBalancer(
        name=balancer.name,
        type=balancer.type,
        vpc=subnets[balancer.subnets[0].subnet][0].name,
        zones=tuple(subnets[place.subnet][1].zone for place in balancer.subnets),
        attributes=attributes.complete(balancer.type, attributes.LOAD_BALANCER, balancer.attributes),
        listeners=tuple(_listener(balancer.type, listener) for _, listener in balancer.all_listeners()),
        scheme="internet-facing" if balancer.is_internet_facing else "internal",
        ip_address_type=balancer.ip_address_type,
        security_groups=balancer.security_groups,
    )


def _listener(balancer_type: str, listener: file.Listener) -> Listener:
    return Listener(
        default_actions=tuple(map(_action, listener.default_actions)),
        protocol=listener.protocol or "",
        port=listener.port,
        rules=tuple(
            Rule(
                rule.priority,
                tuple(map(_condition, rule.conditions)),
                tuple(map(_action, rule.actions)),
            )
            for rule in sorted(listener.rules, key=lambda rule: rule.priority)
        ),
        attributes=attributes.complete(balancer_type, attributes.LISTENER, listener.attributes),
        tls=_tls(listener) if listener.protocol == "TLS" else None,
    )


def _tls(listener: file.Listener) -> Tls:
    mutual = listener.mutual_authentication or file.MutualAuthentication()
    return Tls(
        certificates=listener.certificates or (LAB_CERTIFICATE,),
        ssl_policy=listener.ssl_policy or tls_policies.DEFAULT,
        alpn_policy=listener.alpn_policy or "None",
        trust_store=mutual.trust_store or "",
        ignore_client_certificate_expiry=mutual.ignore_client_certificate_expiry,
        advertise_trust_store_ca_names=mutual.advertise_trust_store_ca_names == "on",
    )


def _condition(condition: file.Condition) -> Condition:
    source = condition.source_ip_config
    return Condition(condition.field, condition.values or (), source.ip_address_type if source else "")


def _action(action: file.Action) -> Action:
    groups = tuple(WeightedTargetGroup(one.target_group, one.weight) for _, one in action.weighted_target_groups())
    sticky = action.forward_config is not None and action.forward_config.target_group_stickiness_config.enabled
    return Action(action.type, groups, sticky=sticky)
