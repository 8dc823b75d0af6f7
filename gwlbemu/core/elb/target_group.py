"""The targets of a group as one node sees them: who is registered, who is healthy, who may take new connections.

Rules of this file: what a state means stands in `states`, what a probe result means in `health`; here is only when they
change. A change reaches the packets `propagation_delay_seconds` later: `in_service` and `healthy` are what packets
meet, `Member.status` is what people are told. Zones: with cross-zone load balancing off only this zone's targets are in
scope, with it on those of every enabled zone, all alike (guide, Cross-zone load balancing). Health is each node's own
finding (guide, Health checks).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from gwlbemu.core.elb import choice
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.states import BY_REASON, Membership
from gwlbemu.core.elb.target import EVERY_ZONE, Target
from gwlbemu.errors import AwsError


class GroupAttributes(Protocol):
    """The attributes that a target group of any type goes by."""

    @property
    def cross_zone(self) -> bool:
        """Whether targets of every enabled zone are in scope."""

    @property
    def deregistration_delay_seconds(self) -> float:
        """How long a deregistered target drains."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What a target group is told once. `zone` is the node's, `zones` the load balancer's enabled ones (the node's is
    always one of them), `most_targets` AWS's quota over all zones.
    """

    zone: str
    most_targets: int
    zones: tuple[str, ...] = ()
    health_check: HealthCheck = field(default_factory=HealthCheck)
    propagation_delay_seconds: float = 0


M = TypeVar("M", bound=Member)
A = TypeVar("A", bound=GroupAttributes)


class TargetGroup(Generic[M, A]):
    """The members of a group and their changes; `now` is seconds on one clock that never goes back.

    `make_member` makes a member of a target, its weight index and whether it is local: `Member` itself, or the kind
    that a type of load balancer keeps more in. `in_service` and `healthy` are the members that new connections could
    be sent to and the healthy ones among them, by ascending weight index; `by_address` has them by `Target.place`.
    """

    def __init__(self, settings: GroupSettings, attributes: A, make_member: Callable[[Target, int, bool], M]) -> None:
        self._settings = settings
        self._enabled_zones = {settings.zone, *settings.zones, EVERY_ZONE}
        self._attributes = attributes
        self._make_member = make_member
        # A heap: when a change reaches the packets, or a deregistration delay ends.
        self._pending: list[tuple[float, int, M]] = []
        self._sequence = 0
        self._by_weight_index: list[M | None] = []
        self.members: dict[str, M] = {}
        self.by_address: dict[bytes, M] = {}
        self.healthy: tuple[M, ...] = ()
        self.in_service: tuple[M, ...] = ()

    @property
    def attributes(self) -> A:
        """What it goes by now."""
        return self._attributes

    # ---- who takes a new connection ----
    @property
    def is_failing_open(self) -> bool:
        """Whether new connections go to unhealthy targets because no target in scope is healthy (guide, Health
        checks: fail open).
        """
        return not self.healthy and bool(self.in_service)

    @property
    def eligible(self) -> tuple[M, ...]:
        """The members that a new connection may be sent to: the healthy ones, else every one in service."""
        return self.healthy or self.in_service

    def choose(self, seed: choice.Seed, key: bytes, members: tuple[M, ...]) -> M:
        """Return the member that rendezvous hashing gives to the connection `key` out of `members`, which are not none
        and are by ascending weight index.
        """
        if len(members) == 1:
            return members[0]
        weights = choice.weights(seed, key, len(self._by_weight_index))
        index = choice.heaviest(weights, [member.weight_index for member in members])
        return next(member for member in members if member.weight_index == index)

    # ---- changes ----
    def register(self, target: Target, now: float) -> None:
        """Add a target, or take one back that was deregistered; one that is registered stays as it is.

        Raises AwsError with AWS's code: InvalidTarget for an id or address that is known otherwise, TooManyTargets.
        """
        known = self.members.get(target.id)
        if known is not None and (known.place, known.zone) != (target.place, target.zone):
            raise AwsError(f"target {target.id} is known with another address or zone", "InvalidTarget")
        if known is None and target.place in self.by_address:
            raise AwsError(
                f"target {target.id} has the address of target {self.by_address[target.place].id}", "InvalidTarget"
            )
        if known is not None and known.is_registered:
            return
        most = self._settings.most_targets
        if sum(member.is_registered for member in self.members.values()) >= most:
            raise AwsError(f"there are {most} targets, which is the most a load balancer may have", "TooManyTargets")
        member = known or self._add(target)
        enabled = target.zone in self._enabled_zones
        member.membership = Membership.REGISTERED if enabled else Membership.NOT_IN_USE
        member.draining_ends_at = math.inf
        member.start_over()
        self._changed(member, now)

    def deregister(self, target_id: str, now: float) -> None:
        """Let a target drain. Raises AwsError (InvalidTarget) when it is not registered."""
        member = self.members.get(target_id)
        if member is None or not member.is_registered:
            raise AwsError(f"target {target_id} is not registered with the target group", "InvalidTarget")
        member.membership = Membership.DRAINING
        member.draining_ends_at = now + self._attributes.deregistration_delay_seconds
        self._schedule(member, member.draining_ends_at)
        self._changed(member, now)

    def observe(self, target_id: str, ok: bool, now: float, reason: str = "", description: str = "") -> None:
        """Count a probe's result; one for a target that is not probed (any more) means nothing.

        Of one that failed, `reason` may be one of AWS's codes (see `states.status_of`) and `description` what was seen.
        """
        member = self.members.get(target_id)
        if member is None or member.membership is not Membership.REGISTERED or not self.is_in_scope(member):
            return
        before = member.health.healthy
        member.health = member.health.observe(
            ok, self._passes_wanted(member), self._settings.health_check.unhealthy_threshold_count
        )
        member.has_probe_result = True
        if not ok:
            member.reason, member.description = reason, description
        elif member.health.healthy is not False or member.reason in BY_REASON:
            member.reason = member.description = ""
        if member.health.healthy is not before:
            self._changed(member, now)

    def change_attributes(self, attributes: A, now: float) -> None:
        """Work by other attributes from now on; a draining target keeps the delay it began with."""
        scope_changed = attributes.cross_zone != self._attributes.cross_zone
        self._attributes = attributes
        for member in list(self.members.values()):
            if scope_changed and not member.is_local:
                member.start_over()
            self._changed(member, now)

    def change_health_check(self, check: HealthCheck) -> None:
        """Count results against other thresholds from now on; what was found so far stays."""
        self._settings = replace(self._settings, health_check=check)

    def advance(self, now: float) -> list[M]:
        """Do what is due by `now`: changes reach the packets, deregistration delays end.

        Returns the members to which that happened.
        """
        affected = []
        while self._pending and self._pending[0][0] <= now:
            due_at, _, member = heapq.heappop(self._pending)
            if member.membership is Membership.DRAINING and member.draining_ends_at <= due_at:
                member.membership = Membership.GONE
                self._changed(member, due_at)
            elif due_at >= member.takes_effect_at:
                self._take_effect(member, due_at)
            affected.append(member)
        return affected

    def next_deadline(self) -> float:
        """Return when `advance` has something to do next; math.inf when nothing waits."""
        return self._pending[0][0] if self._pending else math.inf

    # ---- members ----
    def is_in_scope(self, member: M) -> bool:
        """Whether this node uses (and probes) the target at all."""
        if member.membership is Membership.NOT_IN_USE:
            return False
        return member.is_local or self._attributes.cross_zone

    def to_probe(self) -> Iterator[M]:
        """Yield the members to probe."""
        return (
            member
            for member in self.members.values()
            if member.membership is Membership.REGISTERED and self.is_in_scope(member)
        )

    def knows(self, member: M) -> bool:
        """Whether a member has not been forgotten."""
        return self.members.get(member.id) is member

    def is_forgettable(self, member: M) -> bool:
        """Whether a member is gone, for the packets too, and nothing refers to it any more."""
        gone = member.membership is Membership.GONE and not member.in_service
        return gone and not member.is_referenced and self.knows(member)

    def forget(self, member: M) -> None:
        """Drop a forgettable member; its weight index is free again."""
        del self.members[member.id]
        del self.by_address[member.place]
        self._by_weight_index[member.weight_index] = None
        while self._by_weight_index and self._by_weight_index[-1] is None:
            self._by_weight_index.pop()

    # ---- for a type that keeps more of its members ----
    def _passes_wanted(self, member: M) -> int:
        """Return how many passed checks in a row make a member healthy."""
        return self._settings.health_check.healthy_threshold_count

    def _await_effect(self, member: M) -> None:
        """Called when a change of a member has been decided and reaches the packets later."""

    def _take_effect(self, member: M, now: float) -> None:
        """Let the packets meet a member as it is known."""
        member.in_service = member.membership is Membership.REGISTERED and self.is_in_scope(member)
        member.is_healthy = member.health.healthy is True
        self.in_service = tuple(each for each in self._by_weight_index if each is not None and each.in_service)
        self.healthy = tuple(each for each in self.in_service if each.is_healthy)

    def _add(self, target: Target) -> M:
        every = self._by_weight_index
        index = next((number for number, used in enumerate(every) if used is None), len(every))
        member = self._make_member(target, index, target.zone in (self._settings.zone, EVERY_ZONE))
        every[index : index + 1] = [member]
        self.members[target.id] = self.by_address[target.place] = member
        return member

    def _schedule(self, member: M, at: float) -> None:
        self._sequence += 1
        heapq.heappush(self._pending, (at, self._sequence, member))

    def _changed(self, member: M, now: float) -> None:
        """Let a change reach the packets, at once or after the propagation delay."""
        delay = self._settings.propagation_delay_seconds
        if delay:
            member.takes_effect_at = now + delay
            self._schedule(member, member.takes_effect_at)
            self._await_effect(member)
        else:
            self._take_effect(member, now)
