"""AWS's attributes of a load balancer, its listener or a target group: what is set, and AWS's defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY
from gwlbemu.lab.change import group_named, group_named_or_balancer
from gwlbemu.topology.plan.values import Plan


@dataclass(frozen=True, slots=True)
class AttributeSetting:
    """One attribute of `resource`, which is a load balancer (or its listener) or a target group, by `kind`.

    `value` and `default` are text, as AWS writes them; `expected` says which values AWS takes.
    """

    resource: str
    kind: str  # load-balancer | listener | target-group
    key: str
    value: str
    default: str
    expected: str
    source: str  # the page of AWS's guide

    @property
    def owner(self) -> str:
        """What it is an attribute of, in words: "listener of firewall"."""
        return f"{self.kind.replace('-', ' ')} {'of ' if self.kind == LISTENER else ''}{self.resource}"

    @property
    def is_default(self) -> bool:
        """Whether it is as AWS makes it."""
        return self.value == self.default


def read_attributes(plan: Plan, resource: str) -> tuple[AttributeSetting, ...]:
    """Return the attributes of what is called `resource`: those that `set` takes for that name, in AWS's order.

    Raises AwsError (LoadBalancerNotFound) for a name that neither a load balancer nor a target group has.
    """
    group_named_or_balancer(plan, resource)
    for balancer in plan.load_balancers:
        if balancer.name == resource:
            return (
                *_settings(balancer.type, resource, LOAD_BALANCER, balancer.attributes),
                *_settings(balancer.type, resource, LISTENER, balancer.listener_attributes),
            )
    users = plan.balancers_of(resource)
    kind = users[0].type if users else GATEWAY
    return tuple(_settings(kind, resource, TARGET_GROUP, group_named(plan, resource).attributes))


def _settings(balancer_type: str, resource: str, kind: str, values: dict[str, str]) -> Iterator[AttributeSetting]:
    for key, row in ATTRIBUTES[balancer_type].rows(kind).items():
        yield AttributeSetting(resource, kind, key, values[key], row.text(row.default), row.expected, row.source)
