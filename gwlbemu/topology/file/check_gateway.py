"""What AWS refuses about the listener of a gateway load balancer.

Sources: ELBv2 API, CreateListener and CreateRule (botocore's service model elbv2 2015-12-01); GWLB guide, Listeners.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.file.balancing import Listener, LoadBalancer
from gwlbemu.topology.file.document import Path, Problem

# The keys of a listener that are for other types of load balancer: whatever they hold is refused.
NOT_FOR_GATEWAY = {
    "protocol": "you can't specify a protocol for a Gateway Load Balancer",
    "port": "you can't specify a port for a Gateway Load Balancer",
    "rules": "rules are for the listeners of an Application Load Balancer: expected none here",
}


def listener_problems(balancer: LoadBalancer, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with the listeners of a gateway load balancer that stands at `path`."""
    listeners = balancer.all_listeners()
    for rest, _ in listeners[1:]:
        yield Problem((*path, *rest), "a Gateway Load Balancer has one listener: expected no second one")
    for rest, listener in listeners:
        yield from _listener(listener, (*path, *rest))


def _listener(listener: Listener, path: Path) -> Iterator[Problem]:
    for key, refusal in NOT_FOR_GATEWAY.items():
        if getattr(listener, key) not in (None, ()):
            yield Problem((*path, key), refusal)
    if len(listener.default_actions) > 1:
        yield Problem(
            (*path, "default_actions", 1), "a Gateway Load Balancer forwards by one action: expected no second one"
        )
    for number, action in enumerate(listener.default_actions):
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
