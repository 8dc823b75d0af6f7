"""What a trace notes of the packets that the core judges, and that the core judges each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.core.gateway.settings import Links
from gwlbemu.programs.gateway import trace as tracing
from gwlbemu.programs.gateway.trace import Trace, TracingJudge, traced_flows
from gwlbemu.wire.tcp import ACK, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.programs.gateway.gateway_node import MemoryNode, node_and_verbs

CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
DNS = [17, "10.1.0.2", "10.2.0.2", 1000, 53]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MemoryNode]:
    with node_and_verbs(tmp_path) as (node, _):
        yield node


def judge(node: MemoryNode, *traces: Trace) -> TracingJudge:
    return TracingJudge(
        node.balancer,
        Links(),
        traces,
        endpoints={node.settings.endpoints[0].id: "vpce-fw"},
        target_name=lambda address: {bytes([10, 9, 0, 2]): "fw1"}.get(address, ""),
        clock=lambda: 12.5,
    )


def query(port: int = 1000) -> bytes:
    return build_udp(CLIENT, SERVER, port, 53, b"query")


def enter(judging: TracingJudge, node: MemoryNode, *packets: bytes) -> list[bytes]:
    return list(judging.receive_frames(node.settings.endpoints[0].id, packets, now=node.loop.now).to_targets)


def swapped(datagram: bytes) -> bytes:
    return datagram[:12] + datagram[16:20] + datagram[12:16] + datagram[20:]


def test_each_trace_has_the_verdicts_on_its_own_flows_under_its_own_numbers(node: MemoryNode) -> None:
    everything, dns, other = Trace(), Trace(traced_flows([DNS])), Trace(traced_flows([[6, *DNS[1:]]]))
    judging = judge(node, everything, dns, other)
    sent = enter(judging, node, query(1001), query(1000))
    assert [event["identity"][1] for event in everything.read()["events"]] == [1001, 1000]
    (event,) = dns.read()["events"]
    assert (event["number"], event["time"], event["endpoint"], event["direction"]) == (1, 12.5, "vpce-fw", "out")
    assert (event["verdict"], event["target"], event["reason"]) == ("to-target", "fw1", "")
    assert other.read() == {"events": [], "count": 0, "more": False}
    judging.receive_returned_frames([swapped(sent[1])], now=node.loop.now)
    back = dns.read(after=1)
    assert back["count"] == 2
    (event,) = back["events"]
    assert (event["direction"], event["verdict"], event["source"]) == ("back", "to-endpoint", "10.1.0.2")


def test_the_core_judges_a_packet_once_however_many_traces_there_are(node: MemoryNode) -> None:
    judging = judge(node, Trace(), Trace(), Trace())
    assert len(enter(judging, node, query(), query())) == 2
    (flow,) = node.balancer.flows(now=node.loop.now)
    assert flow.packets == 2


def test_a_flow_matches_in_either_direction(node: MemoryNode) -> None:
    trace = Trace(traced_flows([[17, "10.2.0.2", "10.1.0.2", 53, 1000]]))
    enter(judge(node, trace), node, query())
    assert trace.read()["count"] == 1


def test_a_drop_has_its_reason(node: MemoryNode) -> None:
    trace = Trace()
    enter(judge(node, trace), node, build_tcp(CLIENT, SERVER, 1000, 80, flags=ACK), b"\x45no packet")
    (event,) = trace.read()["events"]
    assert (event["verdict"], event["reason"], event["target"], event["cookie"]) == ("drop", "MidstreamTcp", "", "")


def test_a_trace_keeps_its_newest_events_alone(node: MemoryNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "KEPT", 3)
    trace = Trace()
    enter(judge(node, trace), node, *(query(port) for port in range(1000, 1010)))
    answer = trace.read()
    assert answer["count"] == 10
    assert [event["number"] for event in answer["events"]] == [8, 9, 10]


def test_bytes_that_are_no_packet_are_judged_and_not_noted(node: MemoryNode) -> None:
    trace = Trace()
    judging = judge(node, trace)
    assert len(judging.receive_returned_frames([b"", b"\x45", bytes(40)], now=node.loop.now)) == 3
    assert trace.read() == {"events": [], "count": 0, "more": False}
