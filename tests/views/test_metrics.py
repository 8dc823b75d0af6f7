"""Data points as CloudWatch has them, and the same for Prometheus, from literal counters; no lab."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gwlbemu.cli.metrics import metrics_lines
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.errors import LabError, NetError
from gwlbemu.views.ask import NoAnswer, Reading
from gwlbemu.views.metrics import (
    AWS_GWLB,
    OURS,
    TABLES,
    Metric,
    MetricTable,
    NodeCounters,
    Point,
    drop_counts,
    points,
)
from gwlbemu.views.prometheus import exposition, serve

FIREWALL = "gateway/firewall/a7ec9645bbcdbeb8"
GROUP = "targetgroup/firewalls/4a2f4ac73dac4923"
ZONE_A = {
    "HealthyHostCount": 3,
    "PeakBytesPerSecond": 700,
    "ActiveFlowCount": 5,
    "NewFlowCount": 9,
    "MovedFlowCount": 1,
}
ZONE_B = {
    "HealthyHostCount": 1,
    "PeakBytesPerSecond": 200,
    "ActiveFlowCount": 0,
    "NewFlowCount": 4,
    "MovedFlowCount": 2,
}


def node(zone: str, values: dict[str, int]) -> NodeCounters:
    return NodeCounters("firewall", "gateway", "firewalls", zone, f"firewall-node-{zone}", values)


TWO = [node("a", ZONE_A), node("b", ZONE_B)]
ZONES = {"firewall-node-a": "a", "firewall-node-b": "b"}
READING = Reading(tuple(TWO))
METRICS = TABLES["gateway"].metrics


def statistics(found: list[Point], name: str, **dimensions: str) -> dict[str, float]:
    wanted = {"LoadBalancer": FIREWALL, **dimensions}
    (point,) = (each for each in found if each.metric.name == name and each.dimensions == wanted)
    return dict(point.statistics)


@pytest.mark.contract("TG-14")
def test_a_metric_of_the_load_balancer_is_made_from_its_zones_by_the_statistic_that_aws_recommends() -> None:
    found = points(TWO)
    assert statistics(found, "NewFlowCount") == {"Sum": 13}
    assert statistics(found, "ActiveFlowCount") == {"Average": 5}
    assert statistics(found, "PeakBytesPerSecond") == {"Maximum": 700}
    assert statistics(found, "HealthyHostCount", TargetGroup=GROUP) == {"Minimum": 1, "Maximum": 3}


@pytest.mark.contract("TG-14")
def test_each_zone_has_its_own_point_and_host_counts_name_the_target_group_too() -> None:
    found = points(TWO)
    assert statistics(found, "NewFlowCount", AvailabilityZone="a") == {"Sum": 9}
    assert statistics(found, "NewFlowCount", AvailabilityZone="b") == {"Sum": 4}
    assert statistics(found, "HealthyHostCount", AvailabilityZone="b", TargetGroup=GROUP) == {
        "Minimum": 1,
        "Maximum": 1,
    }


def test_the_table_shows_whole_numbers_however_large() -> None:
    table = "\n".join(metrics_lines([node("a", {"ProcessedBytes": 209_367_000_123})]))
    assert table.count(" 209367000123") == 2


@pytest.mark.contract("TG-14")
def test_what_cloudwatch_would_not_have_is_told_apart_from_a_zero_that_it_reports() -> None:
    zeros = points([node("a", dict.fromkeys(METRICS, 0))])
    not_there = {point.metric.name for point in zeros if not point.reported}
    assert not_there == {"ActiveFlowCount", "NewFlowCount", "ProcessedBytes", "RejectedFlowCount_TCP"}


def test_what_the_core_counts_is_known_by_unit_and_namespace_and_nothing_is_awss_by_mistake() -> None:
    core = Balancer(
        Settings(load_balancer="firewall", zone="a", node_address=bytes(4), endpoints=(), targets=()), now=0.0
    )
    counted = core.metrics(now=0.0)
    found = points([node("a", counted)])
    aws = {point.metric.name for point in found if point.metric.namespace == AWS_GWLB}
    assert aws == {name for name, metric in METRICS.items() if metric.namespace == AWS_GWLB}
    assert {name for name in counted if not name.startswith("Dropped_")} == METRICS.keys() - {"PacketsDropped"}
    reasons = {point.dimensions["Reason"] for point in found if point.metric.name == "PacketsDropped"}
    assert "MidstreamTcp" in reasons
    assert len(reasons) == sum(name.startswith("Dropped_") for name in counted)


def test_a_node_that_does_not_answer_is_missing_and_does_not_hide_the_other() -> None:
    found = points([node("b", ZONE_B)])
    assert {point.dimensions.get("AvailabilityZone") for point in found} == {None, "b"}
    assert statistics(found, "NewFlowCount") == {"Sum": 4}
    assert points([]) == []


def test_json_has_the_same_keys_for_every_point() -> None:
    shapes = {tuple(point.as_dict()) for point in points(TWO)}
    assert shapes == {("namespace", "metric", "unit", "dimensions", "statistics", "reporting", "reported")}


def test_the_table_shows_a_dash_where_cloudwatch_has_no_value_and_keeps_our_own_metrics_apart() -> None:
    lines = "\n".join(metrics_lines(TWO)).splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert cells["ActiveFlowCount"] == ["Count", "Average", "5", "5", "-"]
    assert cells["NewFlowCount"] == ["Count", "Sum", "13", "9", "4"]
    ours = next(number for number, line in enumerate(lines) if line.startswith(f"{OURS} "))
    assert lines.index(next(line for line in lines if line.startswith("MovedFlowCount"))) > ours


def test_prometheuss_own_parser_reads_our_exposition() -> None:
    silent = Reading(tuple(TWO), (NoAnswer("ids-node-a", "dead", "/run/x.log"),))
    text = exposition(silent, ZONES | {"ids-node-a": "a"})
    samples = {
        (sample.name, sample.labels.get("availability_zone"), sample.labels.get("node")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["aws_gatewayelb_new_flow_count_total", "a", None] == 9
    assert samples["aws_gatewayelb_healthy_host_count", "b", None] == 1
    assert samples["gwlbemu_moved_flow_count_total", "b", None] == 2
    assert samples["gwlbemu_node_up", "a", "firewall-node-a"] == 1
    assert samples["gwlbemu_node_up", "a", "ids-node-a"] == 0
    assert not [zone for _, zone, _ in samples if zone is None]  # no sums beside their parts


def test_another_type_of_load_balancer_is_another_table_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are those of the NLB guide: namespace AWS/NetworkELB, dimension net/name/id."""
    active = Metric("AWS/NetworkELB", "ActiveFlowCount", "Count", ("Average",), meaning="concurrent flows")
    monkeypatch.setitem(TABLES, "network", MetricTable("AWS/NetworkELB", "net", {active.name: active}))
    front = NodeCounters("front", "network", "web", "a", "front-node-a", {"ActiveFlowCount": 4})
    whole, zone = points([front])
    word, name, number = whole.dimensions["LoadBalancer"].split("/")
    assert (word, name, len(bytes.fromhex(number))) == ("net", "front", 8)
    assert (zone.metric.namespace, zone.statistics) == ("AWS/NetworkELB", {"Average": 4})
    text = exposition(Reading((*TWO, front)), ZONES | {"front-node-a": "a"})
    assert f'aws_networkelb_active_flow_count{{availability_zone="a",load_balancer="net/front/{number}"}} 4.0' in text
    assert f'aws_gatewayelb_active_flow_count{{availability_zone="a",load_balancer="{FIREWALL}"}} 5.0' in text
    tables = "\n".join(metrics_lines([*TWO, front]))
    assert tables.index("LoadBalancer gateway/firewall/") < tables.index("LoadBalancer net/front/")
    assert "\nAWS/NetworkELB " in tables


def test_drops_are_counted_by_reason_awss_and_ours() -> None:
    metrics = {"PacketsDroppedCount_MissingFlowEntry": 2, "Dropped_MidstreamTcp": 3, "ProcessedBytes": 9}
    assert drop_counts(metrics) == {"MissingFlowEntry": 2, "MidstreamTcp": 3}


def _curl(path: Path, url: str = "http://lab/metrics") -> str:
    argv = ["curl", "-sS", "-m", "5", "-w", "%{http_code}", "--unix-socket", str(path), url]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_curl_scrapes_the_unix_socket_and_the_socket_goes_when_the_lab_goes(tmp_path: Path) -> None:
    path, over, fails = tmp_path / "metrics.sock", threading.Event(), threading.Event()

    def scrape() -> str:
        if fails.is_set():
            raise LabError("the lab is gone")
        return exposition(READING, ZONES)

    server = threading.Thread(target=serve, args=(path, scrape), kwargs={"until": over.is_set})
    server.start()
    try:
        while not path.exists() and server.is_alive():
            pass
        assert "aws_gatewayelb_new_flow_count_total" in _curl(path)
        assert _curl(path, "http://lab/passwords").endswith("404")
        with pytest.raises(NetError, match="listens"):
            serve(path, scrape, until=lambda: True)
        fails.set()
        assert _curl(path).endswith("503")
    finally:
        over.set()
        server.join()
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_makes_way_and_another_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    serve(path, lambda: "", until=lambda: True)
    path.write_text("precious")
    with pytest.raises(NetError, match="cannot listen"):
        serve(path, lambda: "", until=lambda: True)
    assert path.read_text() == "precious"
