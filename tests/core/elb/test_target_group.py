"""A target group by itself, used by a made-up plain load balancer that has no tunnel and no flow table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from gwlbemu.core.elb import states
from gwlbemu.core.elb.choice import Seed
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.target import EVERY_ZONE, Target
from gwlbemu.core.elb.target_group import GroupSettings, TargetGroup
from gwlbemu.errors import SettingError

CONNECTIONS = [number.to_bytes(4, "big") for number in range(200)]


@dataclass(frozen=True)
class PlainAttributes:
    """What a target group has to know, and nothing else."""

    cross_zone: bool = False
    deregistration_delay_seconds: float = 300


class PlainMember(Member):
    """A target with its open connections."""

    __slots__ = ("connections",)

    def __init__(self, target: Target, weight_index: int, is_local: bool) -> None:
        super().__init__(target, weight_index, is_local)
        self.connections: set[bytes] = set()

    @property
    def is_referenced(self) -> bool:
        return bool(self.connections)


class PlainGroup(TargetGroup[PlainMember, PlainAttributes]):
    """Writes down which changes are on their way to the packets and which have got there."""

    def __init__(self, settings: GroupSettings, attributes: PlainAttributes) -> None:
        super().__init__(settings, attributes, PlainMember)
        self.log: list[tuple[str, str]] = []

    def _await_effect(self, member: PlainMember) -> None:
        self.log.append(("decided", member.id))

    def _take_effect(self, member: PlainMember, now: float) -> None:
        super()._take_effect(member, now)
        self.log.append(("in effect", member.id))


class PlainBalancer:
    """Binds a connection to a target for as long as the connection lives."""

    def __init__(self, *zones: str, propagation_delay_seconds: float = 0) -> None:
        settings = GroupSettings(
            zone="a", zones=("a", "b"), most_targets=5, propagation_delay_seconds=propagation_delay_seconds
        )
        self.attributes = PlainAttributes()
        self.group = PlainGroup(settings, self.attributes)
        self.seed = Seed(7)
        for number, zone in enumerate(zones, 1):
            self.group.register(target(number, zone), 0.0)

    def connect(self, now: float) -> dict[bytes, str]:
        """Open the connections that are not open; return where each goes, none when nobody takes it."""
        self.group.advance(now)
        for key in CONNECTIONS:
            if self.group.eligible and not any(key in each.connections for each in self.group.members.values()):
                self.group.choose(self.seed, key, self.group.eligible).connections.add(key)
        return {key: each.id for each in self.group.members.values() for key in each.connections}

    def close(self) -> None:
        for each in self.group.members.values():
            each.connections.clear()

    def pass_probes(self, *ids: str, now: float = 0.0) -> None:
        for each in ids:
            for _ in range(5):
                self.group.observe(each, True, now)

    def fail_probes(self, *ids: str, now: float) -> None:
        for each in ids:
            for _ in range(2):
                self.group.observe(each, False, now)


def target(number: int, zone: str = "a") -> Target:
    return Target(f"t{number}", bytes([10, 0, 0, number]), zone)


def used(balancer: PlainBalancer, now: float) -> set[str]:
    return set(balancer.connect(now).values())


def test_new_connections_go_to_healthy_targets_only_and_live_ones_stay_where_they_are() -> None:
    balancer = PlainBalancer("a", "a", "a")
    balancer.pass_probes("t1", "t2")
    before = balancer.connect(1.0)
    assert set(before.values()) == {"t1", "t2"}
    balancer.fail_probes("t1", now=2.0)
    balancer.pass_probes("t3", now=2.0)
    assert balancer.connect(3.0) == before
    balancer.close()
    assert used(balancer, 4.0) == {"t2", "t3"}


def test_a_lost_target_moves_only_its_own_connections_to_others() -> None:
    balancer = PlainBalancer("a", "a", "a")
    balancer.pass_probes("t1", "t2", "t3")
    before = balancer.connect(1.0)
    balancer.fail_probes("t2", now=2.0)
    balancer.close()
    after = balancer.connect(3.0)
    assert {key for key in CONNECTIONS if before[key] != after[key]} == {
        key for key in CONNECTIONS if before[key] == "t2"
    }


@pytest.mark.parametrize("zones", [("a", "a"), ("a", EVERY_ZONE)])
def test_with_nobody_healthy_every_target_in_service_takes_new_connections(zones: tuple[str, ...]) -> None:
    balancer = PlainBalancer(*zones)
    assert balancer.group.is_failing_open
    balancer.fail_probes("t1", "t2", now=1.0)
    assert balancer.group.is_failing_open
    assert used(balancer, 1.0) == {"t1", "t2"}
    balancer.pass_probes("t2", now=2.0)
    assert not balancer.group.is_failing_open
    balancer.close()
    assert used(balancer, 3.0) == {"t2"}


def test_without_any_target_nobody_takes_connections_and_that_is_not_failing_open() -> None:
    balancer = PlainBalancer()
    assert balancer.group.eligible == ()
    assert not balancer.group.is_failing_open
    assert balancer.connect(1.0) == {}


def test_a_deregistered_target_drains_keeps_its_connections_and_is_forgotten_after_the_last() -> None:
    balancer = PlainBalancer("a", "a")
    balancer.pass_probes("t1", "t2")
    before = balancer.connect(0.0)
    group, leaving = balancer.group, balancer.group.members["t1"]
    group.deregister("t1", 1.0)
    assert leaving.status == states.DRAINING
    assert group.next_deadline() == 301.0
    assert balancer.connect(300.9) == before
    assert group.advance(301.0) == [leaving]
    assert leaving.status == states.NOT_REGISTERED
    assert not group.is_forgettable(leaving)
    leaving.connections.clear()
    assert group.is_forgettable(leaving)
    group.forget(leaving)
    assert set(group.members) == {"t2"}
    assert used(balancer, 302.0) == {"t2"}
    group.register(target(1), 303.0)
    assert group.members["t1"].weight_index == 0
    assert group.members["t1"].status == states.REGISTERING


def test_a_draining_target_is_taken_back_and_starts_with_its_health_checks() -> None:
    balancer = PlainBalancer("a")
    balancer.pass_probes("t1")
    balancer.group.deregister("t1", 1.0)
    balancer.group.register(target(1), 2.0)
    member = balancer.group.members["t1"]
    assert (member.status, member.draining_ends_at, member.is_registered) == (states.REGISTERING, math.inf, True)
    balancer.group.advance(302.0)
    assert member.status == states.REGISTERING


def test_cross_zone_load_balancing_brings_the_other_zones_targets_in_unprobed() -> None:
    balancer = PlainBalancer("a", "b", "c")
    group = balancer.group
    assert [each.id for each in group.to_probe()] == ["t1"]
    balancer.group.observe("t2", True, 0.0)
    assert not group.members["t2"].has_probe_result
    balancer.pass_probes("t1")
    assert used(balancer, 0.0) == {"t1"}
    group.change_attributes(replace(balancer.attributes, cross_zone=True), 1.0)
    assert [each.id for each in group.to_probe()] == ["t1", "t2"]
    balancer.pass_probes("t1", "t2", now=2.0)
    balancer.close()
    assert used(balancer, 2.0) == {"t1", "t2"}
    assert group.members["t3"].status == states.NOT_IN_USE
    group.change_attributes(replace(balancer.attributes, cross_zone=False), 3.0)
    assert (group.members["t1"].status, group.members["t2"].status) == (states.HEALTHY, states.REGISTERING)
    balancer.close()
    assert used(balancer, 3.0) == {"t1"}


def test_a_change_takes_effect_the_propagation_delay_after_it_was_decided() -> None:
    balancer = PlainBalancer("a", "a", propagation_delay_seconds=60)
    group = balancer.group
    balancer.pass_probes("t1", "t2", now=0.0)
    assert group.eligible == ()
    group.advance(60.0)
    assert used(balancer, 60.0) == {"t1", "t2"}
    group.log.clear()
    balancer.fail_probes("t1", now=100.0)
    assert group.log == [("decided", "t1")]
    assert group.members["t1"].status == states.UNHEALTHY
    balancer.close()
    assert used(balancer, 159.9) == {"t1", "t2"}
    assert group.next_deadline() == 160.0
    balancer.close()
    assert used(balancer, 160.0) == {"t2"}
    assert group.log == [("decided", "t1"), ("in effect", "t1")]


def test_the_thresholds_and_the_quota_are_those_of_the_group() -> None:
    settings = GroupSettings("a", 2, health_check=HealthCheck(healthy_threshold_count=2))
    group = TargetGroup(settings, PlainAttributes(), Member)
    for number in (1, 2):
        group.register(target(number), 0.0)
    for _ in range(2):
        group.observe("t1", True, 1.0)
    assert [each.id for each in group.healthy] == ["t1"]
    with pytest.raises(SettingError) as refused:
        group.register(target(3), 2.0)
    assert refused.value.code == "TooManyTargets"
    assert not group.members["t1"].is_referenced


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("Target.InvalidState", states.INVALID_STATE),
        ("Target.IpUnusable", states.IP_UNUSABLE),
        ("Elb.InternalError", states.INTERNAL_ERROR),
        ("", states.CHECKING),
    ],
)
def test_a_failed_probes_reason_is_awss_reason_code_until_a_probe_passes(reason: str, status: states.Status) -> None:
    balancer = PlainBalancer("a")
    balancer.group.observe("t1", False, 1.0, reason)
    assert balancer.group.members["t1"].status == status
    balancer.group.observe("t1", True, 2.0)
    assert balancer.group.members["t1"].status == states.CHECKING


@pytest.mark.contract("TG-04")
def test_an_unhealthy_targets_reason_and_description_are_those_of_the_last_probe_that_failed() -> None:
    balancer = PlainBalancer("a")
    for now in (1.0, 2.0):
        balancer.group.observe("t1", False, now, "Target.Timeout", "Request timed out: no answer within 5 s")
    member = balancer.group.members["t1"]
    assert member.status == ("unhealthy", "Target.Timeout", "Request timed out: no answer within 5 s")
    balancer.group.observe("t1", True, 3.0)
    assert member.status.reason == "Target.Timeout", "it has not passed often enough yet"
    balancer.group.observe("t1", False, 4.0)
    assert member.status == states.UNHEALTHY, "a probe that failed without a word says no more than AWS's own words"
    for now in (5.0, 6.0, 7.0, 8.0, 9.0):
        balancer.group.observe("t1", True, now)
    assert member.status == states.HEALTHY
