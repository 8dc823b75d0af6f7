"""What the fast path is told, and what it tells."""

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.records import FlowChange, FlowChangeKind, TargetChange
from gwlbemu.core.gateway.verdict import ToTarget
from gwlbemu.wire.tcp import ACK, FIN, RST
from tests.core.gateway.core_lab import (
    CLIENT,
    SERVER,
    VPCE_A,
    data,
    fail_probes,
    give_back,
    node,
    pass_probes,
    query,
    reply,
    sent,
    syn,
    target_of,
)

REBALANCE = {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"}


PLACED, UPDATED, REMOVED = FlowChangeKind.PLACED, FlowChangeKind.UPDATED, FlowChangeKind.REMOVED
HELD, NO_LONGER_HELD = True, False
FW_A1 = bytes([10, 254, 11, 101])


def kinds(balancer: Balancer) -> list[tuple[FlowChangeKind | bool, int | bytes]]:
    """Return each change with the source port of its flow, or (held or not) with the address of its target."""
    return [
        (change.held, change.target_address) if isinstance(change, TargetChange) else (change.kind, change.source_port)
        for change in balancer.take_flow_changes()
    ]


def test_a_placed_flow_is_told_with_all_that_its_packets_need() -> None:
    balancer = node(1, track_changes=True)
    datagram = sent(balancer.receive_packet(VPCE_A, reply(flags=2), now=1.0)).datagram
    (change,) = balancer.take_flow_changes()
    assert isinstance(change, FlowChange)
    assert change.kind is PLACED
    assert (change.endpoint, change.tuple_size, change.protocol) == (VPCE_A, 5, 6)
    assert (change.source, change.source_port, change.destination, change.destination_port) == (
        SERVER,
        80,
        CLIENT,
        40000,
    )
    assert (change.target, change.target_address) == ("fw-a1", FW_A1)
    assert change.cookie.to_bytes(4, "big") == datagram[64:68]
    assert change.outer_source_port.to_bytes(2, "big") == datagram[20:22]
    assert balancer.take_flow_changes() == []


def test_changes_are_not_collected_unless_asked_for() -> None:
    balancer = node(1)
    balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert balancer.take_flow_changes() == []


def test_a_flow_leaves_the_fast_path_when_it_ends() -> None:
    balancer = node(1, track_changes=True)
    for port, packets in ((1, [data(1, flags=RST)]), (2, [data(2, flags=FIN | ACK), *[reply(2, flags=FIN | ACK)] * 2])):
        for packet in (syn(port), *packets):
            give_back(balancer, balancer.receive_packet(VPCE_A, packet, now=1.0), now=1.0)
    balancer.receive_packet(VPCE_A, query(3), now=1.0)
    assert kinds(balancer) == [(PLACED, 1), (REMOVED, 1), (PLACED, 2), (REMOVED, 2), (PLACED, 3)]
    balancer.expire(now=130.0)
    assert (REMOVED, 3) in kinds(balancer)


def test_flows_of_a_failed_target_come_to_python_and_move_or_leave_again() -> None:
    balancer = node(2, track_changes=True, group=REBALANCE)
    first = {port: target_of(balancer, query(port), now=0.0) for port in range(1, 9)}
    balancer.take_flow_changes()
    fail_probes(balancer, "fw-a1", now=1.0)
    its = sorted(port for port, target in first.items() if target == "fw-a1")
    assert len(its) > 1
    assert kinds(balancer) == [(HELD, FW_A1)]  # one word, however many flows
    balancer.receive_packet(VPCE_A, query(its[0]), now=2.0)
    assert kinds(balancer) == [(UPDATED, its[0])]
    pass_probes(balancer, "fw-a1", now=3.0)
    assert kinds(balancer) == [(NO_LONGER_HELD, FW_A1)]


def test_a_flow_placed_on_a_held_target_is_known_when_the_target_is_no_longer_held() -> None:
    balancer = node(1, track_changes=True, group=REBALANCE)
    fail_probes(balancer, "fw-a1", now=1.0)
    balancer.receive_packet(VPCE_A, query(7), now=2.0)  # fails open
    assert kinds(balancer) == [(HELD, FW_A1), (PLACED, 7)]
    pass_probes(balancer, "fw-a1", now=3.0)
    assert kinds(balancer) == [(NO_LONGER_HELD, FW_A1)]


def test_a_held_target_that_is_forgotten_is_no_longer_held() -> None:
    balancer = node(2, track_changes=True, group=REBALANCE | {"deregistration_delay.timeout_seconds": "5"})
    balancer.deregister("fw-a1", now=1.0)
    assert kinds(balancer) == [(HELD, FW_A1)]
    balancer.expire(now=6.0)
    assert kinds(balancer) == [(NO_LONGER_HELD, FW_A1)]


def test_a_target_that_goes_at_once_is_not_held_behind_its_back() -> None:
    balancer = node(2, track_changes=True, group=REBALANCE | {"deregistration_delay.timeout_seconds": "0"})
    balancer.deregister("fw-a1", now=1.0)
    assert kinds(balancer)[-1:] == [(NO_LONGER_HELD, FW_A1)]


def test_draining_brings_flows_to_python_only_if_something_will_happen_to_them() -> None:
    for group, expected in (
        ({}, []),
        (REBALANCE, [(HELD, FW_A1)]),
        ({"send_tcp_reset.on_deregistration.enabled": "true"}, [(HELD, FW_A1)]),
    ):
        balancer = node(1, track_changes=True, group=group)
        balancer.receive_packet(VPCE_A, syn(), now=0.0)
        balancer.take_flow_changes()
        balancer.deregister("fw-a1", now=1.0)
        assert kinds(balancer) == expected


def test_a_half_open_flow_is_placed_when_something_comes_back() -> None:
    balancer = node(1, track_changes=True, emulation={"half_open_timeout_seconds": 30})
    verdict = balancer.receive_packet(VPCE_A, syn(), now=0.0)
    assert kinds(balancer) == []
    give_back(balancer, verdict, now=1.0)
    assert kinds(balancer) == [(PLACED, 40000)]


def test_a_half_open_flow_that_moves_stays_with_python() -> None:
    group = REBALANCE | {"deregistration_delay.timeout_seconds": "0"}
    balancer = node(2, track_changes=True, group=group, emulation={"half_open_timeout_seconds": 30})
    first = target_of(balancer, syn(), now=0.0)
    balancer.deregister(first, now=1.0)
    assert target_of(balancer, syn(), now=2.0) != first
    assert (UPDATED, 40000) not in kinds(balancer)


def test_other_keys_cost_nothing_for_the_flows_that_are_there() -> None:
    balancer = node(1, track_changes=True)
    for port in range(100):
        balancer.receive_packet(VPCE_A, query(port), now=0.0)
    balancer.take_flow_changes()
    balancer.set_attributes("target-group", {"stickiness.enabled": "true"}, now=1.0)
    assert balancer.take_flow_changes() == []


def test_what_the_kernel_carried_keeps_a_flow_alive_and_is_counted() -> None:
    balancer = node(1, track_changes=True)
    balancer.receive_packet(VPCE_A, syn(), now=0.0)
    (change,) = balancer.take_flow_changes()
    assert isinstance(change, FlowChange)
    balancer.add_carried(change.key, last_seen_at=300.0, packets=10, bytes=1000, returned_packets=9, returned_bytes=900)
    balancer.add_carried(b"\0" * len(change.key), last_seen_at=300.0, packets=1, bytes=1)
    balancer.expire(now=400.0)
    (flow,) = balancer.flows(now=400.0)
    assert (flow.expires_at, flow.packets, flow.bytes) == (650.0, 20, 1940)
    metrics = balancer.metrics(now=400.0)
    assert (metrics["verdicts_to_target"], metrics["verdicts_to_endpoint"]) == (11, 9)
    assert metrics["packets_received"] == metrics["verdicts"]
    assert isinstance(balancer.receive_packet(VPCE_A, data(), now=649.0), ToTarget)
