"""The same random traffic and the same changes through a node that is all Python and one with the fast path.

Seeded. After each packet the node is asked for its counters, so that both nodes judge in the same order; what is
delivered at any side and every counter has to be the same, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fastpath.fastpath_packets import random_packet
from tests.programs.gateway.node_bench import OTHER_TARGET, TARGET, Bench, config, running, second_endpoint
from tests.waiting import wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.usefixtures("fast_path")]
PACKETS = 600
# Sums of these are never just below a timeout (LINGER, 120, 350): 90 s at the least, so that the seconds that a run
# takes between some steps do not matter, on a busy machine either.
STEPS = (130, 400)
LINGER = 110
TIMED = {"PeakPacketsPerSecond", "PeakBytesPerSecond", "ProcessedPackets"}  # the last one counts probes
TO_ENDPOINT = {"client": "020000000101020000000102", "other": "020000000201020000000202"}
SETTINGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("target-group", {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"}),
    ("target-group", {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip_proto"}),
    ("target-group", {"stickiness.enabled": "false"}),
    (
        "target-group",
        {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"},
    ),
    (
        "target-group",
        {"target_failover.on_deregistration": "no_rebalance", "target_failover.on_unhealthy": "no_rebalance"},
    ),
    ("target-group", {"deregistration_delay.timeout_seconds": "0"}),
    ("target-group", {"deregistration_delay.timeout_seconds": "300"}),
    ("listener", {"send_tcp_reset.on_idle_timeout.enabled": "true"}),
    ("listener", {"send_tcp_reset.on_idle_timeout.enabled": "false"}),
)


def story(bench: Bench, random: Random) -> list[object]:
    """What happened, in order: packets delivered, and what the control socket answered."""
    told: list[object] = []
    pool: list[tuple[str, bytes]] = []
    registered = {"fw1": TARGET, "fw2": OTHER_TARGET}
    for number in range(PACKETS):
        dice = random.random()
        if dice < 0.03:
            told.append(bench.call("advance", seconds=random.choice(STEPS))["ended"])
        elif dice < 0.05:
            resource, attributes = random.choice(SETTINGS)
            bench.call("set", resource=resource, attributes=attributes)
        elif dice < 0.07:
            change_targets(bench, random, registered)
        told += exchange(bench, random, number, pool)
    metrics = bench.call("metrics")["metrics"]
    told.append({name: value for name, value in metrics.items() if name not in TIMED})
    told.append([(each["id"], each["packets_to"], each["packets_from"]) for each in bench.call("targets")["targets"]])
    flows = bench.call("flows", limit=10_000)["flows"]
    told.append([{name: value for name, value in flow.items() if "seconds" not in name} for flow in flows])
    for name, port in (("client", bench.client), ("other", bench.other)):
        told.append((name, port.recv()))
    return told


def change_targets(bench: Bench, random: Random, registered: dict[str, str]) -> None:
    """Take a target out, or put it in again and wait until it is well."""
    addresses = {"fw1": TARGET, "fw2": OTHER_TARGET}
    name = random.choice(tuple(addresses))
    if name in registered and len(registered) > 1:
        del registered[name]
        bench.call("deregister", id=name)
    elif name not in registered:
        registered[name] = addresses[name]
        bench.call("register", id=name, address=addresses[name], zone="a")
        wait_until(
            lambda: "healthy" in {each["state"] for each in bench.call("targets")["targets"] if each["id"] == name}
        )


def exchange(bench: Bench, random: Random, number: int, pool: list[tuple[str, bytes]]) -> list[object]:
    """One packet in, new or one of the last; whatever reaches a target comes back, usually as it was.

    What was delivered where.
    """
    if not pool or random.random() < 0.4:
        pool[:] = [*pool[-5:], (random.choice(("client", "other")), random_packet(random))]
    side, packet = random.choice(pool)
    port = {"client": bench.client, "other": bench.other}[side]
    if len(packet) < 20:
        return []
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    before = verdicts(bench)
    port.send([bytes.fromhex(TO_ENDPOINT[side]) + kind + packet])
    settle(bench, before + 1)
    told: list[object] = [number]
    for frame in bench.target.recv():
        told.append(frame)
        back = spoil(random, frame[:26] + frame[30:34] + frame[26:30] + frame[34:])
        bench.target.send([back[6:12] + back[:6] + back[12:]])
        settle(bench, before + 2)
    told += [("client", bench.client.recv()), ("other", bench.other.recv())]
    return told


def spoil(random: Random, frame: bytes) -> bytes:
    """Now and then, something that the node must refuse, or need not look at."""
    kind = random.randrange(12)
    if kind == 0:
        return frame[:81] + bytes([frame[81] ^ 1]) + frame[82:]  # the cookie
    if kind == 1:
        return frame[:29] + bytes([frame[29] ^ 1]) + frame[30:]  # another sender of the group, or a stranger
    if kind == 2:
        return frame[:22] + b"\x02" + frame[23:40] + b"\0\0" + frame[42:]  # TTL, checksum
    if kind == 3:
        at = random.randrange(82, len(frame)) if len(frame) > 82 else 81
        return frame[:at] + bytes([frame[at] ^ 1 << random.randrange(8)]) + frame[at + 1 :]
    return frame


def verdicts(bench: Bench) -> int:
    return int(bench.call("metrics")["metrics"]["verdicts"])


def settle(bench: Bench, count: int) -> None:
    wait_until(lambda: verdicts(bench) >= count, lambda: f"{verdicts(bench)}, {count}: {bench.log.read_text()}")
    assert verdicts(bench) == count


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_traffic_and_random_changes_have_the_same_end_on_both_datapaths(tmp_path: Path, seed: int) -> None:
    stories = {}
    for datapath in ("python", "ebpf"):
        folder = tmp_path / datapath
        folder.mkdir()
        settings = config(folder, datapath=datapath, targets=(("fw1", TARGET, "a"), ("fw2", OTHER_TARGET, "a")))
        linger = {**settings.emulation, "fin_linger_seconds": LINGER}
        settings = replace(settings, endpoints=(*settings.endpoints, second_endpoint()), emulation=linger)
        with running(settings, folder, healthy=(TARGET, OTHER_TARGET)) as bench:
            bench.wait_for_state("healthy")
            stories[datapath] = story(bench, Random(seed))
            status: dict[str, Any] = bench.call("status")
            assert status["datapath"] == datapath
    for one, other in zip(stories["python"], stories["ebpf"], strict=True):
        assert one == other
    carried = status["fastpath"]
    print(carried)
    assert carried["encapsulated"] > PACKETS // 10
    assert carried["decapsulated"] > PACKETS // 10
