"""The table of cases (tests/cases.py) on real node processes: one that is all Python, one with the fast path.

The core alone meets the same table in tests/core.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gwlbemu.wire.aws import format_endpoint
from tests.cases import (
    ENDPOINT,
    ENTRIES,
    FLOW,
    OTHER_ENDPOINT,
    RETURNS,
    REUSES,
    Arrival,
    Case,
    Enter,
    Reuse,
    around,
    hop,
)
from tests.programs.gateway.node_bench import OTHER_TARGET, TARGET, Bench, config, running, second_endpoint
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
TO_ENDPOINT = {
    ENDPOINT: bytes.fromhex("020000000101020000000102"),
    OTHER_ENDPOINT: bytes.fromhex("020000000201020000000202"),
}
TO_ENI = bytes.fromhex("020000000901020000000902")


@pytest.fixture(scope="module", params=["python", "ebpf"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if request.param == "ebpf":
        request.getfixturevalue("fast_path")
    folder = tmp_path_factory.mktemp("node")
    settings = config(folder, datapath=request.param, targets=(("fw1", TARGET, "a"), ("fw2", OTHER_TARGET, "a")))
    first = replace(settings.endpoints[0], endpoint_id=format_endpoint(ENDPOINT))
    settings = replace(settings, endpoints=(first, second_endpoint(format_endpoint(OTHER_ENDPOINT))))
    with running(settings, folder, healthy=(TARGET, OTHER_TARGET)) as bench:
        bench.wait_for_state("healthy")
        yield bench


@pytest.fixture
def first(node: Bench) -> Iterator[bytes]:
    """What the live flow's packet became; the flow is gone afterwards."""
    node.client.send([frame(ENDPOINT, FLOW)])
    (sent,) = node.take(node.target)
    yield sent[14:]
    node.call("advance", seconds=10_000)
    assert node.call("flows")["flows"] == []


def frame(endpoint: int, packet: bytes) -> bytes:
    return TO_ENDPOINT[endpoint] + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def counters(node: Bench) -> dict[str, int]:
    found: dict[str, int] = node.call("metrics")["metrics"]
    return found


def judged(node: Bench, before: dict[str, int]) -> dict[str, int]:
    """Wait until one more packet has its verdict; what changed of the drop counters, and how many packets went out."""
    wait_until(lambda: counters(node)["verdicts"] != before["verdicts"], node.log.read_text)
    after = counters(node)
    assert after["verdicts"] == after["packets_received"] == before["verdicts"] + 1
    return {
        name: after[name] - before[name]
        for name in after
        if name.startswith(("PacketsDropped", "Dropped_", "verdicts_")) and after[name] != before[name]
    }


@pytest.mark.parametrize("case", [pytest.param(case, id=case.description) for case in ENTRIES])
def test_an_arriving_packet_meets_the_verdict_of_the_table(node: Bench, first: bytes, case: Arrival) -> None:
    before = counters(node)
    port = node.client if case.endpoint == ENDPOINT else node.other
    port.send([frame(case.endpoint, case.packet)])
    changed = judged(node, before)
    if isinstance(case.expected, bytes):
        assert changed == {"verdicts_to_target": 1}
        (sent,) = node.take(node.target)
        assert sent[:14] == bytes.fromhex("0200000009020200000009010800")
        assert sent[14 + 68 :] == case.expected
        assert (sent[42:82] == first[28:68]) == case.known
        if case.known:
            assert sent[14:] == around(first, case.expected)
    else:
        assert changed.pop("verdicts_drop") == 1
        assert list(changed.values()) == [1]
        assert changed.keys() <= {case.expected.value, f"Dropped_{case.expected.value}"}
    assert node.target.recv() == node.client.recv() == node.other.recv() == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.description) for case in RETURNS])
def test_a_returned_datagram_meets_the_verdict_of_the_table(node: Bench, first: bytes, case: Case) -> None:
    before = counters(node)
    hairpin = first[:8] + b"\xfe" + first[9:12] + first[16:20] + first[12:16] + first[20:]
    node.target.send([TO_ENI + b"\x08\x00" + case.change(hairpin)])
    changed = judged(node, before)
    if isinstance(case.expected, bytes):
        assert changed == {"verdicts_to_endpoint": 1}
        (back,) = node.take(node.client)
        assert back == bytes.fromhex("0200000001020200000001010800") + case.expected
    else:
        assert changed.pop("verdicts_drop") == 1
        assert list(changed.values()) == [1]
        assert changed.keys() <= {case.expected.value, f"Dropped_{case.expected.value}"}
    assert node.target.recv() == node.client.recv() == node.other.recv() == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.description) for case in REUSES])
def test_a_5_tuple_that_is_used_again_goes_as_the_table_says(node: Bench, case: Reuse) -> None:
    sent: list[bytes] = []  # what the first packet of each flow became
    for step in case.steps:
        before = counters(node)
        if isinstance(step, Enter):
            node.client.send([frame(ENDPOINT, step.packet)])
            (taken,) = node.take(node.target)
            if step.number == len(sent):
                assert taken[42:82] not in [each[28:68] for each in sent]
                sent.append(taken[14:])
            assert taken[14:] == around(sent[step.number], hop(step.packet))
            continue
        datagram = around(sent[step.number], hop(step.packet))
        hairpin = datagram[:8] + b"\xfe" + datagram[9:12] + datagram[16:20] + datagram[12:16] + datagram[20:]
        node.target.send([TO_ENI + b"\x08\x00" + hairpin])
        changed = judged(node, before)
        if step.reason is None:
            assert changed == {"verdicts_to_endpoint": 1}
            (back,) = node.take(node.client)
            assert back[14:] == hop(hop(step.packet))
        else:
            assert changed == {step.reason.value: 1, "verdicts_drop": 1}
    node.call("advance", seconds=10_000)
    assert node.call("flows")["flows"] == []


def test_the_fast_node_carried_some_of_it_in_the_kernel(node: Bench) -> None:
    status = node.call("status")
    if status["datapath"] == "ebpf":
        assert status["fastpath"]["encapsulated"] > 10
        assert status["fastpath"]["decapsulated"] > 5
