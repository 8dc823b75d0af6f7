"""What a node keeps does not grow with the changes, flows and traces that have been."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from pathlib import Path

from gwlbemu.ports.control import ControlServer
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.programs.gateway.gateway_node import MemoryNode, node_and_verbs
from tests.programs.gateway.node_bench import TARGET
from tests.programs.gateway.test_hostile import CLIENT, ETHERNET, SERVER, returned, throw

FLOWS, CONNECTIONS = 500, 10  # of a round
WARM, ROUNDS = 3, 12
SLACK = 48 << 10  # bytes for what Python keeps to itself; a flow alone has some 500


def churn(node: MemoryNode, verbs: NodeVerbs, number: int) -> None:
    """Flows there and back under a trace, a target that leaves and comes, attributes, time: nothing is to remain."""
    node.packets.judge = node.balancer
    (endpoint,), eni = node.packets.endpoints.values(), node.packets.eni
    far_endpoint, far_eni = endpoint.port._peer, eni.port._peer  # type: ignore[attr-defined]
    trace = node.ask(verbs.trace_start)["trace"]
    for start in range(0, FLOWS, 50):
        ports = range(1024 + start, 1024 + start + 50)
        host = CLIENT[:2] + number.to_bytes(2, "big")
        frames = [ETHERNET + build_tcp(host, SERVER, port, 80) for port in ports]
        throw(node, endpoint.port, [*frames, *(ETHERNET + build_udp(host, SERVER, port, 53, b"x") for port in ports)])
        while tunnelled := far_eni.recv():
            throw(node, eni.port, [returned(frame) for frame in tunnelled])
        while far_endpoint.recv():
            pass
    node.ask(verbs.flows, limit=500)
    node.ask(verbs.trace_stop, trace=trace)
    node.ask(verbs.set_attributes, resource="target-group", attributes={"stickiness.enabled": "true"})
    node.ask(verbs.set_attributes, resource="target-group", attributes={"stickiness.enabled": "false"})
    node.ask(verbs.deregister, id="fw1")
    node.ask(verbs.advance, seconds=6500)
    node.ask(verbs.register, id="fw1", address=TARGET, zone="a")
    node.healthy()


async def ask(path: Path) -> None:
    """Ask by the control socket as clients do: one asks, one goes away, one talks nonsense."""
    for line in (b'{"verb": "status"}\n', b'{"verb": "fl', b"[[[\n"):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        if line.endswith(b"\n"):
            assert "ok" in json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()


def test_a_node_s_memory_is_flat_over_changes_flows_traces_and_connections(tmp_path: Path) -> None:
    with node_and_verbs(tmp_path) as (node, verbs):
        control = ControlServer(tmp_path / "control", verbs.table(), faults=node.loop.faults)
        node.loop.run_until_complete(control.open())
        try:
            tracemalloc.start()
            kept = []
            for number in range(ROUNDS):
                churn(node, verbs, number)
                for _ in range(CONNECTIONS):
                    node.loop.run_until_complete(ask(tmp_path / "control"))
                gc.collect()
                kept.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
            control.close()
        assert node.balancer.metrics(now=node.loop.now)["ActiveFlowCount"] == 0
        assert node.balancer.metrics(now=node.loop.now)["NewFlowCount"] >= 2 * FLOWS * ROUNDS
        assert max(kept[WARM:]) < kept[WARM - 1] + SLACK, kept
