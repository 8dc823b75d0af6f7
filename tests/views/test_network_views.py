"""What is read of a network load balancer, out of literal answers; `test_lab_network_verbs` asks real keepers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.cli.metrics import metrics_lines
from gwlbemu.cli.status import status_lines
from gwlbemu.errors import SettingError
from gwlbemu.lab.failure import refuse_unknown
from gwlbemu.lab.state import State
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.render import lab_map
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.flows import read_flows
from gwlbemu.views.metrics import points, read_counters
from gwlbemu.views.snapshot import take_snapshot
from gwlbemu.views.status import ask_for_status, status_from
from gwlbemu.views.targets import read_targets, targets_by_node
from gwlbemu.views.waiting import wait_until_healthy
from tests.lab.fronts import front
from tests.views.fake_lab import FakeLab, answering

A, B = "front-node-a", "front-node-b"
METRICS = {
    "ActiveFlowCount": 2, "NewFlowCount": 5, "ProcessedBytes": 900, "ProcessedPackets": 9, "HealthyHostCount": 3,
    "UnHealthyHostCount": 1, "TCP_ELB_Reset_Count": 1, "PortAllocationErrorCount": 4,
}  # fmt: skip
FLOW = {
    "listener": "TCP:80", "target_group": "both", "target": "web-a", "protocol": "tcp", "source": "198.51.100.10",
    "source_port": 40000, "destination": "10.0.101.254", "destination_port": 80, "target_address": "10.0.1.10",
    "target_port": 80, "state": "established", "packets_to": 4, "packets_from": 3, "bytes": 700,
    "expires_in_seconds": 350.0,
}  # fmt: skip


def network_lab(root: Path, **states: str) -> FakeLab:
    state = State("front", root)
    state.make_folders()
    known = dict.fromkeys((A, B), "running") | {name.replace("_", "-"): value for name, value in states.items()}
    return FakeLab(load(front(), "front.yaml"), state, known)


def target(group: str, name: str, state: str = "healthy", **others: Any) -> dict[str, Any]:
    place = {"target_group": group, "id": name, "address": "10.0.1.10", "port": 80, "zone": "a"}
    words = {"reason": "", "description": "", "flows": 1, "packets_to": 4, "packets_from": 3}
    return {**place, "state": state, **words, **others}


TARGETS = [target("both", "web-a"), target("both", "web-b", "unhealthy"), target("only-a", "web-a")]


def status(name: str, tables: str = "intact", failing_open: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "name": name, "load_balancer": "front", "zone": name[-1], "datapath": "nftables", "uptime_seconds": 2.5,
        "faults": {}, "tables": tables, "failing_open": list(failing_open), "ports": [], "discards": {},
        "targets": TARGETS,
    }  # fmt: skip


def verbs(name: str, **how: Any) -> dict[str, Any]:
    return {
        "status": lambda _: status(name, **how),
        "targets": lambda _: {"targets": TARGETS},
        "metrics": lambda _: {"metrics": METRICS},
        "flows": lambda _: {"flows": [FLOW], "more": False, "cursor": ""},
    }


def told(lab: FakeLab, **how: Any) -> tuple[Any, list[str]]:
    """The status and its text; both nodes answer alike unless they are not running."""
    with answering(lab, A, verbs(A, **how)), answering(lab, B, verbs(B)):
        read = status_from(lab, *ask_for_status(lab, {}))
    return read, [*status_lines(read, lambda *words: " ".join(("gwlbemu", *words)), 200)]


@pytest.mark.parametrize(("tables", "means"), [("missing", "connections to it fail"), ("altered", "is not known")])
def test_tables_that_are_not_as_written_are_a_reason_not_to_be_well(tmp_path: Path, tables: str, means: str) -> None:
    read, lines = told(network_lab(tmp_path), tables=tables)
    assert [node.broken_tables for node in read.nodes] == [True, False]
    (line,) = (line for line in lines if line.startswith(f"! {A}: its tables"))
    assert tables in line
    assert means in line
    assert line.endswith(f"(gwlbemu heal node {A})")
    assert json.loads(json.dumps(read.as_dict()))["nodes"][A]["tables"] == tables


def test_a_group_that_fails_open_is_told_and_no_empty_table_of_ports_is_shown(tmp_path: Path) -> None:
    read, lines = told(network_lab(tmp_path), failing_open=("both",))
    assert f"{A}: no target of both is healthy: it fails open, connections go to all of them" in lines
    assert not [line for line in lines if "OVERRUN" in line]
    assert read.nodes[0].target_group == "both, only-a, only-b, nobody, echo"


def test_of_a_dead_keeper_it_is_told_that_the_kernel_goes_on(tmp_path: Path) -> None:
    _, lines = told(network_lab(tmp_path, front_node_a="dead"))
    assert f"! {A}: the kernel goes on as it was told, and nobody checks its targets (gwlbemu heal node {A})" in lines


def test_a_target_is_known_by_its_group_and_has_a_port(tmp_path: Path) -> None:
    lab = network_lab(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)), answering(lab, RESOLVER, {}):
        found = read_targets(lab).complete()
        troubles = wait_until_healthy(lab, 0.0)
    assert [(each.target_group, each.id, each.port) for each in found if each.node == A] == [
        ("both", "web-a", 80), ("both", "web-b", 80), ("only-a", "web-a", 80),
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in troubles] == [
        f"web-b of both is unhealthy for {node}" for node in (A, B)
    ]


def test_a_connection_is_a_flow_without_what_only_gateways_have(tmp_path: Path) -> None:
    lab = network_lab(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        flow = read_flows(lab).complete()[0]
    assert (flow.protocol, flow.packets, flow.has_age) == (6, 7, False)
    assert flow.as_dict() == {**FLOW, "protocol": 6, "node": A, "packets": 7, "type": "network"}


@pytest.mark.contract("NL-19")
def test_hosts_are_counted_by_group_and_everything_else_by_load_balancer(tmp_path: Path) -> None:
    lab = network_lab(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        counters = read_counters(lab).complete()
        snapshot = take_snapshot(lab, now=0.0)
    healthy = {
        point.dimensions["TargetGroup"].split("/")[1]: point.statistics["Maximum"]
        for point in points(counters)
        if point.metric.name == "HealthyHostCount" and "AvailabilityZone" not in point.dimensions
    }
    assert healthy == {"both": 1, "only-a": 1, "only-b": 0, "nobody": 0, "echo": 0}
    assert {point.metric.namespace for point in points(counters)} == {"AWS/NetworkELB"}
    text = "\n".join(metrics_lines(counters))
    assert "LoadBalancer net/front/" in text
    assert "UnHealthyHostCount of both" in text
    assert snapshot.nodes[0].counts == (5, 12, 9, 4, 900, 2)


def test_a_health_check_that_goes_where_connections_go_cannot_fail_alone(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="web-a is checked where its connections go"):
        refuse_unknown(network_lab(tmp_path).plan, "health", "web-a")


def test_the_map_has_its_nodes_with_addresses_listeners_and_the_states_of_each_group(tmp_path: Path) -> None:
    lab = network_lab(tmp_path)
    with answering(lab, A, verbs(A)), answering(lab, B, verbs(B)):
        drawn = lab_map(lab.plan, targets_by_node(lab.plan, read_targets(lab)))
    text = " ".join(drawn.split())
    assert "front-node-a 10.0.101.254 public 203.0.113.1 TCP:80, TCP:81, TCP:82, TCP:83, UDP:7 =>" in text
    assert "=> both: web-a healthy, web-b unhealthy; only-a: web-a healthy; only-b: web-b;" in text
