"""The lab half of a plan, load balancing: what load balancers of every type have, listeners and target groups."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb import rules, tls_policies
from gwlbemu.core.elb.balancer_types import APPLICATION, GROUP_DEFAULTS, TYPE_OF_PROTOCOL
from gwlbemu.topology.file import attributes
from gwlbemu.topology.file import balancing as file
from gwlbemu.topology.file import rules as file_rules
from gwlbemu.topology.file.places import subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Topology, Vpc
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.listeners import LAB_CERTIFICATE, Listener, Tls
from gwlbemu.topology.plan.node_places import application_places

_NO_FORWARD = file_rules.ForwardConfig.model_construct()


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
    return plan.TargetGroup(
        name=group.name,
        vpc=group.vpc,
        protocol=group.protocol,
        protocol_version=_version(kind, group),
        port=group.port,
        target_type=group.target_type,
        health_check=group.checked(),
        attributes=attributes.complete(kind, attributes.TARGET_GROUP, defaults | group.attributes),
        targets=tuple(_targets(topology, layout, vpc, group)),
    )


def _targets(topology: Topology, layout: Layout, vpc: Vpc, group: file.TargetGroup) -> Iterator[plan.Target]:
    """Yield the targets of a group. A target of type alb stands for the nodes of that load balancer, each of which is a
    target by its own name, in its own zone.
    """
    if group.target_type == "alb":
        for place in application_places(topology):
            if place.balancer.name in group.target_ids:
                address = layout.interface(place.subnet.name, place.node).address
                yield plan.Target(place.node, address, place.subnet.zone, group.port)
        return
    addresses = {i.name: layout.interface(i.subnet, i.name).address for i in vpc.instances}
    for one in group.targets:
        port = one.port or group.port
        address = addresses.get(one.id, one.id)
        name = one.id if port == group.port else f"{one.id}:{port}"
        yield plan.Target(name, address, target_zone(vpc, address), port)


def _version(kind: str, group: file.TargetGroup) -> str:
    return (group.protocol_version or "HTTP1") if kind == APPLICATION else ""


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
            rules.Rule(
                rule.priority,
                tuple(map(_condition, rule.conditions)),
                tuple(map(_action, rule.actions)),
                tuple(rules.Transform(each.type, each.rewrite.regex, each.rewrite.replace) for each in rule.transforms),
            )
            for rule in sorted(listener.rules, key=lambda rule: rule.priority)
        ),
        attributes=attributes.complete(balancer_type, attributes.LISTENER, listener.attributes),
        tls=_tls(listener) if listener.protocol in ("TLS", "HTTPS") else None,
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
        passthrough=mutual.mode == "passthrough",
    )


def _condition(condition: file_rules.Condition) -> rules.Condition:
    source, query, header = condition.source_ip_config, condition.query_string_config, condition.http_header_config
    one = condition.host_header_config or condition.path_pattern_config or header
    method = condition.http_request_method_config
    values = condition.values or (one and one.values) or (method and method.values) or (source and source.values) or ()
    return rules.Condition(
        field=condition.field,
        values=values,
        ip_address_type=(source and source.ip_address_type) or "",
        header=header.http_header_name if header else "",
        query=tuple((each.key or "", each.value) for each in query.values) if query else (),
        regex_values=condition.regex_values or (one and one.regex_values) or (),
    )


def _action(action: file_rules.Action) -> rules.Action:
    groups = tuple(
        rules.WeightedTargetGroup(one.target_group, one.weight) for _, one in action.weighted_target_groups()
    )
    stickiness = (action.forward_config or _NO_FORWARD).target_group_stickiness_config
    return rules.Action(
        type=action.type,
        target_groups=groups,
        sticky=stickiness.enabled,
        sticky_seconds=stickiness.duration_seconds or 0,
        redirect=_redirect(action.redirect_config) if action.redirect_config else None,
        fixed_response=_fixed_response(action.fixed_response_config) if action.fixed_response_config else None,
        jwt_validation=_jwt_validation(action.jwt_validation_config) if action.jwt_validation_config else None,
    )


def _redirect(told: file_rules.RedirectConfig) -> rules.Redirect:
    status = int(told.status_code.removeprefix("HTTP_"))
    return rules.Redirect(status, told.protocol, told.host, told.port, told.path, told.query)


def _fixed_response(told: file_rules.FixedResponseConfig) -> rules.FixedResponse:
    return rules.FixedResponse(int(told.status_code), told.content_type or "", told.message_body or "")


def _jwt_validation(told: file_rules.JwtValidationConfig) -> rules.JwtValidation:
    claims = tuple(rules.Claim(each.name, each.format, each.values) for each in told.additional_claims)
    return rules.JwtValidation(told.jwks_endpoint, told.issuer, claims)
