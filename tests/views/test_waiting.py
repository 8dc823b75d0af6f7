"""Waiting until a lab is well: what it waits for, when it gives up, and what it says then."""

from __future__ import annotations

from pathlib import Path

from gwlbemu.views.waiting import wait_until_healthy
from tests.views.fake_lab import NODES, answering, fake_lab, target

A, B = NODES
LONG = 600.0  # seconds: a test that really waits would be noticed


def test_it_ends_as_soon_as_every_target_is_healthy_or_unused(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    looks = iter(["initial", "unhealthy"])

    def targets(_: object) -> dict[str, object]:
        return {"targets": [target("fw-a", next(looks, "healthy")), target("fw-b", "unused")]}

    with (
        answering(lab, A, {"targets": targets}) as asked,
        answering(lab, B, {"targets": lambda _: {"targets": []}}),
    ):
        assert wait_until_healthy(lab, LONG) == []
    assert len(asked) == 3


def test_what_is_not_well_at_the_end_is_named_once_with_the_reason(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_b="frozen")
    sick = target("fw-a", "unhealthy", reason="Target.FailedHealthChecks", description="Health checks failed")
    with answering(lab, A, {"targets": lambda _: {"targets": [sick]}}):
        assert wait_until_healthy(lab, 0.0) == [
            f"inspect-node-b is frozen; see {lab.state.log(B)}",
            "fw-a is unhealthy for inspect-node-a: Health checks failed",
        ]


def test_beside_one_that_has_died_what_is_not_ready_yet_is_not_named(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, fw_a="dead")
    with answering(lab, A, {"targets": lambda _: {"targets": [target("fw-a", "initial")]}}):
        assert wait_until_healthy(lab, LONG) == [f"fw-a is dead; see {lab.state.log('fw-a')}"]


def test_a_node_that_has_not_opened_its_socket_by_the_end_is_not_ready_and_not_silent(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    with answering(lab, A, {"targets": lambda _: {"targets": [target("fw-a", "initial", description="In progress")]}}):
        assert wait_until_healthy(lab, 0.0) == [
            "inspect-node-b is not ready yet",
            "fw-a is initial for inspect-node-a: In progress",
        ]


def test_a_program_that_has_ended_is_no_trouble_while_its_target_is_healthy(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, fw_a="ended")
    lab.state.log("fw-a").write_text("iptables: not found\n")
    state = ["healthy"]
    with (
        answering(lab, A, {"targets": lambda _: {"targets": [target("fw-a", state[0], description="refused")]}}),
        answering(lab, B, {"targets": lambda _: {"targets": []}}),
    ):
        assert wait_until_healthy(lab, LONG) == []
        state[0] = "unhealthy"
        assert wait_until_healthy(lab, 0.0) == [
            "fw-a is unhealthy for inspect-node-a: refused",
            f"the program of fw-a has ended: iptables: not found; see {lab.state.log('fw-a')}",
        ]


def test_a_process_that_has_died_is_not_waited_for_and_its_last_words_are_told(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_b="dead")
    lab.state.log(B).write_text("it began\nno such device\n\n")
    with answering(lab, A, {"targets": lambda _: {"targets": [target("fw-a")]}}):
        assert wait_until_healthy(lab, LONG) == [
            f"inspect-node-b is dead: no such device; see {lab.state.log(B)}",
        ]
