"""What is read of an application load balancer, out of literal answers; a lab test asks real keepers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from gwlbemu.cli.metrics import metrics_lines
from gwlbemu.cli.read import _targets_text
from gwlbemu.cli.status import status_lines
from gwlbemu.cli.watch_view import frame
from gwlbemu.lab.state import State
from gwlbemu.topology.names import RESOLVER, load_balancer_dimension, target_group_dimension
from gwlbemu.views import states as states_of_views
from gwlbemu.views.flows import read_flows
from gwlbemu.views.metrics import points, read_counters, total
from gwlbemu.views.prometheus import exposition
from gwlbemu.views.snapshot import take_snapshot
from gwlbemu.views.status import ask_for_status, status_from
from gwlbemu.views.targets import read_targets
from gwlbemu.views.waiting import wait_until_healthy
from tests.views.application_plan import application_plan
from tests.views.fake_lab import FakeLab, answering

A, B = "web-node-a", "web-node-b"
METRICS = {
    "ActiveConnectionCount": 3, "NewConnectionCount": 5, "ProcessedBytes": 900, "RequestCount": 8,
    "HTTPCode_ELB_5XX_Count": 2, "HTTPCode_ELB_503_Count": 2, "HTTPCode_Target_2XX_Count": 8,
    "HTTPCode_ELB_4XX_Count": 0,
    "TargetResponseTime": 0.2, "HealthyHostCount": 1, "UnHealthyHostCount": 1,
}  # fmt: skip
GROUP = {"RequestCount": 8, "HTTPCode_Target_2XX_Count": 8, "RequestCountPerTarget": 4, "TargetResponseTime": 0.2}
OTHER = {"RequestCount": 2, "HTTPCode_Target_2XX_Count": 2, "RequestCountPerTarget": 1, "TargetResponseTime": 0.7}
FLOW = {
    "listener": "HTTP:80", "target_group": "pages", "target": "web-a", "protocol": "TCP", "source": "198.51.100.10",
    "source_port": 40000, "destination": "10.0.101.254", "destination_port": 80, "target_address": "10.0.1.10",
    "target_port": 80, "state": "proxied", "bytes": 700,
    "expires_in_seconds": 60.0,
}  # fmt: skip


def target(name: str, state: str = "healthy", **others: Any) -> dict[str, Any]:
    place = {"target_group": "pages", "id": name, "address": "10.0.1.10", "port": 80, "zone": "a"}
    words = {"reason": "", "description": "", "flows": 1, "requests": 7, "in_flight": 2}
    return {**place, "state": state, **words, **others}


TARGETS = [target("web-a"), target("web-b", "unhealthy", requests=1, in_flight=0)]


def lab_of(root: Path, **states: str) -> FakeLab:
    state = State("web", root)
    state.make_folders()
    known = dict.fromkeys((A, B), "running") | {name.replace("_", "-"): value for name, value in states.items()}
    return FakeLab(application_plan(), state, known)


def verbs(
    name: str, *, proxy: str = "running", open_: tuple[str, ...] = (), times: int = 1, over_rate: int = 0
) -> dict[str, Any]:
    status = {
        "name": name, "load_balancer": "web", "zone": name[-1], "datapath": "haproxy", "uptime_seconds": 2.5,
        "faults": {}, "proxy": proxy, "failing_open": list(open_), "ports": [], "discards": {}, "targets": TARGETS,
        "access_log": {"written": 9, "over_rate": over_rate, "failed": 0, "unread": 0},
    }  # fmt: skip
    metrics = {key: value * times if isinstance(value, int) else value for key, value in METRICS.items()}
    return {
        "status": lambda _: status,
        "targets": lambda _: {"targets": TARGETS},
        "metrics": lambda _: {"metrics": metrics, "by_group": {"pages": GROUP if times == 1 else OTHER}},
        "flows": lambda _: {"flows": [FLOW], "more": False, "cursor": ""},
    }


def hint(*words: str) -> str:
    return " ".join(("gwlbemu", *words))


def told(lab: FakeLab, **how: Any) -> tuple[Any, list[str]]:
    with answering(lab, A, verbs(A, **how)), answering(lab, B, verbs(B)):
        read = status_from(lab, *ask_for_status(lab, {}))
    return read, [*status_lines(read, hint, 200)]


def test_a_proxy_that_does_not_run_is_told_with_the_mend_and_is_a_reason_not_to_be_well(tmp_path: Path) -> None:
    read, lines = told(lab_of(tmp_path), proxy="does not answer")
    assert [node.broken_proxy for node in read.nodes] == [True, False]
    assert f"! {A}: its proxy does not answer (gwlbemu heal node {A})" in lines
    assert json.loads(json.dumps(read.as_dict()))["nodes"][A]["proxy"] == "does not answer"


@pytest.mark.contract("AL-09")
def test_a_group_that_fails_open_is_told_in_requests(tmp_path: Path) -> None:
    _, lines = told(lab_of(tmp_path), open_=("pages",))
    assert f"{A}: no target of pages is healthy: it fails open, requests go to all of them" in lines


def test_lines_that_an_access_log_lacks_are_told(tmp_path: Path) -> None:
    read, lines = told(lab_of(tmp_path), over_rate=7)
    assert [(lost.appliance, lost.over_rate) for lost in read.lost_lines] == [(A, 7)]
    assert f"! the log of {A} lacks 7 lines over its rate and 0 for want of room" in lines


def test_of_a_dead_keeper_it_is_told_that_its_proxy_goes_on(tmp_path: Path) -> None:
    _, lines = told(lab_of(tmp_path, web_node_a="dead"))
    assert f"! {A}: its proxy goes on as it was told, and nobody checks its targets (gwlbemu heal node {A})" in lines


def test_targets_have_requests_and_those_in_flight(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        found = read_targets(lab).complete()
    assert [(each.requests, each.in_flight, each.packets_to) for each in found if each.node == A] == [
        (7, 2, 0), (1, 0, 0),
    ]  # fmt: skip
    heading, row = _targets_text(lab, found).splitlines()[:2]
    assert heading.split()[6:11] == ["STATE", "FLOWS", "REQUESTS", "IN", "FLIGHT"]
    assert row.split()[5:9] == ["healthy", "1", "7", "2"]


def test_a_clients_connection_is_a_flow_without_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(tmp_path)
    monkeypatch.setattr(states_of_views, "read_plan", lambda _: lab.plan)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        flow = read_flows(lab).complete()[0]
        states = states_of_views.present_states(lab)[1]
    assert flow.as_dict() == {**FLOW, "protocol": 6, "node": A, "type": "application"}
    assert states.members[A, "pages", "web-b"] == "unhealthy"


@pytest.mark.contract("AL-21")
def test_metrics_have_the_dimensions_that_aws_gives_them(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B, times=2)):
        counters = read_counters(lab)
    found = {(each.metric.name, tuple(sorted(each.dimensions.items()))): each for each in points(counters.complete())}
    balancer, group = load_balancer_dimension("app", "web"), target_group_dimension("pages")

    def value(name: str, **dimensions: str) -> dict[str, float]:
        return dict(found[name, tuple(sorted({"LoadBalancer": balancer, **dimensions}.items()))].statistics)

    assert {each.metric.namespace for each in found.values()} == {"AWS/ApplicationELB"}
    assert value("RequestCount") == {"Sum": 24}
    assert value("RequestCount", TargetGroup=group) == {"Sum": 10}
    assert value("RequestCount", TargetGroup=group, AvailabilityZone="b") == {"Sum": 2}
    assert value("TargetResponseTime", TargetGroup=group) == {"Average": pytest.approx((8 * 0.2 + 2 * 0.7) / 10)}
    assert value("ActiveConnectionCount", AvailabilityZone="a") == {"Sum": 3}
    assert value("HealthyHostCount", TargetGroup=group) == {"Minimum": 1, "Maximum": 2}
    assert not found[("HTTPCode_ELB_4XX_Count", (("LoadBalancer", balancer),))].reported
    assert [total(counters.complete(), name) for name in ("RequestCount", "TargetResponseTime")] == [24, 0.2]
    text = "\n".join(metrics_lines(counters.items))
    assert f"LoadBalancer {balancer}\nTargetGroup {group}\n" in text
    assert "RequestCountPerTarget of pages" in text


@pytest.mark.contract("AL-21")
def test_prometheus_adds_nothing_up_twice(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        text = exposition(read_counters(lab), {A: "a", B: "b"})
    names = [line.partition("{")[0] for line in text.splitlines() if "request_count" in line and line[0] != "#"]
    assert sorted(set(names)) == [
        "aws_applicationelb_request_count_by_target_group_total",
        "aws_applicationelb_request_count_per_target_by_target_group_total",
        "aws_applicationelb_request_count_total",
    ]
    assert "# TYPE aws_applicationelb_active_connection_count gauge" in text


def test_a_live_view_counts_requests(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        snapshot = take_snapshot(lab, now=0.0)
    assert snapshot.nodes[0].counts == (5, 8, 6, 2, 900, 3)
    screen: Text = frame(snapshot, None, hint, width=120, height=40)
    rows = screen.plain.splitlines()
    assert any(row.split()[:3] == [A, "haproxy", "3"] for row in rows)
    assert any("requests answered with 503" in row for row in rows)
    assert any("198.51.100.10:40000 > 10.0.101.254:80  HTTP:80" in row for row in rows)


def test_up_waits_until_the_proxy_runs(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with (
        answering(lab, A, verbs(A, proxy="has no configuration yet")),
        answering(lab, B, verbs(B)),
        answering(lab, RESOLVER, {}),
    ):
        troubles = wait_until_healthy(lab, 0.0)
    assert f"the proxy of {A} does not run: has no configuration yet" in troubles
