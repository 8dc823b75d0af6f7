"""The targets of a group as one node sees them: who is registered, who is healthy, who takes new flows, what becomes of
the others' flows.

Rules of this file: what a state means stands in `states`, what a probe result means in `health`; here is only when they
change. A change reaches the packets `propagation_delay_seconds` later: `in_service` and `fate` are what packets meet,
`status` is what people are told. Zones: with cross-zone load balancing off only this zone's targets are in scope, with
it on those of every enabled zone, all alike (guide, Cross-zone load balancing). Health is each node's own finding
(guide, Health checks).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from gwlbemu.core.elb.attributes import Attributes
from gwlbemu.core.elb.health import Health
from gwlbemu.core.elb.states import DRAINING, Fate, Membership, Status, fate_of, status_of
from gwlbemu.core.gateway.settings import EVERY_ZONE, TARGETS_PER_ZONE, Settings, Target
from gwlbemu.core.gateway.tunnel import Heads
from gwlbemu.errors import AwsError


class Member:
    """One target. `plain` means that its flows just go to it, whatever time it is.

    Packets in and out are counted here.
    """

    __slots__ = (
        "address", "bytes_from", "bytes_to", "failed_at", "fate", "flows", "gone_at", "heads", "health", "id",
        "in_service", "lane", "local", "membership", "packets_from", "packets_to", "passing", "plain", "probed",
        "reason", "return_addresses", "settles_at", "zone",
    )  # fmt: skip

    def __init__(self, target: Target, lane: int, local: bool, settings: Settings) -> None:
        self.id, self.address, self.zone = target.id, target.address, target.zone
        self.lane = lane
        self.local = local
        self.return_addresses = target.address + settings.node_address
        self.heads = Heads(settings.links.targets[target.address], settings.node_address, target.address)
        self.membership = Membership.REGISTERED
        self.health = Health()
        self.probed = False
        self.reason = ""
        self.gone_at = math.inf
        self.settles_at = -math.inf  # when its last change reaches the packets
        self.failed_at = -math.inf  # when it last began to fail, as packets see it
        self.in_service = self.passing = False  # takes new flows at all; is healthy: as packets see it
        self.fate = Fate.CARRY
        self.plain = True
        self.flows = self.packets_to = self.bytes_to = self.packets_from = self.bytes_from = 0

    @property
    def is_registered(self) -> bool:
        """Whether RegisterTargets was the last word about it, of use to this node or not."""
        return self.membership in (Membership.REGISTERED, Membership.NOT_IN_USE)

    @property
    def status(self) -> Status:
        if self.membership is Membership.GONE and self.in_service:
            return DRAINING  # without a deregistration delay, until the change has reached the packets
        return status_of(self.membership, self.health.healthy, self.probed, self.reason)


class TargetGroup:
    """The members and their changes. `healthy` and `registered` are what new flows choose from, by ascending lane."""

    def __init__(self, settings: Settings, attributes: Attributes, now: float) -> None:
        self._settings = settings
        self._zones = {settings.zone, *settings.zones, EVERY_ZONE}
        self._attributes = attributes
        # A heap: when a change reaches the packets, or a deregistration delay ends.
        self._pending: list[tuple[float, int, Member]] = []
        self._sequence = 0
        self._lanes: list[Member | None] = []
        self.members: dict[str, Member] = {}
        self.by_address: dict[bytes, Member] = {}
        self.healthy: tuple[Member, ...] = ()
        self.registered: tuple[Member, ...] = ()
        self.turned: list[Member] = []  # members whose `plain` changed since somebody took them from here
        for target in settings.targets:
            self.register(target, now)

    @property
    def lanes(self) -> int:
        return len(self._lanes)

    def register(self, target: Target, now: float) -> None:
        """Add a target, or take one back that was deregistered. Raises SettingError with AWS's code."""
        known = self.members.get(target.id)
        if known is not None and (known.address, known.zone) != (target.address, target.zone):
            raise AwsError(f"target {target.id} is known with another address or zone", "InvalidTarget")
        if known is None and target.address in self.by_address:
            raise AwsError(
                f"target {target.id} has the address of target {self.by_address[target.address].id}", "InvalidTarget"
            )
        if known is not None and known.is_registered:
            return
        beside = sum(member.zone == target.zone for member in self.members.values() if member.is_registered)
        if beside >= TARGETS_PER_ZONE:
            raise AwsError(
                f"zone {target.zone} has {TARGETS_PER_ZONE} targets, which is the most a target group may have",
                "TooManyTargets",
            )
        member = known or self._new_member(target)
        member.membership = Membership.REGISTERED if target.zone in self._zones else Membership.NOT_IN_USE
        member.health, member.probed, member.reason, member.gone_at = Health(), False, "", math.inf
        self._changed(member, now)

    def deregister(self, target_id: str, now: float) -> None:
        """Let a target drain. Raises SettingError (InvalidTarget) when it is not registered."""
        member = self.members.get(target_id)
        if member is None or not member.is_registered:
            raise AwsError(f"target {target_id} is not registered with the target group", "InvalidTarget")
        member.membership = Membership.DRAINING
        member.gone_at = now + self._attributes.deregistration_delay_seconds
        self._schedule(member, member.gone_at)
        self._changed(member, now)

    def observe(self, target_id: str, ok: bool, now: float, reason: str) -> None:
        """Count a probe's result; one for a target that is not probed (any more) means nothing."""
        member = self.members.get(target_id)
        if member is None or member.membership is not Membership.REGISTERED or not self.in_scope(member):
            return
        check = self._settings.health_check
        before = member.health.healthy
        member.health = member.health.observe(ok, check.healthy_threshold_count, check.unhealthy_threshold_count)
        member.probed = True
        member.reason = "" if ok else reason
        if member.health.healthy is not before:
            self._changed(member, now)

    def change_attributes(self, attributes: Attributes, now: float) -> None:
        """Work by other attributes from now on; a draining target keeps the delay it began with."""
        crossed = attributes.cross_zone != self._attributes.cross_zone
        self._attributes = attributes
        for member in list(self.members.values()):
            if crossed and not member.local:
                member.health, member.probed, member.reason = Health(), False, ""
            self._changed(member, now)

    def advance(self, now: float) -> list[Member]:
        """Do what is due by `now`.

        Changes reach the packets, deregistration delays end. Returns the members it touched.
        """
        touched = []
        while self._pending and self._pending[0][0] <= now:
            due_at, _, member = heapq.heappop(self._pending)
            if member.membership is Membership.DRAINING and member.gone_at <= due_at:
                member.membership = Membership.GONE
                self._changed(member, due_at)
            elif due_at >= member.settles_at:
                self._apply(member, due_at)
            touched.append(member)
        return touched

    def next_deadline(self) -> float:
        return self._pending[0][0] if self._pending else math.inf

    def is_forgettable(self, member: Member) -> bool:
        """Whether a member is gone, for the packets too, and no flow names it any more."""
        gone = member.membership is Membership.GONE and not member.in_service
        return gone and member.flows == 0 and self.members.get(member.id) is member

    def forget(self, member: Member) -> None:
        """Drop a forgettable member; its lane is free again."""
        del self.members[member.id]
        del self.by_address[member.address]
        self._lanes[member.lane] = None
        while self._lanes and self._lanes[-1] is None:
            self._lanes.pop()

    def in_scope(self, member: Member) -> bool:
        """Whether this node uses (and probes) the target at all."""
        if member.membership is Membership.NOT_IN_USE:
            return False
        return member.local or self._attributes.cross_zone

    def probed(self) -> Iterator[Member]:
        """Yield the targets to probe."""
        return (
            member
            for member in self.members.values()
            if member.membership is Membership.REGISTERED and self.in_scope(member)
        )

    def _new_member(self, target: Target) -> Member:
        lane = next((number for number, used in enumerate(self._lanes) if used is None), len(self._lanes))
        local = target.zone in (self._settings.zone, EVERY_ZONE)
        member = Member(target, lane, local, self._settings)
        self._lanes[lane : lane + 1] = [member]
        self.members[target.id] = self.by_address[target.address] = member
        return member

    def _schedule(self, member: Member, at: float) -> None:
        self._sequence += 1
        heapq.heappush(self._pending, (at, self._sequence, member))

    def _changed(self, member: Member, now: float) -> None:
        """Let a change reach the packets, at once or after the delay.

        Until then each of its packets is looked at with the clock in hand.
        """
        delay = self._settings.emulation.propagation_delay_seconds
        if delay:
            member.settles_at = now + delay
            self._schedule(member, member.settles_at)
            self._set_plain(member, False)
        else:
            self._apply(member, now)

    def _apply(self, member: Member, now: float) -> None:
        fate = fate_of(member.membership, member.health.healthy, self._attributes)
        if fate is not Fate.CARRY and member.fate is Fate.CARRY:
            member.failed_at = now
        member.fate = fate
        member.in_service = member.membership is Membership.REGISTERED and self.in_scope(member)
        member.passing = member.health.healthy is True
        leaving = (
            member.membership is Membership.DRAINING
            and fate_of(Membership.GONE, None, self._attributes) is not Fate.CARRY
        )
        self._set_plain(member, fate is Fate.CARRY and not leaving)
        serving = [each for each in self._lanes if each is not None and each.in_service]
        self.registered = tuple(serving)
        self.healthy = tuple(each for each in serving if each.passing)

    def _set_plain(self, member: Member, plain: bool) -> None:
        if member.plain is not plain:
            member.plain = plain
            self.turned.append(member)
