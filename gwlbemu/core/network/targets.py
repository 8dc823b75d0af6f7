"""What a Network Load Balancer keeps of its targets beyond what every load balancer does: their numbers, and which of
them have lost their connections.

When the connections of a target end (NLB guide, Edit target group attributes, "Connection termination" and "Unhealthy
draining interval"; Health checks, fail open):

    unhealthy      at once, unless unhealthy.connection_termination is off. Then they are kept: for the draining
                   interval, during which it is `unhealthy.draining`, or, with an interval of 0, until they end by
                   themselves (that both, and that the interval's end ends them, is our reading)
    fails open     not, as long as the group does; those of the unhealthy ones as soon as it no longer does
    deregistered   at the end of the deregistration delay with deregistration_delay.connection_termination, else not
    not in scope   any more, as cross-zone load balancing is off now: not
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gwlbemu.core.elb.balancer_types import MOST_TARGETS, NETWORK
from gwlbemu.core.elb.choice import Seed
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.minimum_health import MinimumHealthGroup
from gwlbemu.core.elb.network_attributes import NetworkAttributes
from gwlbemu.core.elb.states import Membership, Status
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.target_group import GroupSettings
from gwlbemu.core.network.settings import Group, Settings
from gwlbemu.core.network.tables import SLOTS

UNHEALTHY_DRAINING = "unhealthy.draining"


class NetworkMember(Member):
    """A target with its `number`, which no other of the load balancer ever has.

    `ended` says that its connections have been ended, and that no others came since. `unhealthy_since` is math.inf
    of one that packets do not meet as unhealthy.
    """

    __slots__ = ("ended", "is_unhealthy_draining", "number", "unhealthy_since")

    def __init__(self, target: Target, weight_index: int, is_local: bool, number: int) -> None:
        super().__init__(target, weight_index, is_local)
        self.number = number
        self.ended = self.is_unhealthy_draining = False
        self.unhealthy_since = math.inf

    @property
    def status(self) -> Status:
        """AWS's state of the target, with `unhealthy.draining` (TargetHealthStateEnum)."""
        status = super().status
        return status._replace(state=UNHEALTHY_DRAINING) if self.is_unhealthy_draining else status


class NetworkTargetGroup(MinimumHealthGroup[NetworkMember, NetworkAttributes]):
    """One target group as one node sees it: its `number`, and by `take_ended` whose connections are to end."""

    def __init__(
        self,
        settings: Settings,
        told: Group,
        attributes: NetworkAttributes,
        number: int,
        next_number: Callable[[], int],
        now: float,
    ) -> None:
        super().__init__(
            GroupSettings(
                zone=settings.zone,
                most_targets=MOST_TARGETS[NETWORK],
                zones=settings.zones,
                health_check=told.health_check,
                propagation_delay_seconds=settings.emulation.propagation_delay_seconds,
            ),
            attributes,
            lambda target, index, is_local: NetworkMember(target, index, is_local, next_number()),
        )
        self.number = number
        self._seed = Seed(settings.seed)
        self._ended: list[NetworkMember] = []
        self._slots: tuple[NetworkMember, ...] = ()
        self._slots_of: tuple[NetworkMember, ...] = ()  # the eligible members that `_slots` was made of
        for target in told.targets:
            self.register(target, now)

    def slots(self) -> tuple[NetworkMember, ...]:
        """Return the member of each slot, or nothing while no target may be chosen.

        Losing a member moves its slots alone, and it gets the very same ones back.
        """
        eligible = self.eligible
        if eligible != self._slots_of:
            keys = (number.to_bytes(2, "big") for number in range(SLOTS))
            self._slots = tuple(self.choose(self._seed, key, eligible) for key in keys) if eligible else ()
            self._slots_of = eligible
        return self._slots

    def take_ended(self) -> list[NetworkMember]:
        """Return the members whose connections are to end since the last call."""
        taken, self._ended = self._ended, []
        return taken

    def _take_effect(self, member: NetworkMember, now: float) -> None:
        super()._take_effect(member, now)
        unhealthy = member.membership is Membership.REGISTERED and member.health.healthy is False
        member.unhealthy_since = min(member.unhealthy_since, now) if unhealthy else math.inf
        keeps_until = self._keeps_until(member)
        if now < keeps_until < math.inf:
            self._schedule(member, keeps_until)
        for each in self.members.values():  # whether the group fails open matters to all
            self._judge(each, now)

    def _keeps_until(self, member: NetworkMember) -> float:
        """When an unhealthy member's connections end, math.inf for never."""
        if self._attributes.terminate_on_unhealthy:
            return member.unhealthy_since
        interval = self._attributes.unhealthy_draining_seconds
        return member.unhealthy_since + interval if interval else math.inf

    def _judge(self, member: NetworkMember, now: float) -> None:
        keeps_until = self._keeps_until(member)
        is_unhealthy = member.unhealthy_since < math.inf
        member.is_unhealthy_draining = is_unhealthy and now < keeps_until < math.inf
        if member.membership is Membership.GONE:
            ended = self._attributes.terminate_on_deregistration
        else:
            ended = is_unhealthy and keeps_until <= now and not self.is_failing_open
        if ended and not member.ended:
            self._ended.append(member)
        member.ended = ended
