"""The kernel's maps follow the core, and what the kernel counted comes back once."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.records import FlowChange, FlowChangeKind, TargetChange
from gwlbemu.core.gateway.verdict import ToTarget
from gwlbemu.fastpath.fastpath import FastPath
from gwlbemu.fastpath.layout import choose_factor, endpoint_bits
from tests.fastpath import fastpath_lab as lab
from tests.fastpath.fastpath_lab import mac
from tests.fastpath.fastpath_packets import V4, V6, ipv4, ipv6, tcp, udp
from tests.fastpath.test_differential import carried_by, ethernet, run, swapped

pytestmark = pytest.mark.namespace
Pair = Callable[..., tuple[Balancer, FastPath]]


def datagram(port: int, size: int = 10) -> bytes:
    return ipv4(V4[0], V4[1], 17, udp(V4[0], V4[1], (port, 53), bytes(size)))


def inward(packet: bytes) -> bytes:
    return mac(lab.ENDPOINT_MAC) + bytes([2, 0, 0, 0, 0, 7]) + ethernet(packet) + packet


def place(balancer: Balancer, fast: FastPath, packet: bytes, now: float = 1.0) -> bytes:
    verdict = balancer.receive_packet(lab.ENDPOINT, packet, now=now)
    assert isinstance(verdict, ToTarget)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    return verdict.datagram


def test_traffic_of_both_directions_is_reported_once_under_the_cores_key(pair: Pair) -> None:
    balancer, fast = pair()
    packets = [datagram(1000), ipv6(V6[1], V6[0], 17, udp(V6[1], V6[0], (53, 7), b"abc"))]
    for packet in packets:
        out = place(balancer, fast, packet)
        for _ in range(3):
            assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(packet)) is not None
        back = mac(lab.ENI_MAC) + mac(lab.TARGET_MAC) + b"\x08\x00" + swapped(out)
        assert run(fast, "decap", lab.ENI_DEVICE, back) is not None
    news = {flow.key: flow for flow in fast.read_all()}
    assert set(news) == {flow.key for flow in balancer.flows(now=1.0)}
    sizes = sorted(len(packet) for packet in packets)
    assert sorted((flow.packets, flow.bytes, flow.returned_packets, flow.returned_bytes) for flow in news.values()) == [
        (3, 3 * size, 1, size) for size in sizes
    ]
    assert {flow.target for flow in news.values()} <= {bytes([10, 9, 0, 2]), bytes([10, 9, 0, 3])}
    assert all(abs(time.monotonic_ns() - flow.last_ns) < 5e9 for flow in news.values())
    assert fast.read_all() == []


def test_one_flow_can_be_asked_for_by_the_cores_key(pair: Pair) -> None:
    balancer, fast = pair()
    for port in (1000, 1001):
        place(balancer, fast, datagram(port))
        run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(port)))
    keys = [flow.key for flow in balancer.flows(now=1.0)]
    assert [(flow.key, flow.packets) for flow in fast.refresh(keys[:1])] == [(keys[0], 1)]
    assert [flow.key for flow in fast.read_all()] == keys[1:]
    assert [(flow.packets, flow.returned_packets) for flow in fast.refresh(keys)] == [(0, 0), (0, 0)]


def test_a_flow_that_ends_leaves_its_last_traffic_behind_and_goes_up_again(pair: Pair) -> None:
    balancer, fast = pair()
    place(balancer, fast, datagram(1000))
    run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000)))
    balancer.expire(now=1000.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    assert fast.stats()["entries"] == 0
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000))) is None
    assert [(flow.packets, flow.bytes) for flow in fast.read_all()] == [(1, 38)]


def test_a_moved_flow_goes_to_its_new_target_and_its_counters_start_again(pair: Pair) -> None:
    balancer, fast = pair()
    rebalance = {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"}
    balancer.set_attributes("target-group", rebalance | {"deregistration_delay.timeout_seconds": "0"}, now=1.0)
    for id in ("t", "u"):
        for _ in range(5):
            balancer.receive_probe_result(id, True, now=1.0)
    first = place(balancer, fast, datagram(1000))
    run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000)))
    balancer.deregister("t" if first[19] == 2 else "u", now=2.0)
    balancer.expire(now=3.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000))) is None, "the core has to move it first"
    moved = place(balancer, fast, datagram(1000), now=3.0)
    assert moved[16:20] != first[16:20]
    left = run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000)))
    assert left is not None
    assert left[14:] == moved
    assert [(flow.target, flow.packets) for flow in fast.read_all()] == [(first[16:20], 1), (moved[16:20], 1)]


def test_a_silent_flow_goes_up_at_its_idle_timeout_although_nobody_took_it_out(pair: Pair) -> None:
    balancer, fast = pair()
    balancer.receive_packet(lab.ENDPOINT, datagram(1000), now=1.0)
    changes = balancer.take_flow_changes()
    fast.apply(changes, now_ns=time.monotonic_ns() - 119 * 10**9)
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000))) is not None
    again = [change._replace(kind=FlowChangeKind.UPDATED) for change in changes if isinstance(change, FlowChange)]
    fast.apply(again, now_ns=time.monotonic_ns() - 121 * 10**9)
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000))) is None
    assert fast.stats()["idle"] == 1


def test_flows_beyond_the_maps_size_stay_in_python_and_are_counted(pair: Pair) -> None:
    balancer, fast = pair(max_flows4=64)
    for port in range(100):
        place(balancer, fast, datagram(1000 + port))
    held = fast.stats()
    assert held["entries"] == 64
    assert held["refused"] == 36
    carried = [run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000 + port))) for port in range(100)]
    assert sum(left is not None for left in carried) == 64
    balancer.expire(now=1000.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    place(balancer, fast, datagram(5000), now=1000.0)
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(5000))) is not None


def test_a_round_through_many_flows_reports_each_once_in_bounded_steps(pair: Pair) -> None:
    balancer, fast = pair(max_flows4=1 << 15)
    for port in range(20000):
        balancer.receive_packet(lab.ENDPOINT, datagram(1000 + port), now=1.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    for port in range(0, 20000, 100):
        run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1000 + port)))
    keys, steps, complete = [], 0, False
    while not complete:
        news, complete = fast.read_back()
        keys += [flow.key for flow in news]
        steps += 1
    assert len(keys) == len(set(keys)) == 200
    assert steps > 20000 // 2048


def test_a_syn_or_the_end_of_a_connection_goes_up_with_its_reason(pair: Pair) -> None:
    balancer, fast = pair()

    def segment(flags: int) -> bytes:
        return ipv4(V4[0], V4[1], 6, tcp(V4[0], V4[1], (5, 80), flags, b"x"))

    place(balancer, fast, segment(0x02))
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(segment(0x10))) is not None
    for flags in (0x02, 0x11, 0x14, 0x04):
        assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(segment(flags))) is None
    assert fast.stats()["tcp_flags"] == 4


@pytest.mark.parametrize(("size", "carried"), [(8500 - 28, True), (8500 - 27, False)])
def test_8500_bytes_are_carried_and_one_more_goes_up(pair: Pair, size: int, carried: bool) -> None:
    balancer, fast = pair()
    place(balancer, fast, datagram(1000))
    # BPF_PROG_TEST_RUN takes no frame longer than a page: this one comes over the wire.
    import socket

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("peer0", 0))
        wire.send(inward(datagram(1000, size)))
    assert carried_by(fast) == carried
    assert fast.stats()["too_long"] == (not carried)


def test_an_interface_hears_nothing_but_what_goes_up(pair: Pair) -> None:
    _, fast = pair()
    time.sleep(0.2)
    assert [tap.recv() for tap in fast.taps.values()] == [[], [], []]
    run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(1)))
    assert fast.taps["vpce2"].recv() == []


def test_two_endpoints_never_share_their_bits() -> None:
    endpoints = tuple(struct.unpack(">Q", bytes([i, 0, 0, 0, 0, 0, 0, j]))[0] for i in range(20) for j in range(20))
    factor = choose_factor(endpoints)
    assert factor % 2 == 1
    assert len({endpoint_bits(endpoint, factor) for endpoint in endpoints}) == 400


def test_a_held_target_sends_its_flows_up_and_keeps_them(pair: Pair) -> None:
    balancer, fast = pair()
    out = place(balancer, fast, datagram(1000))
    packet, target = inward(datagram(1000)), out[16:20]
    back = mac(lab.ENI_MAC) + mac(lab.TARGET_MAC) + b"\x08\x00" + swapped(out)
    fast.apply([TargetChange(True, target)], now_ns=time.monotonic_ns())
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, packet) is None
    assert run(fast, "decap", lab.ENI_DEVICE, back) is None
    assert (fast.stats()["held"], fast.entries) == (2, 1)
    fast.apply([TargetChange(False, target), TargetChange(False, target)], now_ns=time.monotonic_ns())
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, packet) is not None
    assert run(fast, "decap", lab.ENI_DEVICE, back) is not None


def test_with_another_stickiness_no_packet_finds_an_old_entry_and_a_round_takes_them_out(pair: Pair) -> None:
    balancer, fast = pair()
    ports = range(1000, 4000)
    for port in ports:
        balancer.receive_packet(lab.ENDPOINT, datagram(port), now=1.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    for port in ports[:10]:
        assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(port))) is not None
    old = [flow.key for flow in balancer.flows(now=1.0)][:5]
    balancer.set_attributes("target-group", {"stickiness.enabled": "true"}, now=2.0)
    fast.set_stickiness(balancer.stickiness)
    assert fast.entries == len(ports), "nobody walked through them"
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(ports[0]))) is None
    place(balancer, fast, datagram(ports[0]), now=2.0)
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(9))) is not None, "addresses alone make the flow"
    assert [flow.packets for flow in fast.refresh(old)] == [1] * 5, "what they carried is not lost"
    news, steps, complete = [], 0, False
    while not complete:
        more, complete = fast.read_back()
        news += more
        steps += 1
    assert fast.entries == 1
    assert steps > len(ports) // 2048
    news += fast.read_all()
    assert sum(flow.packets for flow in news) == 5 + 1
    balancer.set_attributes("target-group", {"stickiness.enabled": "false"}, now=3.0)
    fast.set_stickiness(balancer.stickiness)
    assert run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(ports[0]))) is None, "its old entry has gone"


def test_every_flow_can_be_read_while_a_round_goes_on(pair: Pair) -> None:
    balancer, fast = pair()
    ports = range(1000, 4000)
    for port in ports:
        balancer.receive_packet(lab.ENDPOINT, datagram(port), now=1.0)
    fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    for port in ports[::100]:
        run(fast, "encap", lab.ENDPOINT_DEVICE, inward(datagram(port)))
    news, _ = fast.read_back()
    news = list(news)
    for step in fast.read_in_steps():
        news += step
        news += fast.read_back()[0]
    assert sum(flow.packets for flow in news) == len({flow.key for flow in news}) == 30
