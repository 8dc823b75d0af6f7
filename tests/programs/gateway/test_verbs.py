"""What a node answers, without a process: each verb on the core's own records."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.errors import SettingError, TraceGoneError
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.wire.udp import build_udp
from tests.programs.gateway.gateway_node import MemoryNode, node_and_verbs
from tests.programs.gateway.node_bench import TARGET

CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
OPEN = [17, "10.2.0.2", "10.1.0.2", 53, 1000]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[MemoryNode, NodeVerbs]]:
    with node_and_verbs(tmp_path) as found:
        yield found


@pytest.fixture
def node(both: tuple[MemoryNode, NodeVerbs]) -> MemoryNode:
    return both[0]


@pytest.fixture
def verbs(both: tuple[MemoryNode, NodeVerbs]) -> NodeVerbs:
    return both[1]


def enter(node: MemoryNode, *ports: int) -> None:
    for port in ports:
        packet = build_udp(CLIENT, SERVER, port, 53, b"query")
        node.balancer.receive_packet(node.settings.endpoints[0].id, packet, now=node.loop.now)


def test_every_answer_is_json(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, 1000)
    for verb in (verbs.status, verbs.targets, verbs.flows, verbs.metrics, verbs.trace_start):
        answer = verb({})
        assert json.loads(json.dumps(answer)) == answer


def test_status_tells_what_a_node_is(verbs: NodeVerbs) -> None:
    status = verbs.status({})
    assert (status["name"], status["load_balancer"], status["zone"]) == ("firewall-a", "firewall", "a")
    assert (status["datapath"], status["datapath_reason"]) == ("python", "datapath: python was asked for")
    assert [port["name"] for port in status["ports"]] == ["vpce-fw", "eni"]
    assert status["discards"] == {"reported": 0, "unreported": 0, "told": 0, "untold": 0}
    assert status["targets"] == verbs.targets({})["targets"]


def test_flows_come_in_pages_from_either_end(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, 1000, 1001, 1002)

    def ports(**arguments: Any) -> tuple[list[int], bool]:
        answer = verbs.flows(arguments)
        return [flow["source_port"] for flow in answer["flows"]], answer["more"]

    assert ports() == ([1000, 1001, 1002], False)
    assert ports(limit=2) == ([1000, 1001], True)
    assert ports(limit=2, offset=2) == ([1002], False)
    assert ports(limit=1, newest=True) == ([1002], True)
    (flow,) = verbs.flows({"limit": 1})["flows"]
    assert (flow["endpoint"], flow["source"], flow["destination"]) == ("vpce-fw", "10.1.0.2", "10.2.0.2")
    assert (flow["protocol"], flow["target"], flow["packets"], flow["moves"]) == (17, "fw1", 1, 0)
    assert flow["cookie"].startswith("0x")


def test_targets_are_registered_and_deregistered_at_once(node: MemoryNode, verbs: NodeVerbs) -> None:
    assert verbs.register({"id": "fw2", "address": "10.9.0.3", "zone": "a"}) == {}
    assert [(each["id"], each["address"]) for each in verbs.targets({})["targets"]] == [
        ("fw1", TARGET),
        ("fw2", "10.9.0.3"),
    ]
    verbs.deregister({"id": "fw2"})
    assert node.changes == 2
    with pytest.raises(SettingError) as caught:
        verbs.deregister({"id": "nobody"})
    assert caught.value.code == "InvalidTarget"
    assert node.changes == 2


def test_attributes_are_set_or_refused_as_a_whole(node: MemoryNode, verbs: NodeVerbs) -> None:
    verbs.set_attributes({"resource": "listener", "attributes": {"tcp.idle_timeout.seconds": "60"}})
    assert node.changes == 1
    with pytest.raises(SettingError):
        verbs.set_attributes({"resource": "listener", "attributes": {"tcp.idle_timeout.seconds": "1"}})
    assert node.changes == 1


def test_advance_names_the_flows_that_it_ended(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, 1000)
    assert verbs.advance({"seconds": 60}) == {"ended": []}
    assert verbs.advance({"seconds": 61}) == {
        "ended": ["udp 10.1.0.2 port 1000 -> 10.2.0.2 port 53 at vpce-fw, target fw1"]
    }
    for seconds in (-1, 1e10, float("nan")):
        with pytest.raises(SettingError, match="is not a number of seconds that can pass"):
            verbs.advance({"seconds": seconds})


def test_a_missing_argument_is_a_key_error_that_the_control_socket_puts_into_words(verbs: NodeVerbs) -> None:
    for verb in (verbs.register, verbs.deregister, verbs.advance, verbs.trace_read, verbs.trace_stop):
        with pytest.raises(KeyError):
            verb({})


def test_a_trace_is_started_read_renewed_and_stopped_by_its_id(node: MemoryNode, verbs: NodeVerbs) -> None:
    answer = verbs.trace_start({"match": [OPEN]})
    assert (answer["lease_seconds"], node.active) == (5.0, [True])
    trace = answer["trace"]
    assert verbs.trace_read({"trace": trace}) == {"events": [], "count": 0}
    assert verbs.trace_renew({"trace": trace}) == {}
    assert verbs.trace_stop({"trace": trace}) == {"events": [], "count": 0}
    assert node.active == [True, False]
    for verb in (verbs.trace_read, verbs.trace_renew, verbs.trace_stop):
        with pytest.raises(TraceGoneError) as caught:
            verb({"trace": trace})
        assert caught.value.code == "TraceNotFound"


@pytest.mark.parametrize(
    "match",
    [5, "all", [5], [[6, "10.0.0.1"]], [[6, "10.0.0.1", "10.0.0.2", 80, "x"]], [["tcp", "10.0.0.1", "::1", 1, 2]],
     [[6, "10.0.0.1", "10.0.0.x", 1, 2]], [[6, 1, 2, 3, 4]], {"a": 1}],
)  # fmt: skip
def test_a_match_that_is_not_one_is_refused_in_words(node: MemoryNode, verbs: NodeVerbs, match: object) -> None:
    with pytest.raises(SettingError, match=r"^match: "):
        verbs.trace_start({"match": match})
    assert node.active == []


def test_the_address_of_a_target_is_text_of_four_numbers(verbs: NodeVerbs) -> None:
    assert [socket.inet_aton(each["address"]) for each in verbs.targets({})["targets"]] == [bytes([10, 9, 0, 2])]
