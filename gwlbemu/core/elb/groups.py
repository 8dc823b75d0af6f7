"""The target groups of a network or application load balancer as one node sees them.

They are told as a whole, as often as something changes; what is known of targets that stay stays, and what is no longer
told drains, but for the targets of a group that is no longer told, which is forgotten with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.minimum_health import MinimumHealthGroup
from gwlbemu.core.elb.target import Target
from gwlbemu.errors import AwsError


class ToldGroup(Protocol):
    """What a node is told of a target group of any type."""

    @property
    def name(self) -> str:
        """Its name, which no other group of the load balancer has."""

    @property
    def health_check(self) -> HealthCheck:
        """How its targets are probed."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The registered ones."""


class ProbeTarget(NamedTuple):
    """A target to probe; `port` is where it takes connections, an `initial` one may be probed faster (Emulation)."""

    id: str
    address: bytes
    port: int
    initial: bool


T = TypeVar("T", bound=ToldGroup)
A = TypeVar("A")
G = TypeVar("G", bound=MinimumHealthGroup[Any, Any])


class Groups(Generic[T, A, G]):
    """Target groups by name: what was `told` of each last, and its `members`. `make` makes the group of what is told,
    its attributes and the time; a group may have at most `most_targets`.
    """

    def __init__(self, make: Callable[[T, A, float], G], most_targets: int) -> None:
        self._make, self._most_targets = make, most_targets
        self.told: dict[str, T] = {}
        self.members: dict[str, G] = {}

    # ---- changes ----
    def check(self, told: Sequence[T]) -> None:
        """Refuse, by AwsError, what would be refused in the middle of `change`."""
        for group in told:
            known = self.members.get(group.name)
            places: dict[bytes, str] = {}
            if known is not None:
                places = {place: member.id for place, member in known.by_address.items()}
            ids = {member_id: place for place, member_id in places.items()}
            zones = {member.id: member.zone for member in known.members.values()} if known is not None else {}
            if len(group.targets) > self._most_targets:
                raise AwsError(
                    f"target group {group.name} has more than {self._most_targets} targets", "TooManyTargets"
                )
            for target in group.targets:
                if places.setdefault(target.place, target.id) != target.id:
                    raise AwsError(
                        f"target {target.id} has the address and port of target {places[target.place]}", "InvalidTarget"
                    )
                if ids.setdefault(target.id, target.place) != target.place:
                    raise AwsError(f"target {target.id} is known with another address or port", "InvalidTarget")
                if zones.setdefault(target.id, target.zone) != target.zone:
                    raise AwsError(f"target {target.id} is known with another zone", "InvalidTarget")

    def change(self, told: Sequence[T], attributes: Mapping[str, A], now: float) -> None:
        """Be these groups from now on."""
        members: dict[str, G] = {}
        for group in told:
            known = self.members.get(group.name)
            if known is None:
                members[group.name] = self._make(group, attributes[group.name], now)
            else:
                self._change_group(known, group, attributes[group.name], now)
                members[group.name] = known
        self.members = members
        self.told = {group.name: group for group in told}

    def _change_group(self, known: G, told: T, attributes: A, now: float) -> None:
        if told.health_check != self.told[told.name].health_check:
            known.change_health_check(told.health_check)
        if attributes != known.attributes:
            known.change_attributes(attributes, now)
        stay = {target.id for target in told.targets}
        for member in list(known.members.values()):
            if member.is_registered and member.id not in stay:
                known.deregister(member.id, now)
        for target in told.targets:
            known.register(target, now)

    def observe(self, group: str, target: str, ok: bool, now: float, reason: str, description: str) -> None:
        """Count a probe's result for a target of a group, if it is known (see TargetGroup.observe)."""
        known = self.members.get(group)
        if known is not None:
            known.observe(target, ok, now, reason, description)

    def advance(self, now: float) -> None:
        """Do what is due by `now`."""
        for group in self.members.values():
            group.advance(now)

    def forget_gone(self) -> None:
        """Forget the members that are gone."""
        for group in self.members.values():
            for member in list(group.members.values()):
                if group.is_forgettable(member):
                    group.forget(member)

    # ---- what is known ----
    def next_deadline(self) -> float:
        """Return when `advance` has something to do next; math.inf when nothing waits."""
        return min((group.next_deadline() for group in self.members.values()), default=math.inf)

    def failing_open(self) -> list[str]:
        """Return the names of the groups that send to unhealthy targets because too few are healthy."""
        return [name for name, group in self.members.items() if group.is_failing_open]

    def healthy_counts(self) -> dict[str, tuple[int, int]]:
        """Return `MinimumHealthGroup.healthy_count` by the group's name."""
        return {name: group.healthy_count() for name, group in self.members.items()}

    def probe_targets(self, group: str) -> list[ProbeTarget]:
        """Return whom to probe in a group, nobody of an unknown one."""
        known = self.members.get(group)
        return [
            ProbeTarget(member.id, member.address, member.port, member.health.healthy is None)
            for member in (known.to_probe() if known else ())
        ]

    def __iter__(self) -> Iterator[tuple[str, T, G]]:
        """Yield the name of each group, what was told of it, and its members."""
        return ((name, self.told[name], group) for name, group in self.members.items())
