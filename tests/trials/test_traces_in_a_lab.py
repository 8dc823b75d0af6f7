"""Traces of several clients in one lab: none stops or sees another's, and one that is killed leaves none behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gwlbemu import Lab
from gwlbemu.trials.trace import TraceSession
from tests.lab.worlds import world

pytestmark = pytest.mark.namespace
NODE = "inspect-node-a"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(world(), capture=False) as lab:
        yield lab


def paused(lab: Lab) -> bool:
    return "a trace runs" in lab.call(NODE, "status")["datapath_reason"]


def test_two_injects_and_a_trace_of_a_flow_beside_each_other(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", udp=53) as dns, lab.trace_flow("client", "server-a", udp=54) as other:
        with TraceSession(lab.running, [(17, "198.51.100.10", "10.0.1.10", 5000, 54)]) as third:
            (report,) = lab.inject(udp=53, source_port=5000)
            assert report.outcome == "delivered"
            seen = [(hop.endpoint, hop.verdict) for hop in report.hops]
            assert seen == [("vpce-a", "to-target"), ("vpce-a", "to-endpoint")]
            assert [(hop.endpoint, hop.verdict) for hop in dns.hops if hop.destination_port == 53] == seen
            assert third.read() == []
            (report,) = lab.inject(udp=54, source_port=5000)
            assert len(report.hops) == 2
            assert len(third.read()) == 2
        (report,) = lab.inject(udp=54, source_port=5000)
        assert len(report.hops) == 2
        assert {hop.destination_port for hop in dns.hops} == {53}
    assert len([hop for hop in other.hops if hop.source_port == 5000]) == 4


def test_a_trace_goes_on_when_an_inject_ends_in_the_middle_of_it(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", tcp=80) as trace:
        lab.inject(icmp=True)
        assert lab.exec("client", ["curl", "-s", "-m", "30", "http://203.0.113.10/"]).code == 0
        assert trace.hops


@pytest.mark.usefixtures("fast_path")
def test_an_inject_that_is_killed_gives_the_fast_path_back_within_seconds(lab: Lab) -> None:
    if lab.call(NODE, "status")["datapath"] == "python":
        pytest.skip("without a fast path there is nothing that a trace pauses")
    words = ["inject", "--lab", lab.name, "--icmp", "--count", "1000", "--interval", "1"]
    process = subprocess.Popen([sys.executable, "-m", "gwlbemu.cli.main", *words], stdout=subprocess.DEVNULL)
    try:
        lab.wait_until(lambda: paused(lab), timeout=PATIENCE)
        with lab.trace_flow(udp=99) as mine:
            process.send_signal(signal.SIGKILL)
            assert process.wait(PATIENCE) == -signal.SIGKILL
            assert len(lab.inject(udp=99)[0].hops) == 2
            assert len(mine.hops) >= 2
            assert paused(lab)
    finally:
        process.kill()
        process.wait(PATIENCE)
    lab.wait_until(lambda: not paused(lab), timeout=PATIENCE)
    assert lab.call(NODE, "status")["datapath"] == "ebpf"


def test_a_trace_is_not_ended_by_time_that_is_advanced(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", udp=9) as trace:
        lab.advance("1h")
        lab.wait_until_healthy(PATIENCE)
        lab.inject(udp=9)
        assert trace.hops
