"""A lab's status as values, as JSON and as text; and snapshots, which are made of it."""

from __future__ import annotations

import json
from pathlib import Path

from gwlbemu.cli.status import status_lines
from gwlbemu.views.ask import NoAnswer
from gwlbemu.views.snapshot import take_snapshot
from gwlbemu.views.status import (
    BrokenPart,
    CaptureStatus,
    LabStatus,
    LostLines,
    NodeStatus,
    ShortcutStatus,
    TapCount,
    read_status,
)
from tests.views.fake_lab import NODES, FakeLab, answering, fake_lab, flow, node_status, target

A, B = NODES
PROGRAMS = {"server_a": "running", "server_b": "running", "fw_a": "running", "fw_b": "running"}
TAP = {"name": "client/eth0", "packets": 9, "dropped": 3}
CAPTURE = {
    "file": "/x.pcapng", "packets": 18, "dropped": 3, "waiting": 0, "refused_records": 0, "unwritten": 0, "faults": {},
    "taps": [TAP],
}  # fmt: skip


def lines(status: LabStatus) -> list[str]:
    return list(status_lines(status, lambda *words: " ".join(("gwlbemu", *words)), 1000))


def read(lab: FakeLab) -> LabStatus:
    with (
        answering(lab, A, {"status": lambda _: node_status(A, target("fw-a", flows=2))}),
        answering(lab, B, {"status": lambda _: node_status(B)}),
        answering(lab, "capture", {"status": lambda _: CAPTURE}),
    ):
        return read_status(lab)


def test_a_lab_in_which_all_is_well(tmp_path: Path) -> None:
    status = read(fake_lab(tmp_path, capture=True, **PROGRAMS))
    assert (status.well, status.errors, status.never_started) == (True, (), ())
    node = status.nodes[0]
    assert (node.name, node.target_group, node.datapath, node.uptime_seconds) == (A, "firewalls", "ebpf", 2.5)
    assert (node.ports[0].name, node.ports[0].socket_drops, node.targets[0].flows) == ("eni", 1, 2)
    assert status.capture is not None
    assert (status.capture.packets, status.capture.taps) == (18, (TapCount("client/eth0", 9, 3),))


def test_its_json_has_the_keys_that_scripts_read(tmp_path: Path) -> None:
    status = json.loads(json.dumps(read(fake_lab(tmp_path, capture=True, **PROGRAMS)).as_dict()))
    assert list(status) == [
        "lab", "source", "processes", "never_started", "nodes", "shortcuts", "capture", "failures", "lost_lines",
        "interrupted", "port_drops",
    ]  # fmt: skip
    network = {"type": "gateway", "tables": "", "failing_open": [], "proxy": "", "dns_name": "", "addresses": []}
    assert status["nodes"][B] | {"target_group": ""} == node_status(B) | network | {"target_group": ""}
    assert status["nodes"][A]["targets"][0] | target("fw-a", flows=2) == status["nodes"][A]["targets"][0]
    assert status["capture"] == CAPTURE
    assert status["processes"][0].keys() == {"name", "namespace", "pid", "state", "log"}


def test_what_does_not_run_or_answer_is_said_once_and_hides_nothing(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_a="frozen", fw_a="dead", server_a="running")
    with answering(lab, B, {"status": lambda _: node_status(B)}):
        status = read_status(lab)
    assert not status.well
    assert status.never_started == ("fw-b", "server-b")
    frozen, dead = (f"{name} is {state}; its log is {lab.state.log(name)}" for name, state in
                    ((A, "frozen"), ("fw-a", "dead")))  # fmt: skip
    assert status.errors == (frozen, dead)
    assert status.as_dict()["nodes"][A] == {
        "name": A, "load_balancer": "inspect", "target_group": "firewalls", "zone": "a", "type": "gateway",
        "dns_name": "", "addresses": (), "error": frozen,
    }  # fmt: skip
    shown = lines(status)
    assert shown[-3:] == [
        f"! {frozen}", f"! {dead}", "! half built, fw-b, server-b never started: gwlbemu down",
    ]  # fmt: skip
    assert any(line.startswith("inspect-node-b  eni") for line in "\n".join(shown).splitlines())


def test_what_the_capture_lost_is_named_and_is_no_failure() -> None:
    taps = (TapCount("client/eth0", 9, 3), TapCount("web/eth0", 9, 0))
    status = LabStatus("l", "f", (), (), (), ShortcutStatus(2, 3), CaptureStatus("/x.pcapng", 18, 3, taps=taps), ())
    assert status.well
    assert "shortcuts: 2 of 3 fabrics and routers" in lines(status)
    assert lines(status)[-1] == "! capture lost 3 packets: client/eth0 3; the traffic itself was not affected"


def test_what_is_broken_is_named_with_the_command_that_heals_it() -> None:
    broken = (BrokenPart("link", "web"),)
    status = LabStatus("l", "f", (), (), (), ShortcutStatus(2, 3), None, broken)
    assert not status.well
    assert "shortcuts: 2 of 3 fabrics and routers, not where a cable is pulled" in lines(status)
    assert lines(status)[-1] == "! link web is broken on purpose (gwlbemu heal link web)"
    assert status.as_dict()["failures"] == [{"kind": "link", "name": "web"}]


def test_why_a_node_has_no_fast_path_and_why_the_capture_is_silent() -> None:
    node = NodeStatus(A, "inspect", "firewalls", "a", datapath="python", datapath_reason="no clang")
    capture = CaptureStatus(silent=NoAnswer("capture", "dead", "/c.log"))
    status = LabStatus("l", "f", (), (), (node,), ShortcutStatus(0, 3, "no clang"), capture, ())
    assert "inspect-node-a: no fast path: no clang" in lines(status)
    assert lines(status)[-1] == "! capture is dead; its log is /c.log"
    assert status.as_dict()["capture"] == {"error": "capture is dead; its log is /c.log"}


def test_a_snapshot_asks_each_node_for_all_at_once_and_only_for_its_newest_flows(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, capture=False, inspect_node_b="dead", **PROGRAMS)
    wanted: list[object] = []

    def newest(request: dict[str, object]) -> dict[str, object]:
        wanted.append(request)
        return {"flows": [flow(7)], "more": True}

    verbs = {"status": lambda _: node_status(A), "metrics": lambda _: {"metrics": {"verdicts": 4}}, "flows": newest}
    with answering(lab, A, verbs) as asked:
        snapshot = take_snapshot(lab, now=5.0)
    assert (sorted(asked), wanted) == (["flows", "metrics", "status"], [{"limit": 200, "newest": True}])
    assert (snapshot.at, snapshot.status.lab) == (5.0, "world")
    a, b = snapshot.nodes
    assert (a.name, a.metrics, a.flows[0].source_port, a.more) == (A, {"verdicts": 4}, 7, True)
    assert (b.name, b.metrics, b.flows, b.status.error[:22]) == (B, {}, (), "inspect-node-b is dead")


def test_lines_that_logs_lack_and_a_change_that_was_interrupted_are_told(tmp_path: Path) -> None:
    lost = (LostLines("fw", 7, 3),)
    status = LabStatus("l", "f", (), (), (), ShortcutStatus(2, 3), None, (), lost_lines=lost, interrupted=True)
    assert not status.well
    assert lines(status)[-2:] == [
        "! the log of fw lacks 7 lines over its rate and 3 for want of room",
        "! a change of this lab was interrupted, its nodes may differ from its plan: the next change mends that",
    ]
    assert status.as_dict()["lost_lines"] == [{"appliance": "fw", "over_rate": 7, "failed": 3}]
