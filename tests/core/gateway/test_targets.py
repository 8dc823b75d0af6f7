"""Targets: who takes new flows, what becomes of the flows of those who cannot."""

import pytest

from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint, ToTarget
from gwlbemu.errors import SettingError
from tests.core.gateway import core_lab
from tests.core.gateway.core_lab import (
    VPCE_A,
    HotBalancer,
    data,
    drops,
    fail_probes,
    give_back,
    node,
    pass_probes,
    query,
    sent,
    settings,
    syn,
    target,
    target_of,
)

PORTS = range(40000, 40064)
REBALANCE = {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"}


@pytest.fixture(autouse=True, params=[HotBalancer, Balancer], ids=["hot", "careful"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this file is run the hot way and the careful one."""
    monkeypatch.setattr(core_lab, "Node", request.param)


def place(balancer: Balancer, *, now: float) -> dict[int, str]:
    return {port: target_of(balancer, query(port), now=now) for port in PORTS}


def state(balancer: Balancer, target_id: str, *, now: float) -> tuple[str, str, str]:
    return next(
        (each.state, each.reason, each.description) for each in balancer.target_health(now=now) if each.id == target_id
    )


@pytest.mark.contract("TG-03", "TG-05")
def test_a_node_decides_by_its_own_probes_and_new_flows_go_to_healthy_targets_only() -> None:
    one, other = node(3), node(3)
    fail_probes(one, "fw-a1", now=1.0)
    assert set(place(one, now=1.0).values()) == {"fw-a2", "fw-a3"}
    assert set(place(other, now=1.0).values()) == {"fw-a1", "fw-a2", "fw-a3"}


@pytest.mark.contract("TG-04")
def test_a_target_goes_through_awss_states_with_their_reasons_and_descriptions() -> None:
    balancer = Balancer(settings(1), now=0.0)
    seen = [state(balancer, "fw-a1", now=0.0)]
    balancer.receive_probe_result("fw-a1", True, now=1.0)
    seen.append(state(balancer, "fw-a1", now=1.0))
    pass_probes(balancer, "fw-a1", now=2.0, count=4)
    seen.append(state(balancer, "fw-a1", now=2.0))
    fail_probes(balancer, "fw-a1", now=3.0)
    seen.append(state(balancer, "fw-a1", now=3.0))
    balancer.receive_packet(VPCE_A, syn(), now=3.0)
    balancer.deregister("fw-a1", now=4.0)
    seen += [state(balancer, "fw-a1", now=303.9), state(balancer, "fw-a1", now=304.0)]
    assert seen == [
        ("initial", "Elb.RegistrationInProgress", "Target registration is in progress"),
        ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
        ("healthy", "", ""),
        ("unhealthy", "Target.FailedHealthChecks", "Health checks failed"),
        ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"),
        ("unused", "Target.NotRegistered", "Target is not registered to the target group"),
    ]


@pytest.mark.contract("TG-04")
def test_a_target_in_a_zone_that_is_not_enabled_is_unused_and_one_whose_prober_failed_unavailable() -> None:
    balancer = Balancer(settings((target(1), target(2, "c"))), now=0.0)
    assert state(balancer, "fw-c2", now=0.0)[:2] == ("unused", "Target.NotInUse")
    balancer.receive_probe_result("fw-a1", False, now=1.0, reason="Elb.InternalError")
    assert state(balancer, "fw-a1", now=1.0) == (
        "unavailable",
        "Elb.InternalError",
        "Health checks failed due to an internal error",
    )
    assert [each.id for each in balancer.probe_targets(now=1.0)] == ["fw-a1"]


@pytest.mark.contract("FL-05", "TG-07")
@pytest.mark.parametrize(
    "event", ["another fails", "its own fails", "one is added", "one recovers", "its own is deregistered"]
)
def test_no_change_of_targets_moves_a_live_flow(event: str) -> None:
    balancer = node(3)
    fail_probes(balancer, "fw-a3", now=1.0)
    before = place(balancer, now=1.0)
    assert set(before.values()) == {"fw-a1", "fw-a2"}
    if event in ("another fails", "its own fails"):
        fail_probes(balancer, "fw-a1", now=2.0)
    elif event == "one is added":
        balancer.register(target(4), now=2.0)
        pass_probes(balancer, "fw-a4", now=2.0)
    elif event == "one recovers":
        pass_probes(balancer, "fw-a3", now=2.0)
    else:
        balancer.deregister("fw-a1", now=2.0)
        for now in (100.0, 200.0, 300.0):
            place(balancer, now=now)
            balancer.expire(now=now)
    now = 310.0 if event == "its own is deregistered" else 3.0
    assert place(balancer, now=now) == before
    assert {flow.moves for flow in balancer.flows(now=now)} == {0}


@pytest.mark.contract("TG-06")
@pytest.mark.parametrize("delay", [0, 60, 300])
def test_a_deregistered_target_drains_for_the_delay_takes_no_new_flows_and_keeps_the_live_ones(delay: int) -> None:
    group = {} if delay == 300 else {"deregistration_delay.timeout_seconds": str(delay)}
    balancer = node(2, group=group)
    before = place(balancer, now=0.0)
    leaving = before[PORTS[0]]
    balancer.deregister(leaving, now=1.0)
    for now in [at for at in (1.5, 60.5, 170.0, 280.0, 300.5) if at < 1.0 + delay]:
        assert state(balancer, leaving, now=now)[0] == "draining"
        assert place(balancer, now=now) == before
        assert leaving not in {target_of(balancer, query(port), now=now) for port in range(1000, 1064)}
    assert state(balancer, leaving, now=1.0 + delay)[0] == "unused"
    assert (
        isinstance(give_back(balancer, balancer.receive_packet(VPCE_A, query(PORTS[0]), now=now), now=now), ToEndpoint)
        if delay
        else True
    )


def test_a_target_that_has_gone_is_forgotten_with_its_last_flow_and_its_packets_stay_counted() -> None:
    balancer = node(1, group={"deregistration_delay.timeout_seconds": "0"})
    balancer.receive_packet(VPCE_A, query(), now=0.0)
    balancer.deregister("fw-a1", now=1.0)
    assert [each.state for each in balancer.target_health(now=1.0)] == ["unused"]
    balancer.expire(now=130.0)
    assert balancer.target_health(now=130.0) == []
    assert balancer.metrics(now=130.0)["verdicts_to_target"] == 1
    balancer.register(target(1), now=131.0)
    assert [each.state for each in balancer.target_health(now=131.0)] == ["initial"]


@pytest.mark.contract("TG-08")
def test_rebalance_moves_only_the_failed_targets_flows_each_on_its_next_packet() -> None:
    balancer = node(3, group=REBALANCE)
    before = place(balancer, now=0.0)
    old = {port: sent(balancer.receive_packet(VPCE_A, query(port), now=0.0)) for port in PORTS}
    fail_probes(balancer, "fw-a1", now=1.0)
    assert {flow.moves for flow in balancer.flows(now=1.0)} == {0}
    after = place(balancer, now=2.0)
    for port in PORTS:
        assert after[port] != "fw-a1"
        assert (after[port] == before[port]) is (before[port] != "fw-a1")
    moved = next(port for port in PORTS if before[port] == "fw-a1")
    new = sent(balancer.receive_packet(VPCE_A, query(moved), now=2.0))
    assert new.datagram[64:68] != old[moved].datagram[64:68]
    assert new.datagram[20:22] == old[moved].datagram[20:22]
    assert give_back(balancer, old[moved], now=2.0) == Drop(Reason.INVALID_FLOW_COOKIE)
    assert isinstance(give_back(balancer, new, now=2.0), ToEndpoint)
    pass_probes(balancer, "fw-a1", now=3.0)
    assert place(balancer, now=3.0) == after


def test_a_moved_flow_keeps_its_cookie_when_the_switch_says_so() -> None:
    balancer = node(2, group=REBALANCE, emulation={"rebalanced_cookie": "keep"})
    old = sent(balancer.receive_packet(VPCE_A, query(), now=0.0))
    fail_probes(balancer, old.target, now=1.0)
    new = sent(balancer.receive_packet(VPCE_A, query(), now=1.0))
    assert new.target != old.target
    assert new.datagram[28:68] == old.datagram[28:68]


@pytest.mark.contract("TG-08")
def test_rebalance_moves_a_connection_in_midstream_and_only_after_the_deregistration_delay() -> None:
    balancer = node(2, group=REBALANCE | {"deregistration_delay.timeout_seconds": "60"})
    first = target_of(balancer, syn(), now=0.0)
    balancer.deregister(first, now=1.0)
    assert target_of(balancer, data(), now=60.9) == first
    assert target_of(balancer, data(), now=61.0) != first


def test_with_rebalance_and_nobody_healthy_flows_stay_where_they_are() -> None:
    balancer = node(2, group=REBALANCE)
    before = place(balancer, now=0.0)
    for each in ("fw-a1", "fw-a2"):
        fail_probes(balancer, each, now=1.0)
    assert place(balancer, now=2.0) == before


@pytest.mark.contract("TG-10")
def test_with_every_target_unhealthy_a_new_flow_goes_to_a_random_one_and_stays_there() -> None:
    balancer = node(3)
    for each in ("fw-a1", "fw-a2", "fw-a3"):
        fail_probes(balancer, each, now=1.0)
    before = place(balancer, now=2.0)
    assert set(before.values()) == {"fw-a1", "fw-a2", "fw-a3"}
    pass_probes(balancer, "fw-a1", now=3.0)
    assert place(balancer, now=4.0) == before
    assert drops(balancer) == {}


@pytest.mark.contract("TG-10")
def test_the_random_choice_is_made_anew_for_each_new_flow_and_the_same_in_each_run() -> None:
    runs = []
    for _ in range(2):
        balancer = node(2)
        for each in ("fw-a1", "fw-a2"):
            fail_probes(balancer, each, now=1.0)
        runs.append([target_of(balancer, query(), now=200.0 * turn) for turn in range(1, 30)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {"fw-a1", "fw-a2"}


TWO_ZONES = (target(1), target(2), target(3, "b"), target(4, "b"))


@pytest.mark.contract("TG-11")
def test_without_cross_zone_a_node_uses_its_own_zone_even_when_all_of_it_is_unhealthy() -> None:
    balancer = node(TWO_ZONES)
    assert [each.id for each in balancer.probe_targets(now=0.0)] == ["fw-a1", "fw-a2"]
    for each in ("fw-a1", "fw-a2"):
        fail_probes(balancer, each, now=1.0)
    assert set(place(balancer, now=2.0).values()) == {"fw-a1", "fw-a2"}
    for each in ("fw-a1", "fw-a2"):
        balancer.deregister(each, now=3.0)
    assert balancer.receive_packet(VPCE_A, query(1), now=3.0) == Drop(Reason.NO_TARGET)


@pytest.mark.contract("TG-12")
def test_with_cross_zone_all_targets_of_all_zones_are_alike() -> None:
    balancer = node(TWO_ZONES)
    before = place(balancer, now=0.0)
    balancer.set_attributes("load-balancer", {"load_balancing.cross_zone.enabled": "true"}, now=1.0)
    for each in ("fw-b3", "fw-b4"):
        pass_probes(balancer, each, now=1.0)
    counts = dict.fromkeys(("fw-a1", "fw-a2", "fw-b3", "fw-b4"), 0)
    for port in range(1, 4001):
        counts[target_of(balancer, query(port), now=2.0)] += 1
    assert all(900 < count < 1100 for count in counts.values())
    assert place(balancer, now=3.0) == before


@pytest.mark.contract("TG-13")
def test_bytes_that_crossed_zones_are_counted_in_each_direction() -> None:
    balancer = node((target(3, "b"),), load_balancer={"load_balancing.cross_zone.enabled": "true"})
    for now in (1.0, 2.0):
        give_back(
            balancer, balancer.receive_packet(VPCE_A, query(), now=now), now=now, packet=query(payload=b"much longer")
        )
    metrics = balancer.metrics(now=2.0)
    assert (metrics["CrossZoneBytes_ToTargets"], metrics["CrossZoneBytes_FromTargets"]) == (64, 78)
    local = node(1)
    local.receive_packet(VPCE_A, query(), now=1.0)
    assert local.metrics(now=1.0)["CrossZoneBytes_ToTargets"] == 0


@pytest.mark.contract("FL-12")
def test_without_any_target_packets_are_dropped_and_counted_as_rejected() -> None:
    balancer = node(0)
    assert balancer.receive_packet(VPCE_A, query(), now=1.0) == Drop(Reason.NO_TARGET)
    assert balancer.receive_packet(VPCE_A, syn(), now=1.0) == Drop(Reason.NO_TARGET)
    metrics = balancer.metrics(now=1.0)
    assert (metrics["RejectedFlowCount"], metrics["RejectedFlowCount_TCP"], metrics["NewFlowCount"]) == (2, 1, 0)


def test_a_change_reaches_the_packets_after_the_propagation_delay() -> None:
    balancer = node(2, group=REBALANCE, emulation={"propagation_delay_seconds": 60}, now=-60.0)
    balancer.expire(now=0.0)
    before = place(balancer, now=0.0)
    assert set(before.values()) == {"fw-a1", "fw-a2"}
    fail_probes(balancer, "fw-a1", now=1.0)
    assert state(balancer, "fw-a1", now=1.0)[0] == "unhealthy"
    assert place(balancer, now=60.9) == before
    assert balancer.next_deadline() <= 61.0
    assert set(place(balancer, now=61.0).values()) == {"fw-a2"}


def test_a_target_that_wavers_reaches_the_packets_the_delay_after_its_last_change() -> None:
    balancer = node(2, group=REBALANCE, emulation={"propagation_delay_seconds": 60}, now=-60.0)
    before = place(balancer, now=0.0)
    for now, change in ((1.0, fail_probes), (31.0, pass_probes), (51.0, fail_probes)):
        change(balancer, "fw-a1", now=now)
    assert place(balancer, now=110.9) == before
    assert set(place(balancer, now=111.0).values()) == {"fw-a2"}


@pytest.mark.contract("TG-06")
def test_a_target_deregistered_without_a_delay_drains_until_the_packets_know() -> None:
    now_at_once = {"deregistration_delay.timeout_seconds": "0"}
    balancer = node(1, group=now_at_once, emulation={"propagation_delay_seconds": 60}, now=-60.0)
    balancer.expire(now=0.0)
    balancer.deregister("fw-a1", now=1.0)
    assert state(balancer, "fw-a1", now=60.9) == (
        "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress",
    )  # fmt: skip
    verdict = balancer.receive_packet(VPCE_A, query(), now=60.9)
    assert isinstance(give_back(balancer, verdict, now=60.9), ToEndpoint)
    assert state(balancer, "fw-a1", now=61.0)[:2] == ("unused", "Target.NotRegistered")
    assert balancer.receive_packet(VPCE_A, query(40001), now=61.0) == Drop(Reason.NO_TARGET)
    balancer.expire(now=200.0)
    assert balancer.target_health(now=200.0) == []


def test_the_301st_target_over_all_zones_is_refused_as_aws_does() -> None:
    many = tuple(Target(f"i-{n}", bytes([10, 1, n >> 8, n & 255]), "ab"[n % 2]) for n in range(300))
    balancer = Balancer(settings(many), now=0.0)
    with pytest.raises(SettingError) as refused:
        balancer.register(target(1), now=1.0)
    assert refused.value.code == "TooManyTargets"
    with pytest.raises(SettingError):
        balancer.register(target(2, "b"), now=1.0)
    balancer.deregister("i-7", now=1.0)
    balancer.register(target(1), now=1.0)


@pytest.mark.parametrize(("target_id", "times"), [("fw-a9", 1), ("fw-a1", 2)])
def test_what_is_not_registered_cannot_be_deregistered(target_id: str, times: int) -> None:
    balancer = node(1)
    for _ in range(times - 1):
        balancer.deregister(target_id, now=1.0)
    with pytest.raises(SettingError) as refused:
        balancer.deregister(target_id, now=1.0)
    assert refused.value.code == "InvalidTarget"


@pytest.mark.parametrize(
    ("name", "address"), [("fw-a1", bytes([10, 254, 11, 250])), ("fw-x", bytes([10, 254, 11, 101]))]
)
def test_a_name_has_one_address_and_an_address_one_name(name: str, address: bytes) -> None:
    balancer = node(1)
    with pytest.raises(SettingError) as refused:
        balancer.register(Target(name, address, "a"), now=1.0)
    assert refused.value.code == "InvalidTarget"


def test_a_target_registered_again_while_it_drains_starts_with_its_health_checks_and_keeps_its_flows() -> None:
    balancer = node(1)
    balancer.receive_packet(VPCE_A, syn(), now=0.0)
    balancer.deregister("fw-a1", now=1.0)
    balancer.register(target(1), now=2.0)
    assert state(balancer, "fw-a1", now=2.0)[0] == "initial"
    assert isinstance(balancer.receive_packet(VPCE_A, data(), now=310.0), ToTarget)
    assert state(balancer, "fw-a1", now=310.0)[0] == "initial"
