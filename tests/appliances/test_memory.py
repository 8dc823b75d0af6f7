"""What an appliance keeps does not grow with the flows that have been."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliances import passthrough
from gwlbemu.wire.tcp import ACK, PSH, SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.appliances.appliance_helpers import tunnelled
from tests.appliances.test_hostile import APPLIANCES, Wire

CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
FLOWS = 200  # of a round
LONG = 700.0  # seconds: longer than any idle timeout
WARM, ROUNDS = 5, 12
SLACK = 64 << 10  # bytes: what 60 bytes for each flow would come to in the other rounds is more


def packets(port: int) -> list[bytes]:
    """The packets of a flow with a request and of one with a datagram."""
    return [
        build_tcp(CLIENT, SERVER, port, 80, flags=SYN),
        build_tcp(CLIENT, SERVER, port, 80, flags=ACK | PSH, payload=b"GET /etc/passwd HTTP/1.1" + bytes(500)),
        build_udp(CLIENT, SERVER, port, 53, b"query"),
    ]


HEADS = [tunnelled(packet)[: -len(packet)] for packet in packets(1)]  # Ethernet to GENEVE, ends with the cookie


def frames(number: int) -> Iterator[list[bytes]]:
    """Other flows in each round, each with a cookie of its own."""
    for flow in range(FLOWS * number, FLOWS * (number + 1)):
        found = zip(HEADS, packets(1024 + flow), strict=True)
        yield [head[:40] + bytes(2) + head[42:-4] + flow.to_bytes(4, "big") + packet for head, packet in found]


@pytest.mark.parametrize("name", ["passthrough", "firewall-reject", "firewall-allow", "ids"])
def test_an_appliance_s_memory_is_flat_however_many_flows_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(passthrough, "REMEMBERED", 2 * FLOWS)
    wire = Wire(tmp_path, APPLIANCES[name])
    try:
        tracemalloc.start()
        kept = []
        for number in range(ROUNDS):
            for of_a_flow in frames(number):
                wire.near.send(of_a_flow)
                wire.mover.move(number * LONG)
                wire.near.recv()
            counters = wire.mover.status()
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        wire.close()
    assert counters["received"] == 3 * FLOWS * ROUNDS
    assert counters.get("undecodable", 0) == 0
    assert max(kept[WARM:]) < kept[WARM - 1] + SLACK, kept
