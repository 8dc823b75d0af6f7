"""The core of a network load balancer: who is chosen, by which slots, and whose connections end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.network_attributes import NetworkAttributes, group_defaults
from gwlbemu.core.elb.target import EVERY_ZONE, Target
from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener, Settings
from gwlbemu.core.network.tables import PRESERVED, SLOTS, Connection
from gwlbemu.errors import AwsError
from gwlbemu.wire.protocols import TCP, UDP

NODE = bytes([10, 0, 9, 10])
SETTINGS = Settings("web", "a", ("a", "b"), NODE, seed=7)
CHECK = HealthCheck(healthy_threshold_count=2, unhealthy_threshold_count=2)
TERMINATION_OFF = "target_health_state.unhealthy.connection_termination.enabled"
DRAINING = "target_health_state.unhealthy.draining_interval_seconds"


def target(number: int, zone: str = "a", port: int = 80) -> Target:
    return Target(f"t{number}", bytes([10, 0, 1, number]), zone, port)


def group(name: str, *targets: Target, protocol: str = "TCP", kind: str = "instance", **keys: str) -> Group:
    texts = NetworkAttributes.from_text(target_group=group_defaults(protocol, kind) | keys).as_text("target-group")
    return Group(name, protocol, kind, texts, CHECK, targets)


def listener(*groups: tuple[str, int], protocol: str = "TCP", port: int = 80, sticky: bool = False) -> Listener:
    return Listener(protocol, port, Forward(groups, sticky), {})


def told(listeners: tuple[Listener, ...], *groups: Group, cross_zone: str = "false") -> Balancer:
    return Balancer({"load_balancing.cross_zone.enabled": cross_zone}, listeners, groups)


def plain(*targets: Target, cross_zone: str = "false", **keys: str) -> Balancer:
    return told((listener(("g", 1)),), group("g", *targets, **keys), cross_zone=cross_zone)


def probe(core: NetworkBalancer, ok: bool, *names: str, now: float = 0.0, times: int = 2, of: str = "g") -> None:
    for name in names:
        for _ in range(times):
            core.observe(of, name, ok, now)


def healthy(balancer: Balancer, *names: str) -> NetworkBalancer:
    core = NetworkBalancer(SETTINGS, balancer, now=0.0)
    probe(core, True, *names)
    return core


def slots(core: NetworkBalancer, number: int = 1) -> tuple[str, ...]:
    """The target of each slot of a group."""
    return tuple(core.name_of(mark)[1] for mark in core.tables().groups[number].chooser.slots)


def states(core: NetworkBalancer, now: float = 0.0) -> dict[str, str]:
    return {each.id: each.state for each in core.target_health(now)}


def connection(number: int, port: int = 80, protocol: int = TCP) -> Connection:
    source = bytes([10, 7, number >> 8 & 255, number & 255])
    return Connection(protocol, source, 1024 + number, NODE, port, number * 7919 if protocol == TCP else 0)


@pytest.mark.contract("NL-02")
def test_slots_are_shared_and_one_that_is_lost_moves_only_its_own_and_gets_them_back() -> None:
    names = ("t1", "t2", "t3", "t4")
    core = healthy(plain(*(target(n) for n in (1, 2, 3, 4))), *names)
    before = slots(core)
    assert len(before) == SLOTS
    assert all(200 < count < 300 for count in Counter(before).values())
    probe(core, False, "t2")
    without = slots(core)
    assert "t2" not in without
    assert all(now == then for now, then in zip(without, before, strict=True) if then != "t2")
    probe(core, True, "t2")
    assert slots(core) == before


@pytest.mark.contract("NL-02")
def test_a_sticky_group_gives_a_client_one_target() -> None:
    targets = tuple(target(n) for n in range(1, 9))
    names = tuple(each.id for each in targets)
    for sticky in ("true", "false"):
        core = healthy(plain(*targets, **{"stickiness.enabled": sticky}), *names)
        client = bytes([10, 9, 9, 9])
        chosen = {core.chosen(connection(n)._replace(source=client)) for n in range(200)}
        assert len(chosen) == (1 if sticky == "true" else 8)


@pytest.mark.contract("NL-12")
def test_weights_share_the_slots_exactly_and_a_sticky_forward_gives_a_client_one_group() -> None:
    groups = (group("blue", target(1)), group("green", target(2)))
    core = NetworkBalancer(SETTINGS, told((listener(("blue", 999), ("green", 1)),), *groups), now=0.0)
    (table,) = core.tables().listeners
    assert Counter(table.chooser.slots) == {1: 999, 2: 1}
    core.configure(told((listener(("blue", 0), ("green", 2)),), *groups), now=0.0)
    assert {core.chosen(connection(n)) for n in range(100)} == {("green", "t2")}
    core.configure(told((listener(("blue", 1), ("green", 1), sticky=True),), *groups), now=0.0)
    client = bytes([10, 9, 9, 9])
    assert len({core.chosen(connection(n)._replace(source=client)) for n in range(100)}) == 1
    assert len({core.chosen(connection(n)) for n in range(100)}) == 2


@pytest.mark.contract("NL-08")
@pytest.mark.parametrize(
    ("balancer", "of_group", "expected"),
    [
        ("false", "use_load_balancer_configuration", {"t1"}),
        ("true", "use_load_balancer_configuration", {"t1", "t2"}),
        ("false", "true", {"t1", "t2"}),
        ("true", "false", {"t1"}),
    ],
)
def test_cross_zone_is_the_load_balancers_unless_the_group_says_otherwise(
    balancer: str, of_group: str, expected: set[str]
) -> None:
    keys = {"load_balancing.cross_zone.enabled": of_group}
    core = healthy(plain(target(1), target(2, "b"), target(3, "c"), cross_zone=balancer, **keys), "t1", "t2")
    assert set(slots(core)) == expected
    assert states(core)["t3"] == "unused"
    assert {each.id for each in core.probe_targets("g")} == expected


def test_an_address_of_every_zone_is_in_scope() -> None:
    core = healthy(plain(target(1, EVERY_ZONE)), "t1")
    assert set(slots(core)) == {"t1"}


@pytest.mark.contract("NL-06")
def test_connections_of_an_unhealthy_target_end_at_once() -> None:
    core = healthy(plain(target(1), target(2)), "t1", "t2")
    probe(core, False, "t1", times=1)
    assert core.take_flushes() == []
    probe(core, False, "t1", times=1)
    assert states(core) == {"t1": "unhealthy", "t2": "healthy"}
    assert core.take_flushes() == [1]
    assert core.take_flushes() == []


@pytest.mark.contract("NL-06")
def test_a_draining_interval_keeps_them_and_ends_them_and_recovery_ends_the_interval() -> None:
    keys = {TERMINATION_OFF: "false", DRAINING: "30"}
    core = healthy(plain(target(1), target(2), **keys), "t1", "t2")
    probe(core, False, "t1", now=10.0)
    assert states(core, 39.0) == {"t1": "unhealthy.draining", "t2": "healthy"}
    assert set(slots(core)) == {"t2"}
    assert core.take_flushes() == []
    assert core.next_deadline() == 40.0
    core.expire(40.0)
    assert states(core, 40.0)["t1"] == "unhealthy"
    assert core.take_flushes() == [1]
    probe(core, True, "t1", now=50.0)
    probe(core, False, "t1", now=60.0)
    probe(core, True, "t1", now=70.0)
    core.expire(100.0)
    assert states(core, 100.0)["t1"] == "healthy"
    assert core.take_flushes() == []


@pytest.mark.contract("NL-06")
def test_without_termination_and_interval_they_are_kept() -> None:
    core = healthy(plain(target(1), target(2), **{TERMINATION_OFF: "false"}), "t1", "t2")
    probe(core, False, "t1")
    core.expire(1e6)
    assert states(core, 1e6)["t1"] == "unhealthy"
    assert core.take_flushes() == []


@pytest.mark.contract("NL-07")
def test_no_healthy_target_means_all_of_them_and_nothing_ends_until_one_recovers() -> None:
    core = healthy(plain(target(1), target(2), target(3)), "t1", "t2", "t3")
    probe(core, False, "t1", "t2", "t3")
    assert core.failing_open() == ["g"]
    assert set(slots(core)) == {"t1", "t2", "t3"}
    assert core.take_flushes() == [1, 2]  # who failed while others were healthy; the third made it fail open
    probe(core, True, "t2")
    assert core.failing_open() == []
    assert set(slots(core)) == {"t2"}
    assert core.take_flushes() == [1, 3]


def test_a_group_without_targets_drops() -> None:
    core = NetworkBalancer(SETTINGS, plain(), now=0.0)
    assert core.chosen(connection(1)) is None
    assert core.chosen(connection(1, port=81)) is None
    assert core.failing_open() == []


@pytest.mark.contract("NL-16")
@pytest.mark.parametrize(("terminate", "flushes"), [("false", []), ("true", [1])])
def test_a_deregistered_target_drains_and_its_connections_end_if_the_attribute_says_so(
    terminate: str, flushes: list[int]
) -> None:
    keys = {
        "deregistration_delay.timeout_seconds": "60",
        "deregistration_delay.connection_termination.enabled": terminate,
    }
    core = healthy(plain(target(1), target(2), **keys), "t1", "t2")
    core.configure(plain(target(2), **keys), now=5.0)
    assert set(slots(core)) == {"t2"}
    assert states(core, 64.0) == {"t1": "draining", "t2": "healthy"}
    assert core.take_flushes() == []
    core.expire(65.0)
    assert core.take_flushes() == flushes
    assert states(core, 65.0) == {"t2": "healthy"}
    assert core.name_of(1) == ("g", "t1")  # its connections may live on
    core.configure(plain(target(1), target(2), **keys), now=70.0)
    assert [each.number for each in core.target_health(70.0)] == [2, 3]


def test_udp_groups_end_connections_at_deregistration_unless_told_otherwise() -> None:
    both = told((listener(("g", 1), protocol="UDP", port=53),), group("g", target(1), protocol="UDP"))
    core = NetworkBalancer(SETTINGS, both, now=0.0)
    core.configure(replace(both, groups=(replace(both.groups[0], targets=()),)), now=0.0)
    core.expire(300.0)
    assert core.take_flushes() == [1]


@pytest.mark.contract("NL-03")
@pytest.mark.parametrize(
    ("protocol", "kind", "preserved"),
    [("TCP", "instance", True), ("TCP", "ip", False), ("UDP", "ip", True), ("TCP_UDP", "ip", True)],
)
def test_marks_say_whether_the_clients_address_is_preserved(protocol: str, kind: str, preserved: bool) -> None:
    one = group("g", target(1), protocol=protocol, kind=kind)
    core = NetworkBalancer(SETTINGS, told((listener(("g", 1), protocol=protocol),), one), now=0.0)
    mark = core.tables().chosen(connection(1, protocol=UDP if protocol == "UDP" else TCP))
    assert mark == 1 | (PRESERVED if preserved else 0)


def test_what_stays_keeps_its_health_when_another_thing_changes() -> None:
    core = healthy(plain(target(1), target(2)), "t1", "t2")
    before = core.tables()
    changed = plain(target(1), target(2), target(3))
    core.configure(replace(changed, groups=(replace(changed.groups[0], health_check=HealthCheck(port=9)),)), now=1.0)
    assert states(core, 1.0) == {"t1": "healthy", "t2": "healthy", "t3": "initial"}
    assert core.tables().groups == before.groups


def test_one_address_may_be_two_targets_by_port_and_no_more() -> None:
    one, other = replace(target(1), id="t1:80"), replace(target(1, port=81), id="t1:81")
    core = healthy(plain(one, other), "t1:80", "t1:81")
    assert set(slots(core)) == {"t1:80", "t1:81"}
    before = core.tables()
    with pytest.raises(AwsError, match="has the address and port of target t1:80"):
        core.configure(plain(one, other, replace(one, id="again")), now=1.0)
    with pytest.raises(AwsError, match="forwards to unknown target group h"):
        core.configure(told((listener(("h", 1)),), group("g", one)), now=1.0)
    assert core.tables() == before


def test_nothing_waits_in_a_quiet_balancer() -> None:
    assert healthy(plain(target(1)), "t1").next_deadline() == math.inf


@given(
    st.lists(
        st.tuples(st.sampled_from(["ok", "fail", "move", "cross"]), st.integers(1, 4), st.integers(0, 50)), max_size=40
    )
)
def test_whatever_happens_slots_name_targets_in_scope_and_numbers_are_never_used_again(
    steps: list[tuple[str, int, int]],
) -> None:
    registered, cross, now = {1, 2}, "false", 0.0
    seen: dict[int, str] = {}

    def now_told() -> Balancer:
        keys = {"deregistration_delay.timeout_seconds": "20"}
        return plain(*(target(n, "ab"[n % 2]) for n in sorted(registered)), cross_zone=cross, **keys)

    core = NetworkBalancer(SETTINGS, now_told(), now=now)
    for what, number, seconds in steps:
        now += seconds
        core.expire(now)
        if what in ("ok", "fail"):
            core.observe("g", f"t{number}", what == "ok", now)
        elif what == "move":
            registered ^= {number}
            core.configure(now_told(), now)
        else:
            cross = "true" if cross == "false" else "false"
            core.configure(now_told(), now)
        health = {each.id: each for each in core.target_health(now)}
        for each in health.values():
            assert seen.setdefault(each.number, each.id) == each.id
        chosen = set(slots(core))
        in_scope = {f"t{n}" for n in registered if cross == "true" or "ab"[n % 2] == "a"}
        good = {name for name in in_scope if health[name].state == "healthy"}
        assert chosen == (good or in_scope)
        assert all(number in seen for number in core.take_flushes())


def test_a_node_has_to_do_with_the_targets_of_its_zone_alone_unless_zones_are_crossed() -> None:
    targets = [target(1), target(2, "b"), target(3, "c")]
    core = healthy(plain(*targets), "t1")
    assert {each.id: each.is_seen for each in core.target_health(0.0)} == {"t1": True, "t2": False, "t3": True}
    assert states(core)["t3"] == "unused"  # of a zone that is not enabled: told by every node
    core.configure(plain(*targets, cross_zone="true"), 0.0)
    assert all(each.is_seen for each in core.target_health(0.0))
