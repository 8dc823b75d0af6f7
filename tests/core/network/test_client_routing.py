"""Which zones a load balancer's name is answered with."""

from __future__ import annotations

import pytest

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE, PARTIAL_AFFINITY
from gwlbemu.core.elb.target import Target
from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.client_routing import answered_zones, is_in_dns
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener, Settings

POLICIES = (ANY_ZONE, PARTIAL_AFFINITY, AFFINITY)
WELL = {"a": True, "b": True, "c": True}
WITHOUT_A = {"a": False, "b": True, "c": True}


@pytest.mark.contract("NL-15")
@pytest.mark.parametrize(
    ("policy", "zones", "client", "draw", "answered"),
    [
        (ANY_ZONE, WELL, "a", 0.0, ("a", "b", "c")),
        (ANY_ZONE, WITHOUT_A, "a", 0.0, ("b", "c")),
        (AFFINITY, WELL, "b", 0.999, ("b",)),
        (AFFINITY, WITHOUT_A, "a", 0.0, ("b", "c")),
        (AFFINITY, WELL, "d", 0.0, ("a", "b", "c")),  # a zone that the load balancer is not in
        (AFFINITY, WELL, "", 0.0, ("a", "b", "c")),  # a client that is in none
        (PARTIAL_AFFINITY, WELL, "c", 0.849, ("c",)),
        (PARTIAL_AFFINITY, WELL, "c", 0.85, ("a", "b", "c")),
        (PARTIAL_AFFINITY, WITHOUT_A, "a", 0.0, ("b", "c")),
    ],
)
def test_the_policy_chooses_among_the_healthy_zones(
    policy: str, zones: dict[str, bool], client: str, draw: float, answered: tuple[str, ...]
) -> None:
    assert answered_zones(policy, zones, client, draw) == answered


@pytest.mark.contract("NL-15")
@pytest.mark.parametrize("policy", POLICIES)
def test_all_zones_are_answered_when_none_is_healthy(policy: str) -> None:
    assert answered_zones(policy, {"a": False, "b": False}, "a", 0.0) == ("a", "b")


@pytest.mark.contract("NL-15")
def test_each_target_group_needs_a_healthy_target() -> None:
    assert is_in_dns([(1, 1)])
    assert is_in_dns([(3, 1), (1, 1), (0, 0)])
    assert not is_in_dns([(3, 1), (0, 1)])
    assert not is_in_dns([])


@pytest.mark.contract("NL-15")
@pytest.mark.parametrize(("cross_zone", "counts"), [("false", (1, 1)), ("true", (2, 1))])
def test_a_node_counts_the_healthy_among_the_targets_in_its_scope(cross_zone: str, counts: tuple[int, int]) -> None:
    places = (("a1", "a"), ("a2", "a"), ("b1", "b"))
    targets = tuple(Target(name, bytes([10, 0, 1, n]), zone, 80) for n, (name, zone) in enumerate(places))
    told = Balancer(
        {"load_balancing.cross_zone.enabled": cross_zone, "dns_record.client_routing_policy": AFFINITY},
        (Listener("TCP", 80, Forward((("g", 1),), False), {}),),
        (Group("g", "TCP", "instance", {}, HealthCheck(healthy_threshold_count=2), targets),),
    )
    core = NetworkBalancer(Settings("web", "a", ("a", "b"), bytes([10, 0, 9, 10]), seed=1), told, now=0.0)
    for name in ("a1", "a1", "a2", "b1", "b1"):  # a2 has passed once, which is not enough
        core.observe("g", name, True, 0.0)
    assert core.healthy_counts() == {"g": counts}
    assert core.client_routing_policy == AFFINITY


@pytest.mark.contract("NL-07", "NL-15")
def test_a_group_says_how_many_healthy_targets_routing_and_dns_want() -> None:
    attributes = {
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "2",
        "target_group_health.dns_failover.minimum_healthy_targets.percentage": "60",
    }
    targets = tuple(Target(f"t{n}", bytes([10, 0, 1, n]), "a", 80) for n in range(1, 4))
    told = Balancer(
        {},
        (Listener("TCP", 80, Forward((("g", 1),), False), {}),),
        (Group("g", "TCP", "instance", attributes, HealthCheck(healthy_threshold_count=2), targets),),
    )
    core = NetworkBalancer(Settings("web", "a", ("a",), bytes([10, 0, 9, 10]), seed=1), told, now=0.0)
    expected = {"t1": (3, True, False), "t2": (2, False, True), "t3": (3, False, True)}
    for name, (eligible, fails_open, in_dns) in expected.items():
        for _ in range(2):
            core.observe("g", name, True, 0.0)
        found = len(core.eligible("g")), core.failing_open() == ["g"], is_in_dns(core.healthy_counts().values())
        assert found == (eligible, fails_open, in_dns), name
