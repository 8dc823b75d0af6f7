"""The core of an application load balancer: who takes requests, with which share, and whose requests end."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gwlbemu.core.application.balancer import ApplicationBalancer
from gwlbemu.core.application.engine import FULL_WEIGHT, Server
from gwlbemu.core.application.settings import Balancer, Group, Listener, Settings
from gwlbemu.core.application.targets import STEPS
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.rules import FORWARD, Action, WeightedTargetGroup
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.errors import AwsError

SETTINGS = Settings("web", "a", ("a", "b"), bytes([10, 0, 9, 10]), dns_name="web.example", cookie_secret=b"secret")
CHECK = HealthCheck("HTTP", 0, healthy_threshold_count=3, unhealthy_threshold_count=2)
SLOW, DELAY = "slow_start.duration_seconds", "deregistration_delay.timeout_seconds"
ROUTING = "target_group_health.unhealthy_state_routing.minimum_healthy_targets."


def target(number: int, zone: str = "a") -> Target:
    return Target(f"t{number}", bytes([10, 0, 1, number]), zone, 8080)


def group(*targets: Target, name: str = "g", **keys: str) -> Group:
    attributes = ApplicationAttributes.from_text(target_group=keys).as_text("target-group")
    return Group(name, "HTTP", "HTTP1", "instance", attributes, CHECK, targets)


def listener(*groups: str) -> Listener:
    action = Action(FORWARD, tuple(WeightedTargetGroup(each) for each in groups))
    return Listener("HTTP", 80, (), (action,), {})


def told(*targets: Target, **keys: str) -> Balancer:
    return Balancer({}, (listener("g"),), (group(*targets, **keys),))


def pool(core: ApplicationBalancer) -> dict[str, Server]:
    (found,) = core.engine().pools
    return {server.target: server for server in found.servers}


def taking(core: ApplicationBalancer) -> set[str]:
    return {name for name, server in pool(core).items() if server.takes_requests}


def weights(core: ApplicationBalancer) -> dict[str, int]:
    return {name: server.weight for name, server in pool(core).items()}


def states(core: ApplicationBalancer, now: float = 0.0) -> dict[str, str]:
    return {each.id: each.state for each in core.target_health(now)}


def probe(core: ApplicationBalancer, ok: bool, *names: str, now: float = 0.0, times: int = 1) -> None:
    for name in names:
        for _ in range(times):
            core.observe("g", name, ok, now)


@pytest.mark.contract("AL-09")
def test_one_passed_check_makes_a_new_target_healthy_and_a_failed_one_needs_the_threshold() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2)), now=0.0)
    assert set(states(core).values()) == {"initial"}
    probe(core, True, "t1")
    assert states(core) == {"t1": "healthy", "t2": "initial"}
    probe(core, False, "t1", times=2)
    assert states(core)["t1"] == "unhealthy"
    probe(core, True, "t1", times=2)
    assert states(core)["t1"] == "unhealthy"
    probe(core, True, "t1")
    assert states(core)["t1"] == "healthy"


@pytest.mark.contract("AL-09")
def test_with_no_healthy_target_all_take_requests() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2)), now=0.0)
    assert taking(core) == {"t1", "t2"}
    assert core.failing_open() == ["g"]
    probe(core, True, "t1")
    assert taking(core) == {"t1"}
    assert core.failing_open() == []
    probe(core, False, "t1", "t2", times=2)
    assert taking(core) == {"t1", "t2"}


@pytest.mark.contract("AL-09")
@pytest.mark.parametrize(("key", "value"), [("count", "2"), ("percentage", "50")])
def test_with_fewer_healthy_targets_than_have_to_be_all_take_requests(key: str, value: str) -> None:
    names = ("t1", "t2", "t3", "t4")
    core = ApplicationBalancer(SETTINGS, told(*map(target, (1, 2, 3, 4)), **{ROUTING + key: value}), now=0.0)
    probe(core, True, "t1")
    assert taking(core) == set(names)
    probe(core, True, "t2")
    assert taking(core) == {"t1", "t2"}
    assert core.healthy_counts() == {"g": (2, 1)}


@pytest.mark.contract("AL-10")
def test_targets_of_other_zones_are_servers_unless_the_group_says_otherwise() -> None:
    targets = (target(1), target(2, "b"), target(3, "c"))  # c is not enabled
    core = ApplicationBalancer(SETTINGS, told(*targets), now=0.0)
    assert set(pool(core)) == {"t1", "t2"}
    assert core.engine().pools[0].registered == 2
    assert states(core)["t3"] == "unused"
    core.configure(told(*targets, **{"load_balancing.cross_zone.enabled": "false"}), now=1.0)
    assert set(pool(core)) == {"t1"}
    assert core.engine().pools[0].registered == 1
    assert [each.id for each in core.probe_targets("g")] == ["t1"]


@pytest.mark.contract("AL-22")
def test_a_deregistered_target_drains_and_its_requests_end_with_the_delay() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2), **{DELAY: "30"}), now=0.0)
    probe(core, True, "t1", "t2")
    name = pool(core)["t2"].name
    core.configure(told(target(1), **{DELAY: "30"}), now=10.0)
    assert taking(core) == {"t1"}
    assert set(pool(core)) == {"t1", "t2"}
    assert core.engine().pools[0].registered == 1
    assert states(core, 10.0)["t2"] == "draining"
    assert core.next_deadline() == 40.0
    core.expire(39.9)
    assert core.take_ended() == []
    core.expire(40.0)
    assert core.take_ended() == [name]
    assert core.take_ended() == []
    assert set(pool(core)) == {"t1"}


@pytest.mark.contract("AL-22")
def test_a_target_that_comes_back_while_it_drains_keeps_its_requests_and_is_new() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2), **{DELAY: "30"}), now=0.0)
    probe(core, True, "t1", "t2")
    core.configure(told(target(1), **{DELAY: "30"}), now=0.0)
    core.configure(told(target(1), target(2), **{DELAY: "30"}), now=1.0)
    core.expire(31.0)
    assert core.take_ended() == []
    assert states(core, 31.0)["t2"] == "initial"


def in_slow_start(seconds: int = 100) -> ApplicationBalancer:
    """One with t1 healthy, and t2 since 10.0 in slow start."""
    keys = {SLOW: str(seconds), DELAY: "0"}
    core = ApplicationBalancer(SETTINGS, told(target(1), **keys), now=0.0)
    probe(core, True, "t1")
    core.configure(told(target(1), target(2), **keys), now=5.0)
    probe(core, True, "t2", now=10.0)
    return core


@pytest.mark.contract("AL-19")
def test_the_share_of_a_target_in_slow_start_rises_linearly_to_the_full_one() -> None:
    core = in_slow_start()
    seen = [weights(core)["t2"]]
    while core.next_deadline() < math.inf:
        now = core.next_deadline()
        core.expire(now)
        seen.append(weights(core)["t2"])
    assert now == pytest.approx(110.0)
    assert seen[-1] == FULL_WEIGHT
    assert len(seen) == STEPS + 1
    for step, weight in enumerate(seen[:-1]):
        assert weight == pytest.approx(FULL_WEIGHT * (step + 0.5) / STEPS, abs=0.51)
    assert weights(core)["t1"] == FULL_WEIGHT


@pytest.mark.contract("AL-19")
def test_the_first_registrations_and_those_that_were_healthy_are_not_in_slow_start() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2), **{SLOW: "100"}), now=0.0)
    probe(core, True, "t1")
    assert weights(core) == {"t1": FULL_WEIGHT, "t2": FULL_WEIGHT}
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2)), now=0.0)
    probe(core, True, "t1", "t2")
    core.configure(told(target(1), target(2), **{SLOW: "100"}), now=1.0)
    assert weights(core) == {"t1": FULL_WEIGHT, "t2": FULL_WEIGHT}


@pytest.mark.contract("AL-19")
def test_slow_start_needs_a_healthy_target_that_is_not_in_it() -> None:
    core = in_slow_start()
    probe(core, False, "t1", now=20.0, times=2)
    core.configure(told(target(1), target(2), target(3), **{SLOW: "100", DELAY: "0"}), now=20.0)
    probe(core, True, "t3", now=20.0)  # t2 alone is healthy, and in slow start
    assert weights(core)["t3"] == FULL_WEIGHT
    assert weights(core)["t2"] < FULL_WEIGHT


@pytest.mark.contract("AL-19")
def test_slow_start_is_left_on_unhealthy_and_entered_again() -> None:
    core = in_slow_start()
    core.expire(60.0)
    assert 40 < weights(core)["t2"] < 60
    probe(core, False, "t2", now=60.0, times=2)
    assert weights(core)["t2"] == FULL_WEIGHT
    assert taking(core) == {"t1"}
    probe(core, True, "t2", now=61.0, times=3)
    assert weights(core)["t2"] < 5
    core.configure(told(target(1), target(2), **{DELAY: "0"}), now=62.0)  # slow start is switched off
    assert weights(core)["t2"] == FULL_WEIGHT


@pytest.mark.contract("AL-19")
def test_a_target_that_is_deregistered_in_slow_start_leaves_it() -> None:
    core = in_slow_start()
    core.configure(told(target(1), **{SLOW: "100", DELAY: "0"}), now=20.0)
    core.expire(20.0)
    assert set(pool(core)) == {"t1"}
    assert len(core.take_ended()) == 1
    core.configure(told(target(1), target(2), **{SLOW: "100", DELAY: "0"}), now=21.0)
    core.expire(200.0)  # steps of the one before mean nothing
    assert core.take_ended() == []
    assert weights(core)["t2"] == FULL_WEIGHT
    probe(core, True, "t2", now=201.0)
    assert weights(core)["t2"] < 5


def test_two_values_of_one_shape_differ_by_states_alone() -> None:
    core = in_slow_start()
    before = core.engine()
    core.expire(60.0)
    probe(core, False, "t1", now=60.0, times=2)
    assert core.engine() != before
    assert core.engine().shape == before.shape
    core.configure(replace(told(target(1), target(2)), attributes={"idle_timeout.timeout_seconds": "7"}), now=61.0)
    assert core.engine().shape != before.shape


def test_server_names_are_the_same_in_all_nodes_and_say_nothing() -> None:
    one = ApplicationBalancer(SETTINGS, told(target(1), target(2)), now=0.0)
    other = ApplicationBalancer(replace(SETTINGS, zone="b"), told(target(2), target(1)), now=9.0)
    foreign = ApplicationBalancer(replace(SETTINGS, cookie_secret=b"other"), told(target(1), target(2)), now=0.0)
    names = {key: server.name for key, server in pool(one).items()}
    assert names == {key: server.name for key, server in pool(other).items()}
    assert not set(names.values()) & {server.name for server in pool(foreign).values()}
    assert len(set(names.values())) == 2


def test_what_is_refused_changes_nothing() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1)), now=0.0)
    before = core.engine()
    bad = [
        Balancer({}, (listener("g", "nobody"),), (group(target(1)),)),
        told(target(1), replace(target(2), address=target(1).address)),
        told(replace(target(1), zone="b")),
        told(*(Target(f"t{n}", n.to_bytes(4, "big"), "a", 80) for n in range(1001))),
        replace(told(target(1)), attributes={"idle_timeout.timeout_seconds": "0"}),
    ]
    for balancer in bad:
        with pytest.raises(AwsError):
            core.configure(balancer, now=1.0)
        assert core.engine() == before


def test_a_change_reaches_the_engine_after_the_propagation_delay() -> None:
    settings = replace(SETTINGS, emulation=Emulation(propagation_delay_seconds=5))
    core = ApplicationBalancer(settings, told(target(1), target(2)), now=0.0)
    core.expire(5.0)
    probe(core, True, "t1", now=6.0)
    assert taking(core) == {"t1", "t2"}
    core.expire(11.0)
    assert taking(core) == {"t1"}


def test_the_engine_is_another_one_only_when_something_has_changed() -> None:
    core = ApplicationBalancer(SETTINGS, told(target(1), target(2), **{DELAY: "10"}), now=0.0)
    probe(core, True, "t1", "t2")
    before = core.engine()
    probe(core, True, "t1", now=1.0)
    probe(core, False, "t2", now=1.0)
    core.expire(2.0)
    assert core.engine() is before
    probe(core, False, "t2", now=2.0)
    unhealthy = core.engine()
    assert unhealthy != before
    core.configure(told(target(1), **{DELAY: "10"}), now=3.0)
    draining = core.engine()
    assert draining != unhealthy
    core.expire(13.0)
    assert core.engine() != draining


def test_an_engine_takes_over_states_and_what_is_gone_takes_nothing() -> None:
    core = in_slow_start()
    before = core.engine()
    core.configure(told(target(1), target(3), **{SLOW: "100", DELAY: "0"}), now=20.0)
    core.expire(20.0)
    probe(core, False, "t1", now=21.0, times=2)
    probe(core, True, "t3", now=21.0)
    after = before.with_states_of(core.engine())
    assert after.shape == before.shape
    (servers,) = (pool.servers for pool in after.pools)
    assert [(each.target, each.takes_requests) for each in servers] == [("t1", False), ("t2", False)]
    assert before.with_states_of(before) == before
