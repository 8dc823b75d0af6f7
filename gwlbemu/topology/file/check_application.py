"""What AWS refuses about an application load balancer, its listeners and its target groups; AWS's code in brackets.

Sources: ELBv2 API, CreateLoadBalancer, CreateListener, CreateTargetGroup (botocore's service model elbv2 2015-12-01);
ALB guide, Application Load Balancers, Listeners, Target groups, Quotas. Rules and actions are `check_rules`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netaddr import IPNetwork

from gwlbemu.topology.file.balancing import Listener, LoadBalancer, TargetGroup
from gwlbemu.topology.file.check_network import dualstack_problems, security_group_problems
from gwlbemu.topology.file.check_rules import listener_rule_problems
from gwlbemu.topology.file.check_tls import tls_problems
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import Vpc

MOST_LISTENERS, MOST_GROUPS, MOST_RULES, MOST_CERTIFICATES = 50, 100, 100, 25  # ALB guide, Quotas
SMALLEST_SUBNET = 27  # prefix length; ALB guide, Subnets for your load balancer
PROTOCOLS = ("HTTP", "HTTPS")
_NOBODY_CHOOSES = "is AWS's to assign for an Application Load Balancer: expected no such key (ValidationError)"
_NOT_OF_A_SUBNET = {
    "address": f"a private IPv4 address {_NOBODY_CHOOSES}",
    "ipv6_address": f"an IPv6 address {_NOBODY_CHOOSES}",
    "public_address": f"a public address {_NOBODY_CHOOSES}; scheme internet-facing gives it one in each zone",
}


def application_problems(
    balancer: LoadBalancer, home: Vpc | None, groups: Mapping[str, TargetGroup], path: Path
) -> Iterator[Problem]:
    """Yield what is wrong with an application load balancer that stands at `path`, and with its listeners.

    `home` is its VPC if its subnets have one, `groups` are all target groups by name.
    """
    yield from _subnets(balancer, home, path)
    yield from dualstack_problems(balancer, home, path)
    yield from security_group_problems(balancer, home, path)
    if balancer.listener is not None:
        yield Problem(
            (*path, "listener"),
            "an Application Load Balancer's listener has a protocol and a port: expected the key listeners instead",
        )
        return
    listeners = balancer.all_listeners()
    if len(listeners) > MOST_LISTENERS:
        yield Problem(
            (*path, "listeners"), f"{len(listeners)} listeners: expected at most {MOST_LISTENERS} (TooManyListeners)"
        )
    if (rules := sum(len(listener.rules) for _, listener in listeners)) > MOST_RULES:
        yield Problem((*path, "listeners"), f"{rules} rules: expected at most {MOST_RULES} (TooManyRules)")
    if (used := len(balancer.target_groups())) > MOST_GROUPS:
        yield Problem(
            (*path, "listeners"),
            f"{used} target groups: expected at most {MOST_GROUPS} (TooManyUniqueTargetGroupsPerLoadBalancer)",
        )
    extra = sum(len(listener.certificates or ()) - 1 for _, listener in listeners if listener.certificates)
    if extra > MOST_CERTIFICATES:
        yield Problem(
            (*path, "listeners"),
            f"{extra} certificates beside default ones: expected at most {MOST_CERTIFICATES} (TooManyCertificates)",
        )
    taken: dict[int, str] = {}
    for rest, listener in listeners:
        here = (*path, *rest)
        yield from _listener(listener, here)
        yield from listener_rule_problems(listener, groups, here)
        yield from tls_problems(listener, here)
        if listener.port in taken:
            yield Problem(
                (*here, "port"),
                f"a listener exists on port {listener.port} already ({taken[listener.port]}): expected another port "
                "(DuplicateListener)",
            )
        elif listener.port is not None:
            taken[listener.port] = listener.protocol or "without a protocol"


def application_group_problems(group: TargetGroup, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with an application load balancer's target group that stands at `path`."""
    if group.target_type == "alb":
        yield Problem(
            (*path, "protocol"), f"targets of type alb need protocol TCP, got {group.protocol} (ValidationError)"
        )


def _subnets(balancer: LoadBalancer, home: Vpc | None, path: Path) -> Iterator[Problem]:
    if len(balancer.subnets) < 2:
        yield Problem(
            (*path, "subnets"),
            "at least two subnets in two different Availability Zones must be specified, got one (ValidationError)",
        )
    for number, place in enumerate(balancer.subnets):
        for key, refusal in _NOT_OF_A_SUBNET.items():
            if getattr(place, key) is not None:
                yield Problem((*path, "subnets", number, key), refusal)
    if home is None:
        return
    cidrs = {subnet.name: subnet.cidr for subnet in home.subnets}
    for number, place in enumerate(balancer.subnets):
        cidr = cidrs.get(place.subnet)
        if cidr is not None and IPNetwork(cidr).prefixlen > SMALLEST_SUBNET:
            yield Problem(
                (*path, "subnets", number, "subnet"),
                f"subnet {place.subnet} ({cidr}) is too small for an Application Load Balancer: expected at least a "
                f"/{SMALLEST_SUBNET} (InvalidSubnet)",
            )
    if balancer.is_internet_facing and home.internet_gateway is None:
        yield Problem(
            (*path, "scheme"),
            f"VPC {home.name} has no internet_gateway: expected one there, or scheme internal (InvalidSubnet)",
        )


def _listener(listener: Listener, path: Path) -> Iterator[Problem]:
    for key in ("protocol", "port"):
        if getattr(listener, key) is None:
            yield Problem((*path, key), "this key is missing: an Application Load Balancer's listener has it")
    if listener.protocol is not None and listener.protocol not in PROTOCOLS:
        yield Problem(
            (*path, "protocol"),
            f"{listener.protocol} is for Network Load Balancers: expected HTTP or HTTPS (UnsupportedProtocol)",
        )
