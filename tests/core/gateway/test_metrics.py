"""What is counted, under AWS's names."""

import math

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from tests.core.gateway.core_lab import VPCE_A, data, fail_probes, give_back, hairpin, node, query, sent, settings, syn

AWS_NAMES = {
    "ActiveFlowCount",
    "NewFlowCount",
    "ProcessedBytes",
    "ProcessedPackets",
    "PeakBytesPerSecond",
    "PeakPacketsPerSecond",
    "RejectedFlowCount",
    "RejectedFlowCount_TCP",
    "HealthyHostCount",
    "UnHealthyHostCount",
    "TCP_GWLB_Reset_Count",
    "PacketsDroppedCount_InvalidGeneveTunnel",
    "PacketsDroppedCount_InvalidGwlbEndpointId",
    "PacketsDroppedCount_InvalidGwlbFlowCookie",
    "PacketsDroppedCount_MissingFlowEntry",
}


@pytest.mark.contract("TG-14")
def test_metrics_have_awss_names_and_count_what_happened() -> None:
    balancer = Balancer(settings(3), now=0.0)
    for each in ("fw-a1", "fw-a2"):
        for _ in range(5):
            balancer.receive_probe_result(each, True, now=0.0)
    fail_probes(balancer, "fw-a3", now=0.0)
    verdict = balancer.receive_packet(VPCE_A, query(), now=1.0)  # 32 bytes
    give_back(balancer, verdict, now=1.0)
    give_back(balancer, verdict, now=1.0)
    balancer.receive_packet(VPCE_A, syn(), now=1.0)  # 40 bytes
    balancer.receive_packet(VPCE_A, data(1), now=1.0)
    metrics = balancer.metrics(now=1.0)
    assert metrics.keys() >= AWS_NAMES
    assert {name: metrics[name] for name in AWS_NAMES if metrics[name]} == {
        "ActiveFlowCount": 2,
        "NewFlowCount": 2,
        "ProcessedBytes": 32 * 3 + 40,
        "ProcessedPackets": 4 + 12,  # health checks are in this one: guide, CloudWatch metrics
        "HealthyHostCount": 2,
        "UnHealthyHostCount": 1,
    }
    assert metrics["Dropped_MidstreamTcp"] == 1


@pytest.mark.contract("TG-14")
def test_a_peak_is_the_highest_average_of_ten_seconds() -> None:
    balancer = node(1, emulation={"midstream": "new"})
    balancer.expire(now=10.0)
    for now, packets in ((12.0, 50), (21.0, 200), (35.0, 100)):
        balancer.expire(now=now - now % 10)
        for _ in range(packets):
            balancer.receive_packet(VPCE_A, query(), now=now)
    assert balancer.next_deadline() == 40.0
    balancer.expire(now=40.0)
    metrics = balancer.metrics(now=45.0)
    assert (metrics["PeakPacketsPerSecond"], metrics["PeakBytesPerSecond"]) == (20, 640)


@pytest.mark.contract("TG-14")
def test_health_checks_are_in_the_peak_of_packets_and_not_of_bytes_and_a_quiet_hour_of_them_is_no_peak() -> None:
    balancer = Balancer(settings(2), now=0.0)
    for second in range(3600):
        balancer.receive_probe_result("fw-a1", True, now=float(second))
        balancer.receive_probe_result("fw-a2", True, now=float(second))
    metrics = balancer.metrics(now=3600.0)
    assert metrics["ProcessedPackets"] == 7200
    assert (metrics["PeakPacketsPerSecond"], metrics["PeakBytesPerSecond"]) == (2, 0)


def test_an_idle_node_waits_for_nothing() -> None:
    assert Balancer(settings(2), now=0.0).next_deadline() == math.inf


def test_every_packet_has_a_verdict_and_every_verdict_a_count() -> None:
    balancer = node(2)
    verdict = balancer.receive_packet(VPCE_A, query(), now=1.0)
    datagram = hairpin(sent(verdict).datagram)
    for raw in (b"", datagram[:40], datagram, datagram[:67] + b"\0"):
        balancer.receive_return(datagram[12:16], raw, now=1.0)
    for raw in (b"", b"\x45", query()[:21], data(), query(), syn(), b"\x65" * 60):
        balancer.receive_packet(VPCE_A, raw, now=1.0)
    metrics = balancer.metrics(now=1.0)
    assert metrics["packets_received"] == metrics["verdicts"] == 12
