"""Frames of `gwlbemu watch` from literal snapshots; no lab, no terminal."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.cli.watch_view import frame, rate, short

COUNTS = {
    "ActiveFlowCount": 1, "NewFlowCount": 10, "verdicts_to_target": 100, "verdicts_to_endpoint": 90, "verdicts_drop": 0,
    "ProcessedBytes": 10_000, "PacketsDroppedCount_MissingFlowEntry": 0, "Dropped_MidstreamTcp": 0,
}  # fmt: skip


def target(name: str, state: str = "healthy", **others: Any) -> dict[str, Any]:
    common = {"zone": "a", "flows": 1, "packets_to": 50, "packets_from": 45, "description": ""}
    return {"id": name, "state": state, **common, **others}


def flow(port: int, packets: int, age: float = 60.0, **others: Any) -> dict[str, Any]:
    ends = {"source": "198.51.100.10", "source_port": port, "destination": "10.0.1.10", "destination_port": 80}
    times = {"age_seconds": age, "idle_seconds": 0.2}
    counts = {"packets": packets, "bytes": packets * 100, "moves": 0}
    return {"endpoint": "vpce-a", "protocol": 6, "target": "fw-a1", **ends, **times, **counts, **others}


def node(name: str = "firewall-node-a", **changes: Any) -> dict[str, Any]:
    counts = {key: changes.pop(key) for key in list(changes) if key in COUNTS}
    port = {"name": "vpce-a", "socket_drops": changes.pop("socket_drops", 0), "unsent": 0}
    common = {
        "load_balancer": "firewall",
        "target_group": "firewalls",
        "zone": "a",
        "datapath": "python",
        "more": False,
    }
    targets, flows = changes.pop("targets", [target("fw-a1")]), changes.pop("flows", [flow(40000, 100)])
    parts = {"ports": [port], "metrics": COUNTS | counts, "targets": targets, "flows": flows}
    return {"name": name, **common, **parts, **changes}


def snapshot(at: float, *nodes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"processes": [], "failures": [], "capture": None}
    return {"lab": "two-zones", "at": at, "nodes": list(nodes), **empty, **changes}


def lines(now: dict[str, Any], before: dict[str, Any] | None = None, width: int = 100, height: int = 30) -> list[str]:
    return frame(now, before, width=width, height=height).plain.splitlines()


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
        capture={"packets": 1500, "dropped": 20, "taps": [{"name": "client/eth0", "dropped": 20}]},
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
    dead = {"name": "ids-node-a", "state": "dead", "log": "/run/x.log"}
    gone, silent = node("ids-node-a"), node("ids-node-b")
    gone = {key: gone[key] for key in ("name", "zone")} | {"error": "dead"}
    silent = {key: silent[key] for key in ("name", "zone")} | {"error": "no answer"}
    shown = lines(snapshot(1.0, node(), gone, silent, processes=[dead], failures=[["process", "fw-a1"]]))
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
