"""What a node answers, without a process: each verb on the core's own records."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.core.gateway.balancer import EXPIRE_BUDGET
from gwlbemu.errors import SettingError, TraceGoneError
from gwlbemu.programs.gateway.trace import Event, Trace
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
        answer = node.ask(verb)
        assert json.loads(json.dumps(answer)) == answer


def test_status_tells_what_a_node_is(node: MemoryNode, verbs: NodeVerbs) -> None:
    status = node.ask(verbs.status)
    assert (status["name"], status["load_balancer"], status["zone"]) == ("firewall-a", "firewall", "a")
    assert (status["datapath"], status["datapath_reason"]) == ("python", "datapath: python was asked for")
    assert [port["name"] for port in status["ports"]] == ["vpce-fw", "eni"]
    assert status["discards"] == {"reported": 0, "unreported": 0, "told": 0, "untold": 0}
    assert status["targets"] == node.ask(verbs.targets)["targets"]


def test_flows_come_in_pages_from_either_end(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, 1000, 1001, 1002)

    def ports(**arguments: Any) -> tuple[list[int], bool]:
        answer = node.ask(verbs.flows, **arguments)
        return [flow["source_port"] for flow in answer["flows"]], answer["more"]

    assert ports() == ([1000, 1001, 1002], False)
    assert ports(limit=2) == ([1000, 1001], True)
    assert ports(limit=2, cursor=node.ask(verbs.flows, limit=2)["cursor"]) == ([1002], False)
    assert ports(limit=1, newest=True) == ([1002], True)
    assert ports(limit=9, cursor=node.ask(verbs.flows, limit=1, newest=True)["cursor"]) == ([1001, 1000], False)
    (flow,) = node.ask(verbs.flows, limit=1)["flows"]
    assert (flow["endpoint"], flow["source"], flow["destination"]) == ("vpce-fw", "10.1.0.2", "10.2.0.2")
    assert (flow["protocol"], flow["target"], flow["packets"], flow["moves"]) == (17, "fw1", 1, 0)
    assert (flow["packets_to"], flow["packets_from"]) == (1, 0)
    assert flow["cookie"].startswith("0x")


def test_targets_are_registered_and_deregistered_at_once(node: MemoryNode, verbs: NodeVerbs) -> None:
    assert verbs.register({"id": "fw2", "address": "10.9.0.3", "zone": "a"}) == {}
    assert [(each["id"], each["address"]) for each in node.ask(verbs.targets)["targets"]] == [
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
    assert node.ask(verbs.advance, seconds=60) == {"count": 0, "ended": []}
    assert node.ask(verbs.advance, seconds=61) == {
        "count": 1,
        "ended": ["udp 10.1.0.2 port 1000 -> 10.2.0.2 port 53 at vpce-fw, target fw1"],
    }
    for seconds in (-1, 1e10, float("nan")):
        with pytest.raises(SettingError, match=r"^seconds: expected a number from 0 to 1000000000"):
            node.ask(verbs.advance, seconds=seconds)


def test_a_missing_argument_is_refused_by_its_name(node: MemoryNode, verbs: NodeVerbs) -> None:
    for verb in (verbs.register, verbs.deregister, verbs.advance, verbs.trace_read, verbs.trace_stop):
        with pytest.raises(SettingError, match=r"^argument '\w+' is missing$"):
            node.ask(verb)


VALUES: list[object] = [
    None, True, 5, -1, 1.5, 10**400, float("inf"), float("-inf"), float("nan"), "", "x", "\0", "\ud800", "10.0.0.256",
    "y" * 100_000, [], [[]], [[[[]]]], {}, {"a": []}, {"a": "b"}, [[6, "10.0.0.1", "::1", True, 10**30]],
]  # fmt: skip
NAMES = ("cursor", "limit", "newest", "id", "address", "zone", "resource", "attributes", "seconds", "match",
         "lease_seconds", "trace", "after")  # fmt: skip


def test_no_value_of_any_argument_makes_a_verb_raise_anything_but_a_refusal(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, 1000)
    good: dict[str, Any] = {"id": "fw1", "address": "10.9.0.9", "zone": "a", "resource": "listener", "seconds": 0,
                            "attributes": {"tcp.idle_timeout.seconds": "60"}}  # fmt: skip
    good["trace"] = verbs.trace_start({})["trace"]
    for name, verb in verbs.table().items():
        for argument in NAMES:
            for value in VALUES:
                with suppress(SettingError, TraceGoneError):
                    assert json.dumps(node.ask(verb, **{**good, argument: value})), name


def test_a_trace_is_started_read_renewed_and_stopped_by_its_id(node: MemoryNode, verbs: NodeVerbs) -> None:
    answer = verbs.trace_start({"match": [OPEN]})
    assert (answer["lease_seconds"], node.active) == (5.0, [True])
    trace = answer["trace"]
    assert verbs.trace_read({"trace": trace}) == {"events": [], "count": 0, "more": False}
    assert verbs.trace_renew({"trace": trace}) == {}
    assert verbs.trace_stop({"trace": trace}) == {"events": [], "count": 0, "more": False}
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


def test_the_address_of_a_target_is_text_of_four_numbers(node: MemoryNode, verbs: NodeVerbs) -> None:
    assert [socket.inet_aton(each["address"]) for each in node.ask(verbs.targets)["targets"]] == [bytes([10, 9, 0, 2])]


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": -1}, {"limit": float("inf")}, {"limit": "5"}, {"limit": True}, {"cursor": "5"},
     {"cursor": "1-2-3"}, {"cursor": 7}, {"cursor": "9" * 40 + "-1"}, {"newest": 1}],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused_in_words(node: MemoryNode, verbs: NodeVerbs, wrong: dict[str, Any]) -> None:
    enter(node, 1000)
    with pytest.raises(SettingError):
        node.ask(verbs.flows, **wrong)


def test_a_page_has_five_hundred_flows_at_most(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, *range(1000, 2500))
    answer = node.ask(verbs.flows, limit=10**9)
    assert (len(answer["flows"]), answer["more"]) == (500, True)


def test_advance_ends_many_flows_in_slices_and_packets_are_moved_in_between(node: MemoryNode, verbs: NodeVerbs) -> None:
    many = 50_000
    enter(node, *range(1000, 1000 + many))
    turns: list[int] = []
    jumped = node.loop.now + 121

    def turn() -> None:
        """A wake-up in which packets could be moved: one of a new flow, which is none of those that end."""
        node.loop.asyncio.call_soon(turn)
        if node.loop.now < jumped:
            return
        turns.append(node.balancer.metrics(now=node.loop.now)["ActiveFlowCount"])
        packet = build_udp(SERVER, SERVER, len(turns), 53)
        node.balancer.receive_packet(node.settings.endpoints[0].id, packet, now=node.loop.now)

    node.loop.asyncio.call_soon(turn)
    answer = node.ask(verbs.advance, seconds=121)
    assert (answer["count"], len(answer["ended"])) == (many, 1000)
    assert len(turns) > many // EXPIRE_BUDGET
    assert max(before - after for before, after in pairwise(turns)) <= 2 * EXPIRE_BUDGET
    assert {flow.source for flow in node.balancer.flows(now=node.loop.now)} == {SERVER}


def test_a_flow_that_a_packet_ends_while_time_is_moved_is_counted_too(node: MemoryNode, verbs: NodeVerbs) -> None:
    enter(node, *range(1000, 3000))
    jumped = node.loop.now + 121

    def packet() -> None:
        if node.loop.now < jumped:
            node.loop.asyncio.call_soon(packet)
        else:
            enter(node, 2999)  # its time is over: this one begins another flow

    node.loop.asyncio.call_soon(packet)
    assert node.ask(verbs.advance, seconds=121)["count"] == 2000
    (left,) = node.balancer.flows(now=node.loop.now)
    assert left.source_port == 2999


def test_a_trace_is_read_five_hundred_events_at_a_time(node: MemoryNode, verbs: NodeVerbs) -> None:
    trace = Trace()
    for number in range(12_000):
        trace.note(Event(0, float(number), "e", "out", (6, 1, 2, 3, 4), "a", "b", "drop", "", "", "", {}))
    identity = node.traces.start(trace)
    after, seen, more = 0, [], True
    while more:
        answer = node.ask(verbs.trace_read, trace=identity, after=after)
        assert len(answer["events"]) <= 500
        seen += [event["number"] for event in answer["events"]]
        after, more = seen[-1], answer["more"]
    assert seen == list(range(2001, 12_001))
