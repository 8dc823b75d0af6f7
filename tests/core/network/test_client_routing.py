"""Which zones a load balancer's name is answered with."""

from __future__ import annotations

import pytest

from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE, PARTIAL_AFFINITY
from gwlbemu.core.network.client_routing import answered_zones, is_in_dns

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
    assert is_in_dns([1])
    assert is_in_dns([3, 1])
    assert not is_in_dns([3, 0])
    assert not is_in_dns([])
