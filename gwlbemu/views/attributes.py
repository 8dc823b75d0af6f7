"""AWS's attributes of a load balancer, its listener or a target group: what is set, and AWS's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GROUP_DEFAULTS
from gwlbemu.lab.planned import listener_name, resource_named
from gwlbemu.topology.plan.values import Plan

_NO_OTHERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class AttributeSetting:
    """One attribute of `resource`, which is a load balancer (or its listener, web/TCP:80) or a target group, by
    `kind`.

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

    Of a network load balancer's listeners each has its own, web/TCP:80. Raises AwsError (LoadBalancerNotFound,
    ListenerNotFound) for a name that nothing has.
    """
    named = resource_named(plan, resource)
    if named.group is not None:
        group = named.group
        defaults = GROUP_DEFAULTS[named.type](group.protocol, group.target_type)
        return tuple(_settings(named.type, resource, TARGET_GROUP, group.attributes, defaults))
    (balancer,) = named.balancers
    found: list[AttributeSetting] = []
    if LOAD_BALANCER in named.kinds:
        found += _settings(named.type, resource, LOAD_BALANCER, balancer.attributes)
    for listener in balancer.listeners:
        name = listener_name(balancer, listener)
        if name in named.listeners:
            found += _settings(named.type, name, LISTENER, listener.attributes)
    return tuple(found)


def _settings(
    balancer_type: str, resource: str, kind: str, values: Mapping[str, str], defaults: Mapping[str, str] = _NO_OTHERS
) -> Iterator[AttributeSetting]:
    for key, row in ATTRIBUTES[balancer_type].rows(kind).items():
        default = defaults.get(key, row.text(row.default))
        yield AttributeSetting(resource, kind, key, values[key], default, row.expected, row.source)
