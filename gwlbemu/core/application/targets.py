"""What an Application Load Balancer keeps of its targets beyond what every load balancer does: slow start, the name of
each as a server, and which of them are to have no requests any more.

    new            one passed check makes a target healthy that has just been registered (ALB guide, Health checks)
    slow start     of a target that became healthy while another one is healthy and not in slow start: its share rises
                   linearly to the full one. It ends with its time, and when the target is unhealthy or deregistered;
                   those that were healthy when it was switched on are not in it (ALB guide, Edit target group
                   attributes, "Slow start mode"). The share rises in STEPS, each the mean of its part of the line,
                   which is our choice, as is that a target that is healthy again enters it under the same condition
    deregistered   draining: nothing new; what is running when the deregistration delay ends is ended (ALB guide,
                   Troubleshoot, HTTP 502)
    not in scope   any more, as cross-zone load balancing is off now: nothing new, what is running goes on
"""

from __future__ import annotations

import math
from hashlib import blake2b

from gwlbemu.core.application.engine import FULL_WEIGHT
from gwlbemu.core.application.settings import Group, Settings
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.balancer_types import APPLICATION, MOST_TARGETS
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.minimum_health import MinimumHealthGroup
from gwlbemu.core.elb.states import Membership
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.target_group import GroupSettings

STEPS = 20  # in which a target's share rises during slow start


class ApplicationMember(Member):
    """A target with the name of its `server` and its `weight`; `slow_since` is math.inf of one not in slow start."""

    __slots__ = ("server", "slow_since", "weight")

    def __init__(self, target: Target, weight_index: int, is_local: bool, server: str) -> None:
        super().__init__(target, weight_index, is_local)
        self.server = server
        self.slow_since = math.inf
        self.weight = FULL_WEIGHT

    @property
    def is_in_slow_start(self) -> bool:
        """Whether it has less than its full share of the requests because it is new."""
        return self.slow_since < math.inf


class ApplicationTargetGroup(MinimumHealthGroup[ApplicationMember, ApplicationAttributes]):
    """One target group as one node sees it. `take_ended` tells whose requests are to end."""

    def __init__(self, settings: Settings, told: Group, attributes: ApplicationAttributes, now: float) -> None:
        super().__init__(
            GroupSettings(
                zone=settings.zone,
                most_targets=MOST_TARGETS[APPLICATION],
                zones=settings.zones,
                health_check=told.health_check,
                propagation_delay_seconds=settings.emulation.propagation_delay_seconds,
            ),
            attributes,
            lambda target, index, is_local: ApplicationMember(
                target, index, is_local, server_name(settings.cookie_secret, told.name, target)
            ),
        )
        self._ended: list[ApplicationMember] = []
        self.effects = 0  # how often the requests met a change
        for target in told.targets:
            self.register(target, now)

    def take_ended(self) -> list[ApplicationMember]:
        """Return the members whose requests are to end since the last call."""
        taken, self._ended = self._ended, []
        return taken

    def _passes_wanted(self, member: ApplicationMember) -> int:
        return 1 if member.health.healthy is None else super()._passes_wanted(member)

    def _take_effect(self, member: ApplicationMember, now: float) -> None:
        was_healthy = member.in_service and member.is_healthy
        super()._take_effect(member, now)
        self.effects += 1
        if not (member.in_service and member.is_healthy):
            member.slow_since = math.inf
        elif (
            not was_healthy
            and self._attributes.slow_start_seconds
            and any(not each.is_in_slow_start for each in self.healthy if each is not member)
        ):
            member.slow_since = now
        self._ramp(member, now)
        if member.membership is Membership.GONE and self.knows(member):
            self._ended.append(member)

    def _ramp(self, member: ApplicationMember, now: float) -> None:
        """Give a member the weight that it has at `now`, and come back for the next one."""
        seconds = self._attributes.slow_start_seconds
        if member.is_in_slow_start and now < member.slow_since + seconds:
            step = math.floor((now - member.slow_since) * STEPS / seconds + 1e-6)
            member.weight = max(1, round(FULL_WEIGHT * (2 * step + 1) / (2 * STEPS)))
            self._schedule(member, member.slow_since + (step + 1) * seconds / STEPS)
        else:
            member.slow_since, member.weight = math.inf, FULL_WEIGHT


def server_name(secret: bytes, group: str, target: Target) -> str:
    """Return the name of a target as a server: the same in all nodes, and to a client no more than a number."""
    what = f"{group}\0{target.id}\0{target.port}".encode()
    return "s" + blake2b(what, digest_size=8, key=blake2b(secret, digest_size=32).digest()).hexdigest()
