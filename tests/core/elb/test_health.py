"""Thresholds: results in, decisions out, as two lists side by side."""

import pytest

from gwlbemu.core.elb.health import Health

U, H, X = None, True, False  # not decided yet, healthy, unhealthy


@pytest.mark.contract("TG-02")
@pytest.mark.parametrize(
    ("results", "decisions"),
    [
        ([1, 1, 1, 1, 1, 1], [U, U, U, U, H, H]),
        ([0, 0, 0], [U, X, X]),
        ([1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [U, U, U, U, U, U, U, U, U, H]),
        ([1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1], [U, U, U, U, H, H, H, H, X, X, X, X, X, H]),
        ([0, 1, 0, 1, 0, 0], [U, U, U, U, U, X]),
        ([0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [U, X, X, X, X, X, X, X, X, X, X, H]),
    ],
)
def test_a_decision_changes_after_a_threshold_of_results_in_a_row(
    results: list[int], decisions: list[bool | None]
) -> None:
    health, seen = Health(), []
    for ok in results:
        health = health.observe(bool(ok), 5, 2)
        seen.append(health.healthy)
    assert seen == decisions
