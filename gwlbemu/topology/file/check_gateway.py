"""What AWS refuses about a gateway load balancer, its listener and its target groups.

Sources: ELBv2 API, CreateLoadBalancer, CreateListener, CreateRule and CreateTargetGroup (botocore's service model elbv2
2015-12-01); GWLB guide, Listeners, Target groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.rules import FORWARD
from gwlbemu.topology.file.balancing import GENEVE_PORT, Listener, LoadBalancer, TargetGroup
from gwlbemu.topology.file.document import Path, Problem

# The keys of a listener that are for other types of load balancer: whatever they hold is refused.
NOT_FOR_GATEWAY = {
    "protocol": "you can't specify a protocol for a Gateway Load Balancer",
    "port": "you can't specify a port for a Gateway Load Balancer",
    "rules": "rules are for the listeners of other types of load balancer: expected none here",
}
# The keys of a load balancer, and of one of its subnets, that are for network load balancers.
_OF_NETWORK = {
    "scheme": "you can't specify a scheme for a Gateway Load Balancer: expected no such key",
    "ip_address_type": "a Gateway Load Balancer carries IPv4 and IPv6 here without it: expected no such key",
    "security_groups": "you can't specify security groups for a Gateway Load Balancer: expected no such key",
}
_OF_NETWORK_SUBNET = {
    "ipv6_address": "you can't specify an IPv6 address for a Gateway Load Balancer: expected no such key",
    "public_address": "you can't specify an Elastic IP address for a Gateway Load Balancer: expected no such key",
}


def gateway_problems(balancer: LoadBalancer, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with a gateway load balancer that stands at `path`, and with its listeners."""
    for key, refusal in _OF_NETWORK.items():
        if key in balancer.model_fields_set:
            yield Problem((*path, key), refusal)
    for number, place in enumerate(balancer.subnets):
        for key, refusal in _OF_NETWORK_SUBNET.items():
            if key in place.model_fields_set:
                yield Problem((*path, "subnets", number, key), refusal)
    listeners = balancer.all_listeners()
    for rest, _ in listeners[1:]:
        yield Problem((*path, *rest), "a Gateway Load Balancer has one listener: expected no second one")
    for rest, listener in listeners:
        yield from _listener(listener, (*path, *rest))


def geneve_group_problems(group: TargetGroup, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with a target group of protocol GENEVE that stands at `path` (contract TG-01)."""
    if group.port != GENEVE_PORT:
        yield Problem((*path, "port"), f"expected {GENEVE_PORT}, got {group.port}")
    if group.target_type == "alb":
        yield Problem((*path, "target_type"), "expected 'instance' or 'ip', got 'alb'")
    for number, target in enumerate(group.targets):
        if target.port not in (None, GENEVE_PORT):
            yield Problem(
                (*path, "targets", number, "port"), f"a target of a GENEVE group is at {GENEVE_PORT}: expected no port"
            )


def _listener(listener: Listener, path: Path) -> Iterator[Problem]:
    for key, refusal in NOT_FOR_GATEWAY.items():
        if getattr(listener, key) not in (None, ()):
            yield Problem((*path, key), refusal)
    if len(listener.default_actions) > 1:
        yield Problem(
            (*path, "default_actions", 1), "a Gateway Load Balancer forwards by one action: expected no second one"
        )
    for number, action in enumerate(listener.default_actions):
        if action.type != FORWARD:
            yield Problem(
                (*path, "default_actions", number, "type"),
                f"a Gateway Load Balancer forwards: expected 'forward', got {action.type!r} "
                "(InvalidLoadBalancerAction)",
            )
        for rest, _ in action.weighted_target_groups()[1:]:
            yield Problem(
                (*path, "default_actions", number, *rest[:-1]),
                "a Gateway Load Balancer forwards to one target group: expected no second one",
            )
        for rest, group in action.weighted_target_groups()[:1]:
            if group.weight == 0:
                yield Problem(
                    (*path, "default_actions", number, *rest[:-1], "weight"),
                    "with weight 0 nothing would be forwarded: expected 1 or more, or no weight",
                )
