"""Frames of `gwlbemu watch` from literal snapshots; no lab, no terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gwlbemu.cli.watch_view import frame, rate, short
from gwlbemu.lab.running import Process
from gwlbemu.views.ask import NoAnswer
from gwlbemu.views.flows import LiveFlow
from gwlbemu.views.snapshot import NodeSnapshot, Snapshot
from gwlbemu.views.status import (
    BrokenPart,
    CaptureStatus,
    LabStatus,
    NodeStatus,
    PortCount,
    ShortcutStatus,
    TapCount,
)
from gwlbemu.views.targets import TargetState

COUNTS = {
    "ActiveFlowCount": 1, "NewFlowCount": 10, "verdicts_to_target": 100, "verdicts_to_endpoint": 90, "verdicts_drop": 0,
    "ProcessedBytes": 10_000, "PacketsDroppedCount_MissingFlowEntry": 0, "Dropped_MidstreamTcp": 0,
}  # fmt: skip


def target(name: str, state: str = "healthy", **others: Any) -> TargetState:
    common = {"zone": "a", "flows": 1, "packets_to": 50, "packets_from": 45, "description": "", "reason": ""}
    place = {"target_group": "firewalls", "node": "firewall-node-a", "address": "10.254.1.11"}
    return TargetState(**{"id": name, "state": state, **place, **common, **others})


def flow(port: int, packets: int, age: float = 60.0) -> LiveFlow:
    return LiveFlow(
        node="firewall-node-a", endpoint="vpce-a", protocol=6, source="198.51.100.10", source_port=port,
        destination="10.0.1.10", destination_port=80, target="fw-a1", cookie="0x00000001", outer_source_port=50000,
        age_seconds=age, idle_seconds=0.2, expires_in_seconds=349.8, packets=packets,
        packets_to=packets // 2, packets_from=packets - packets // 2, bytes=packets * 100, moves=0,
    )  # fmt: skip


def node(name: str = "firewall-node-a", **changes: Any) -> NodeSnapshot:
    counts = {key: changes.pop(key) for key in list(changes) if key in COUNTS}
    port = PortCount("vpce-a", 0, 0, changes.pop("socket_drops", 0), 0, 0)
    targets = tuple(replace(each, node=name) for each in changes.pop("targets", [target("fw-a1")]))
    flows, more = tuple(changes.pop("flows", [flow(40000, 100)])), changes.pop("more", False)
    assert not changes
    status = NodeStatus(name, "firewall", "firewalls", "a", datapath="python", ports=(port,), targets=targets)
    return NodeSnapshot(status, COUNTS | counts, flows, more)


def silent(name: str, reason: str) -> NodeSnapshot:
    return NodeSnapshot(NodeStatus(name, "ids", "sensors", "a", silent=NoAnswer(name, reason)))


def snapshot(
    at: float,
    *nodes: NodeSnapshot,
    processes: tuple[Process, ...] = (),
    failures: tuple[BrokenPart, ...] = (),
    capture: CaptureStatus | None = None,
) -> Snapshot:
    states = tuple(each.status for each in nodes)
    status = LabStatus("two-zones", "two-zones.yaml", processes, (), states, ShortcutStatus(0, 0), capture, failures)
    return Snapshot(at, status, nodes)


def told(*words: str) -> str:
    return " ".join(("gwlbemu", *words))


def lines(now: Snapshot, before: Snapshot | None = None, width: int = 100, height: int = 30) -> list[str]:
    return frame(now, before, told, width=width, height=height).plain.splitlines()


def cells(shown: list[str], first: str) -> list[str]:
    return next(line for line in shown if line.split()[:1] == [first]).split()


def test_rates_are_the_difference_of_two_looks_by_the_seconds_between_them() -> None:
    before = snapshot(100.0, node())
    now = snapshot(
        102.0, node(NewFlowCount=14, verdicts_to_target=300, verdicts_to_endpoint=290, ProcessedBytes=35_000)
    )
    assert cells(lines(now, before), "firewall-node-a") == [
        "firewall-node-a", "python", "1", "2", "100", "100", "0", "100k", "0",
    ]  # fmt: skip


def test_the_first_look_has_no_rates() -> None:
    assert cells(lines(snapshot(100.0, node())), "firewall-node-a")[3:8] == ["-"] * 5


def test_a_node_that_began_anew_counts_from_nothing_and_not_backwards() -> None:
    before, now = snapshot(100.0, node(verdicts_to_target=5000)), snapshot(101.0, node(verdicts_to_target=3))
    assert cells(lines(now, before), "firewall-node-a")[4] == "0"


def test_every_target_stands_there_for_each_node_and_the_unhealthy_ones_first_with_the_reason() -> None:
    a = node(targets=[target("fw-a1"), target("fw-b1", zone="b")])
    b = node("firewall-node-b", targets=[target("fw-b1", "unhealthy", zone="b", description="Health checks failed")])
    shown = lines(snapshot(1.0, a, b))
    first = shown.index(next(line for line in shown if line.startswith("TARGET")))
    rows = [line.split() for line in shown[first + 1 : first + 4]]
    assert [row[:4] for row in rows] == [
        ["fw-b1", "b", "firewall-node-b", "unhealthy"],
        ["fw-a1", "a", "firewall-node-a", "healthy"],
        ["fw-b1", "b", "firewall-node-a", "healthy"],
    ]
    assert rows[0][-3:] == ["Health", "checks", "failed"]
    assert "targets healthy 2/3" in shown[0]


def test_what_is_lost_is_told_by_place_and_reason_and_what_grows_comes_first() -> None:
    before = snapshot(10.0, node(Dropped_MidstreamTcp=500, PacketsDroppedCount_MissingFlowEntry=1))
    now = snapshot(
        12.0,
        node(Dropped_MidstreamTcp=500, PacketsDroppedCount_MissingFlowEntry=7, socket_drops=4, verdicts_drop=6),
        capture=CaptureStatus(packets=1500, dropped=20, taps=(TapCount("client/eth0", 1500, 20),)),
    )
    shown = lines(now, before)
    start = shown.index(next(line for line in shown if line.startswith("LOST AT")))
    assert [" ".join(line.split()) for line in shown[start + 1 : start + 5]] == [
        "capture client/eth0: not recorded 20 10",
        "firewall-node-a MissingFlowEntry 7 3",
        "firewall-node-a vpce-a: the node was too slow 4 2",
        "firewall-node-a MidstreamTcp 500 0",
    ]
    assert "captured 1.5k, lost 20" in shown[0]


def test_nothing_lost_takes_no_room() -> None:
    assert not any(line.startswith("LOST AT") for line in lines(snapshot(1.0, node())))


def test_the_busiest_flow_comes_first_then_the_newest() -> None:
    before = snapshot(10.0, node(flows=[flow(1, 100), flow(2, 100), flow(3, 5)]))
    now = snapshot(11.0, node(flows=[flow(1, 101), flow(2, 150), flow(3, 5, age=9.0), flow(4, 30, age=0.5)]))
    shown = lines(now, before)
    rows = [line.split() for line in shown if line.startswith("tcp")]
    assert [(row[1], row[6]) for row in rows] == [
        ("198.51.100.10:2", "50"), ("198.51.100.10:4", "30"), ("198.51.100.10:1", "1"), ("198.51.100.10:3", "0"),
    ]  # fmt: skip


def test_a_flow_list_that_is_not_whole_says_so() -> None:
    assert any("FLOW (among the newest)" in line for line in lines(snapshot(1.0, node(more=True))))


def test_failures_on_purpose_dead_processes_and_silent_nodes_stand_on_top_and_hide_nobody() -> None:
    dead = Process("ids-node-a", "two-zones-ids-node-a", 7, "dead", "/run/x.log")
    nodes = (node(), silent("ids-node-a", "dead"), silent("ids-node-b", "no answer"))
    shown = lines(snapshot(1.0, *nodes, processes=(dead,), failures=(BrokenPart("process", "fw-a1"),)))
    assert shown[1:4] == [
        "! process fw-a1 is broken on purpose (gwlbemu heal process fw-a1)",
        "! ids-node-a is dead   /run/x.log",
        "! ids-node-b: no answer",
    ]
    assert cells(shown, "firewall-node-a")


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (60, 12), (40, 5), (200, 60)])
def test_a_frame_fits_its_screen_whatever_the_lab_holds(width: int, height: int) -> None:
    targets = [target(f"fw-{number}", "unhealthy" if number % 7 == 0 else "healthy") for number in range(300)]
    flows = [flow(number, number) for number in range(200)]
    nodes = [node(f"node-{number}", targets=targets, flows=flows, Dropped_MidstreamTcp=5) for number in range(20)]
    shown = lines(snapshot(1.0, *nodes), None, width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width


def test_on_a_small_screen_every_section_keeps_some_rows_and_counts_the_others() -> None:
    nodes = [
        node(f"node-{number}", targets=[target(f"fw-{number}")] * 9, Dropped_MidstreamTcp=5, flows=[flow(1, 1)] * 9)
        for number in range(9)
    ]
    shown = lines(snapshot(1.0, *nodes))
    assert [line.split()[0] for line in shown if line.isupper() or line.startswith(("NODE", "TARGET", "LOST"))] == [
        "NODE", "TARGET", "LOST",
    ]  # fmt: skip
    assert any("FLOW" in line for line in shown)
    assert [line for line in shown if line.startswith("... ")] == ["... 75 more", "... 8 more", "... 79 more"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (0.25, "0.2"), (2.5, "2.5"), (12.3, "12"), (999, "999"), (1000, "1.0k"), (45_600, "46k"),
     (999_600, "1.0M"), (1_234_000, "1.2M"), (7.7e9, "7.7G"), (77e9, "77G")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_no_time_between_two_looks_makes_no_rate() -> None:
    assert rate(5, 3, 0.0) == "-"
