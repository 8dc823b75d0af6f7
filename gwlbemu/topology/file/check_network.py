"""What AWS refuses about a network load balancer, its listeners and its target groups; AWS's error code in brackets.

Sources: ELBv2 API, CreateLoadBalancer, CreateListener, CreateRule, CreateTargetGroup and RegisterTargets (botocore's
service model elbv2 2015-12-01; SourceIpConditionConfig of 2026); NLB guide, Listeners, Listener rules, Target groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gwlbemu.core.elb.network_attributes import PRESERVE, group_defaults
from gwlbemu.core.elb.rules import FORWARD
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.topology.file.balancing import Listener, LoadBalancer, TargetGroup
from gwlbemu.topology.file.check_tls import tls_problems
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.places import target_zone
from gwlbemu.topology.file.rules import Action, Rule
from gwlbemu.topology.file.schema import Vpc

MOST_LISTENERS = 50  # NLB guide, Quotas
# Which protocols the target groups of a listener may have (NLB guide, Target groups, Routing configuration).
FORWARDS = {"TCP": ("TCP", "TCP_UDP"), "UDP": ("UDP", "TCP_UDP"), "TCP_UDP": ("TCP_UDP",), "TLS": ("TCP", "TLS")}
_IDLE = "tcp.idle_timeout.seconds"
_CONDITION = "{field: source-ip, source_ip_config: {ip_address_type: ipv6}}, or ipv4 there"


def network_problems(
    balancer: LoadBalancer, home: Vpc | None, groups: Mapping[str, TargetGroup], path: Path
) -> Iterator[Problem]:
    """Yield what is wrong with a network load balancer that stands at `path`, and with its listeners.

    `home` is its VPC if its subnets have one, `groups` are all target groups by name.
    """
    yield from _addresses(balancer, path)
    yield from dualstack_problems(balancer, home, path)
    yield from security_group_problems(balancer, home, path)
    if balancer.listener is not None:
        yield Problem(
            (*path, "listener"),
            "a Network Load Balancer's listener has a protocol and a port: expected the key listeners instead",
        )
        return
    listeners = balancer.all_listeners()
    if len(listeners) > MOST_LISTENERS:
        yield Problem(
            (*path, "listeners"), f"{len(listeners)} listeners: expected at most {MOST_LISTENERS} (TooManyListeners)"
        )
    taken: dict[int, str] = {}
    for rest, listener in listeners:
        here = (*path, *rest)
        yield from _listener(listener, balancer.ip_address_type == "dualstack", here)
        yield from _forwards(listener, groups, here)
        yield from tls_problems(listener, here)
        if listener.port in taken:
            yield Problem(
                (*here, "port"),
                f"a listener exists on port {listener.port} already ({taken[listener.port]}): expected another port, "
                "or one listener TCP_UDP (DuplicateListener)",
            )
        elif listener.port is not None:
            taken[listener.port] = listener.protocol or "without a protocol"


def security_group_problems(balancer: LoadBalancer, home: Vpc | None, path: Path) -> Iterator[Problem]:
    """Yield the security groups of a load balancer that its VPC `home` has not."""
    known = [group.name for group in home.security_groups] if home else []
    for number, name in enumerate(balancer.security_groups):
        if home and name not in known:
            yield Problem(
                (*path, "security_groups", number),
                f"VPC {home.name} has no security group {name}: expected one of {', '.join(known) or 'none'} "
                "(InvalidSecurityGroup)",
            )


def dualstack_problems(balancer: LoadBalancer, home: Vpc | None, path: Path) -> Iterator[Problem]:
    """Yield the subnets in which a dual-stack load balancer's node could have no IPv6 address."""
    without_ipv6 = [subnet.name for subnet in home.subnets if subnet.ipv6_cidr is None] if home else []
    for number, place in enumerate(balancer.subnets):
        if balancer.ip_address_type == "dualstack" and place.subnet in without_ipv6:
            yield Problem(
                (*path, "subnets", number, "subnet"),
                f"subnet {place.subnet} has no ipv6_cidr: expected one for ip_address_type dualstack (InvalidSubnet)",
            )


def network_group_problems(group: TargetGroup, vpc: Vpc, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with a network load balancer's target group in `vpc` that stands at `path`."""
    if group.target_type == "alb":
        if group.protocol != "TCP":
            yield Problem((*path, "protocol"), f"targets of type alb need protocol TCP, got {group.protocol}")
        for number in range(1, len(group.targets)):
            yield Problem(
                (*path, "targets", number), "a target group has one Application Load Balancer: expected no second one"
            )
    if group.target_type == "ip" and (group_defaults(group.protocol, "ip") | group.attributes)[PRESERVE] == "true":
        for number, target in enumerate(group.targets):
            if target_zone(vpc, target.id) == EVERY_ZONE:
                yield Problem(
                    (*path, "targets", number),
                    f"{target.id} is in no subnet of VPC {vpc.name}: expected one there while {PRESERVE} is true "
                    "(InvalidTarget)",
                )


def alb_target_problems(
    group: TargetGroup, vpc: Vpc, balancers: Iterable[LoadBalancer], path: Path
) -> Iterator[Problem]:
    """Yield what is wrong with the targets of a group of type alb; `balancers` are the application load balancers.

    Source: NLB guide, Use an Application Load Balancer as a target.
    """
    if group.health_check.protocol == "TCP":
        yield Problem(
            (*path, "health_check", "protocol"),
            "targets of type alb are probed by HTTP or HTTPS: expected one of them (ValidationError)",
        )
    subnets = {subnet.name for subnet in vpc.subnets}
    there = {one.name: one for one in balancers if any(place.subnet in subnets for place in one.subnets)}
    for number, target in enumerate(group.targets[:1]):
        here = (*path, "targets", number)
        balancer = there.get(target.id)
        if balancer is None:
            known = ", ".join(there) or "one there"
            yield Problem(
                here,
                f"{target.id} is no Application Load Balancer of VPC {vpc.name}: expected {known} (InvalidTarget)",
            )
            continue
        if target.port not in (None, group.port):
            yield Problem(
                (*here, "port"), f"a target of type alb is at the group's port, {group.port}: expected no port"
            )
        ports = [listener.port for _, listener in balancer.all_listeners()]
        if group.port not in ports:
            yield Problem(
                here,
                f"{target.id} has no listener on port {group.port}: expected one there, or another port of the group, "
                f"{' or '.join(str(port) for port in ports if port)} (InvalidTarget)",
            )


def _addresses(balancer: LoadBalancer, path: Path) -> Iterator[Problem]:
    """Addresses that the scheme or the IP address type has no use for, or lacks (ELBv2 API, SubnetMapping)."""
    facing = balancer.is_internet_facing
    for number, place in enumerate(balancer.subnets):
        here = (*path, "subnets", number)
        if facing and place.public_address is None:
            yield Problem(
                (*here, "public_address"),
                "this key is missing: an internet-facing load balancer has an Elastic IP address per subnet, and "
                "nothing assigns one here",
            )
        if facing and place.address:
            yield Problem(
                (*here, "address"),
                "a private IPv4 address can be specified for an internal load balancer only: expected no such key",
            )
        if place.public_address and not facing:
            yield Problem(
                (*here, "public_address"),
                "an internal load balancer has no public address: expected scheme internet-facing (InvalidScheme)",
            )
        if place.ipv6_address and balancer.ip_address_type != "dualstack":
            yield Problem((*here, "ipv6_address"), "expected ip_address_type dualstack, or no such key")


def _forwards(listener: Listener, groups: Mapping[str, TargetGroup], path: Path) -> Iterator[Problem]:
    """Groups that a listener of this protocol may not forward to."""
    protocol = listener.protocol or ""
    if protocol not in FORWARDS:
        return
    for rest, name in listener.forwards():
        group = groups.get(name)
        if group is None or group.protocol not in FORWARDS:
            continue
        if group.protocol not in FORWARDS[protocol]:
            yield Problem(
                (*path, *rest),
                f"a {protocol} listener can't forward to target group {name} of protocol {group.protocol}: expected "
                f"{' or '.join(FORWARDS[protocol])} (IncompatibleProtocols)",
            )
        if group.target_type == "alb" and protocol != "TCP":
            yield Problem(
                (*path, *rest),
                f"target group {name} has targets of type alb, which a {protocol} listener can't forward to: expected "
                "TCP (IncompatibleProtocols)",
            )
        if protocol == "TLS" and group.attributes.get("stickiness.enabled") == "true":
            yield Problem(
                (*path, *rest),
                f"sticky sessions are not supported with TLS listeners: expected stickiness.enabled false in {name} "
                "(InvalidConfigurationRequest)",
            )


def _listener(listener: Listener, dual: bool, path: Path) -> Iterator[Problem]:
    for key in ("protocol", "port"):
        if getattr(listener, key) is None:
            yield Problem((*path, key), "this key is missing: a Network Load Balancer's listener has it")
    if listener.protocol in ("HTTP", "HTTPS"):
        yield Problem(
            (*path, "protocol"),
            f"{listener.protocol} is for Application Load Balancers: expected {', '.join(FORWARDS)} "
            "(UnsupportedProtocol)",
        )
    if _IDLE in listener.attributes and listener.protocol in ("UDP", "TLS"):
        yield Problem(
            (*path, "attributes", _IDLE),
            f"the idle timeout of a {listener.protocol} listener can't be changed: expected no such key",
        )
    yield from _actions(listener.default_actions, listener.protocol, (*path, "default_actions"))
    if listener.rules and not dual:
        yield Problem((*path, "rules"), "rules need a load balancer with ip_address_type dualstack: expected none here")
    priorities: set[int] = set()
    for number, rule in enumerate(listener.rules):
        here = (*path, "rules", number)
        if rule.priority in priorities:
            yield Problem(
                (*here, "priority"), f"priority {rule.priority} is in use: expected another one (PriorityInUse)"
            )
        priorities.add(rule.priority)
        yield from _conditions(rule, (*here, "conditions"))
        if rule.transforms:
            yield Problem(
                (*here, "transforms"), "transforms are for Application Load Balancers: expected none (ValidationError)"
            )
        yield from _actions(rule.actions, listener.protocol, (*here, "actions"))


def _conditions(rule: Rule, path: Path) -> Iterator[Problem]:
    for number, condition in enumerate(rule.conditions):
        if number:
            yield Problem((*path, number), "a Network Load Balancer's rule has one condition: expected no second one")
        elif condition.field != "source-ip" or condition.source_ip_config is None or condition.source_ip_config.values:
            yield Problem(
                (*path, number),
                f"a Network Load Balancer's rule asks for an IP version: expected {_CONDITION}",
            )


def _actions(actions: tuple[Action, ...], protocol: str | None, path: Path) -> Iterator[Problem]:
    for number in range(1, len(actions)):
        yield Problem(
            (*path, number), "a Network Load Balancer forwards by one action: expected no second one (TooManyActions)"
        )
    for number, action in enumerate(actions):
        if action.type != FORWARD:
            yield Problem(
                (*path, number, "type"),
                f"a Network Load Balancer's rules forward: expected 'forward', got {action.type!r} "
                "(InvalidLoadBalancerAction)",
            )
    for number, action in enumerate(actions[:1]):
        if action.type != FORWARD:
            continue
        groups = action.weighted_target_groups()
        config = (*path, number, "forward_config")
        if protocol == "TLS" and len(groups) > 1:
            yield Problem((*config, "target_groups", 1), "a TLS listener has one target group: expected no second one")
        if protocol == "TLS" and action.forward_config and action.forward_config.target_group_stickiness_config.enabled:
            yield Problem(
                (*config, "target_group_stickiness_config", "enabled"),
                "a TLS listener has one target group: expected false",
            )
        names = [group.target_group for _, group in groups]
        for (rest, group), before in zip(groups, range(len(groups)), strict=True):
            if group.target_group in names[:before]:
                yield Problem((*path, number, *rest), f"target group {group.target_group} is in the action already")
        if not any(group.weight for _, group in groups):
            yield Problem(
                (*config, "target_groups"),
                "with weight 0 for all nothing would be forwarded: expected 1 or more for one of them",
            )
