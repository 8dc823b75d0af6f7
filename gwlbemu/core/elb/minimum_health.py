"""How many targets of a group have to be healthy, as network and application load balancers have it.

The attributes `target_group_health.*`: with fewer healthy targets in a zone than `dns_failover` wants, the zone is not
in DNS; with fewer than `unhealthy_state_routing` wants, all targets get new connections or requests (NLB guide and ALB
guide, Target group health). Also whether targets of other zones are in scope, which both may say of a group.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from gwlbemu.core.elb.attributes import Attribute
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.target_group import GroupAttributes, TargetGroup

USE_BALANCER = "use_load_balancer_configuration"
_KEY = "target_group_health.{}.minimum_healthy_targets.{}"


class MinimumHealthAttributes:
    """What the attributes of such a type answer; a number of 0 is off."""

    __slots__ = ()
    balancer_cross_zone: bool
    group_cross_zone: str
    dns_minimum_count: int
    dns_minimum_percentage: int
    routing_minimum_count: int
    routing_minimum_percentage: int

    def dns_minimum(self, targets: int) -> int:
        """Return how many of so many targets have to be healthy for a zone to be in DNS; 0 while both keys are off."""
        return max(self.dns_minimum_count, -(-targets * self.dns_minimum_percentage // 100))

    def routing_minimum(self, targets: int) -> int:
        """Return how many of so many targets have to be healthy for the unhealthy ones to get nothing new."""
        return max(self.routing_minimum_count, -(-targets * self.routing_minimum_percentage // 100))

    @property
    def cross_zone(self) -> bool:
        """Whether targets of every enabled zone are in scope: as the group says, else as the load balancer."""
        return self.balancer_cross_zone if self.group_cross_zone == USE_BALANCER else self.group_cross_zone == "true"


def minimum_health_rows(source: str, most_targets: int) -> tuple[Attribute, ...]:
    """Return the rows of these keys for a type whose groups have at most `most_targets`; `source` is a guide page."""

    def count(kind: str, field: str, may_be_off: bool) -> Attribute:
        return Attribute(_KEY.format(kind, "count"), field, 1, source, 1, most_targets, may_be_off=may_be_off)

    def percentage(kind: str, field: str) -> Attribute:
        return Attribute(_KEY.format(kind, "percentage"), field, 0, source, 1, 100, may_be_off=True)

    return (
        count("dns_failover", "dns_minimum_count", may_be_off=True),
        percentage("dns_failover", "dns_minimum_percentage"),
        count("unhealthy_state_routing", "routing_minimum_count", may_be_off=False),
        percentage("unhealthy_state_routing", "routing_minimum_percentage"),
    )


class _GroupAttributes(GroupAttributes, Protocol):
    def dns_minimum(self, targets: int) -> int:
        """See `MinimumHealthAttributes`."""

    def routing_minimum(self, targets: int) -> int:
        """See `MinimumHealthAttributes`."""


M = TypeVar("M", bound=Member)
A = TypeVar("A", bound=_GroupAttributes)


class MinimumHealthGroup(TargetGroup[M, A]):
    """A target group that sends to unhealthy targets as long as too few are healthy."""

    @property
    def is_failing_open(self) -> bool:
        """Whether new connections or requests go to all targets, since fewer are healthy than have to be."""
        return bool(self.in_service) and len(self.healthy) < self._attributes.routing_minimum(len(self.in_service))

    @property
    def eligible(self) -> tuple[M, ...]:
        """The members that may be sent something new."""
        return self.in_service if self.is_failing_open else self.healthy

    def healthy_count(self) -> tuple[int, int]:
        """Return how many of the targets in this zone's scope are healthy, and how many have to be for the zone to be
        in DNS.
        """
        registered = [each for each in self.members.values() if each.is_registered and self.is_in_scope(each)]
        wanted = self._attributes.dns_minimum(len(registered))
        return sum(each.health.healthy is True for each in registered), wanted
