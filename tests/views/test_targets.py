"""The targets of a lab out of its nodes' answers."""

from __future__ import annotations

from pathlib import Path

from gwlbemu.views.targets import all_healthy, read_targets, targets_by_node
from tests.views.fake_lab import NODES, answering, fake_lab, target

A, B = NODES


def test_each_node_says_for_itself_how_a_target_is_and_the_group_is_the_balancers(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    sick = target("fw-a", "unhealthy", reason="Target.FailedHealthChecks", description="Health checks failed")
    with (
        answering(lab, A, {"targets": lambda _: {"targets": [target("fw-a", packets_to=3), target("fw-b")]}}),
        answering(lab, B, {"targets": lambda _: {"targets": [sick]}}),
    ):
        reading = read_targets(lab)
    found = [(each.target_group, each.node, each.id, each.state, each.packets_to) for each in reading.complete()]
    assert found == [
        ("firewalls", A, "fw-a", "healthy", 3),
        ("firewalls", A, "fw-b", "healthy", 0),
        ("firewalls", B, "fw-a", "unhealthy", 0),
    ]
    assert reading.items[2].reason == "Target.FailedHealthChecks"
    assert not all_healthy(reading.items)
    assert all_healthy(reading.items[:2])


def test_a_node_without_targets_is_not_a_node_that_is_silent(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_b="frozen")
    with answering(lab, A, {"targets": lambda _: {"targets": []}}):
        reading = read_targets(lab)
    assert targets_by_node(lab.plan, reading) == {A: []}
    assert [each.process for each in reading.silent] == [B]
