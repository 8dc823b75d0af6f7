"""A VPC carries no VLANs: a tagged frame is dropped and counted, by either datapath."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.wire.udp import build_udp
from tests.programs.gateway.node_bench import Bench, config, running
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
TO_NODE = bytes.fromhex("020000000101020000000102")
TAGS = {
    "802.1Q": bytes.fromhex("81000005"),
    "a priority tag": bytes.fromhex("8100a000"),
    "802.1ad": bytes.fromhex("88a80007"),
    "QinQ": bytes.fromhex("88a8000781000005"),
    "802.1Q twice": bytes.fromhex("8100000781000005"),
}


@pytest.fixture(params=["python", "ebpf"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "ebpf":
        request.getfixturevalue("fast_path")
    with running(config(tmp_path, datapath=request.param), tmp_path) as bench:
        bench.wait_for_state("healthy")
        yield bench


def query(port: int) -> bytes:
    return build_udp(CLIENT, SERVER, port, 53, b"query")


def swapped(frame: bytes) -> bytes:
    return frame[6:12] + frame[:6] + frame[12:26] + frame[30:34] + frame[26:30] + frame[34:]


def tagged(bench: Bench) -> list[int]:
    return [port["tagged"] for port in bench.call("status")["ports"]]


def test_a_tagged_frame_is_dropped_and_counted_at_either_side(bench: Bench) -> None:
    plain = TO_NODE + b"\x08\x00" + query(1000)
    bench.client.send([plain])
    (there,) = bench.take(bench.target)
    bench.target.send([swapped(there)])
    bench.take(bench.client)
    for number, tag in enumerate(TAGS.values(), 1):
        bench.client.send([plain[:12] + tag + plain[12:]])
        bench.target.send([swapped(there)[:12] + tag + swapped(there)[12:]])
        counts = [number, number]
        wait_until(lambda counts=counts: tagged(bench) == counts, lambda: f"{tagged(bench)}")  # type: ignore[misc]
    # What has no tag goes on, and is all that has arrived.
    bench.client.send([TO_NODE + b"\x08\x00" + query(2000)])
    assert query(2000)[20:28] in bench.take(bench.target)[0]
    assert [port["frames_in"] for port in bench.call("status")["ports"]] == [2, 1]
    assert bench.call("metrics")["metrics"]["packets_received"] == 3
