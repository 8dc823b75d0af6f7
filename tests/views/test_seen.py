"""What the doctor reads of appliances: whatever they answer, the report is made, and what is unknown is said."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.review.finding import Finding
from gwlbemu.review.live import live_findings
from gwlbemu.review.seen import Seen
from gwlbemu.topology.file.parse import parse
from gwlbemu.views.seen import read_seen
from tests.lab.worlds import world
from tests.views.fake_lab import NODES, Answer, answering, fake_lab

FIREWALLS = {"fw-a": "a", "fw-b": "b"}
NODE: dict[str, Answer] = {
    "targets": lambda _: {"targets": []},
    "traffic": lambda _: {"traffic": [], "refused": [], "unreachable": []},
    "metrics": lambda _: {"metrics": {}},
}


def seen(folder: Path, status: dict[str, Any]) -> Seen:
    """What is read where fw-a answers `status` with that, and fw-b as it is meant to."""
    lab = fake_lab(folder, fw_a="running", fw_b="running")
    with ExitStack() as stack:
        for name in NODES:
            stack.enter_context(answering(lab, name, NODE))
        stack.enter_context(answering(lab, "fw-a", {"status": lambda _: status}))
        stack.enter_context(answering(lab, "fw-b", {"status": lambda _: {"counters": {"kernel drops": 3, "in": 7}}}))
        return read_seen(lab)


def findings(folder: Path, read: Seen) -> list[Finding]:
    return list(live_findings(parse(world(FIREWALLS), "world.yaml").topology, fake_lab(folder).plan, read))


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        ({}, None, "its counters are null, expected an object"),
        ({"counters": [1, 2]}, None, "its counters are a list, expected an object"),
        ({"counters": "many"}, None, "its counters are a string, expected an object"),
        ({"counters": {"kernel drops": "3", "in": 7}}, {"in": 7}, "'kernel drops' is a string, expected a count"),
        ({"counters": {"kernel drops": {"a": [1]}}}, {}, "'kernel drops' is an object, expected a count"),
        ({"counters": {"kernel drops": True}}, {}, "'kernel drops' is true, expected a count"),
        ({"counters": {"kernel drops": 1.5}}, {}, "'kernel drops' is a fraction, expected a count"),
        ({"counters": {"kernel drops": -1}}, {}, "'kernel drops' is another number, expected a count"),
        (
            {"counters": {"kernel drops": 0, "discarded: x": [["y"]]}},
            {"kernel drops": 0},
            "'discarded: x' is a list, expected a count",
        ),
        ({"counters": {"in": 7}}, {"in": 7}, "there is no 'kernel drops'"),
        ({"counters": {"kernel drops": 0, "x" * 1000: 1}}, {"kernel drops": 0}, "a name is too long"),
        ({"ok": False, "error": "on strike", "code": "X"}, None, "it answers with an error (on strike)"),
        ({"ok": False, "error": ["x"], "code": {}}, None, 'it answers with an error (["x"])'),
        ({"ok": False, "error": "no", "code": "MachineRefused"}, None, "it answers with an error (no)"),
    ],
)
def test_what_an_appliance_answers_wrongly_is_unknown_and_said(
    tmp_path: Path, status: dict[str, Any], said: dict[str, int] | None, why: str
) -> None:
    read = seen(tmp_path, status)
    assert (read.instances["fw-a"].said, read.instances["fw-a"].not_understood) == (said, why)
    other = read.instances["fw-b"]
    assert (other.said, other.lost, other.not_understood) == (
        {"kernel drops": 3, "in": 7}, (("packet socket", 3),), "",
    )  # fmt: skip
    told = [each for each in findings(tmp_path, read) if each.kind == "unknown-counters"]
    assert [(each.severity, each.text) for each in told] == [
        ("hint", f"what fw-a itself has counted is not known: {why}")
    ]


def test_an_appliance_that_runs_and_does_not_answer_is_said_and_one_that_does_not_run_is_not(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, fw_a="running", fw_b="frozen")
    with answering(lab, NODES[0], NODE), answering(lab, NODES[1], NODE):
        read = read_seen(lab)
    assert read.instances["fw-a"].not_understood == "no answer at control socket fw-a: No such file or directory"
    assert read.instances["fw-b"].not_understood == ""
