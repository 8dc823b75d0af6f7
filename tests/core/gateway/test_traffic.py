"""What went to a target and came back, by endpoint and protocol, and what was returned and refused."""

from __future__ import annotations

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.records import FlowChange
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint
from gwlbemu.wire.tcp import RST
from tests.core.gateway.core_lab import (
    VPCE_A,
    VPCE_B,
    data,
    fail_probes,
    give_back,
    hairpin,
    node,
    pass_probes,
    query,
    reply,
    sent,
    syn,
)


def test_packets_are_tallied_by_target_endpoint_and_protocol_and_a_target_has_their_sum() -> None:
    balancer = node(1)
    there = balancer.receive_packet(VPCE_A, syn(), now=1.0)
    assert isinstance(give_back(balancer, there, now=1.0), ToEndpoint)
    balancer.receive_packet(VPCE_A, data(), now=1.1)
    balancer.receive_packet(VPCE_B, query(), now=1.2)
    assert sorted(each[:5] for each in balancer.traffic(now=2.0)) == sorted(
        [("fw-a1", VPCE_A, 6, 2, 1), ("fw-a1", VPCE_B, 17, 1, 0)]
    )
    (target,) = balancer.target_health(now=2.0)
    assert (target.packets_to, target.packets_from) == (3, 1)
    tcp, udp = sorted(balancer.flows(now=2.0), key=lambda flow: flow.protocol)
    assert (tcp.packets_to, tcp.packets_from, tcp.packets) == (2, 1, 3)
    assert (udp.packets_to, udp.packets_from, udp.packets) == (1, 0, 1)


def test_without_ports_and_protocol_in_the_key_there_is_one_tally_for_all() -> None:
    balancer = node(1, group={"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"})
    balancer.receive_packet(VPCE_A, syn(), now=1.0)
    balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert [each[:5] for each in balancer.traffic(now=2.0)] == [("fw-a1", VPCE_A, 0, 2, 0)]


def test_unanswered_are_the_packets_since_the_last_look_at_which_something_had_come_back() -> None:
    balancer = node(1)

    def unanswered() -> int:
        (row,) = balancer.traffic(now=2.0)
        return row.unanswered

    there = balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert unanswered() == 1, "nothing has ever come back"
    give_back(balancer, there, now=1.0)
    assert unanswered() == 0
    for _ in range(3):
        balancer.receive_packet(VPCE_A, query(), now=1.5)
    assert unanswered() == 3
    give_back(balancer, there, now=1.6)
    assert unanswered() == 0
    balancer.receive_packet(VPCE_A, query(), now=1.7)
    pass_probes(balancer, "fw-a1", now=1.8, count=1)
    assert unanswered() == 1


def test_a_flow_that_moves_is_tallied_at_its_new_target() -> None:
    rebalance = {"target_failover.on_unhealthy": "rebalance", "target_failover.on_deregistration": "rebalance"}
    balancer = node(2, group=rebalance)
    first = sent(balancer.receive_packet(VPCE_A, syn(), now=1.0)).target
    fail_probes(balancer, first, now=2.0)
    second = sent(balancer.receive_packet(VPCE_A, data(), now=3.0)).target
    assert second != first
    assert {each.target: each.packets_to for each in balancer.traffic(now=4.0)} == {first: 1, second: 1}


def test_what_the_kernel_carried_is_tallied_even_of_a_flow_that_has_gone() -> None:
    balancer = node(1, track_changes=True)
    there = sent(balancer.receive_packet(VPCE_A, syn(), now=0.0))
    (change,) = balancer.take_flow_changes()
    assert isinstance(change, FlowChange)
    for now, target in ((1.0, None), (1000.0, there.datagram[16:20])):
        balancer.expire(now=now)
        balancer.add_carried(
            change.key, last_seen_at=1.0, packets=5, bytes=500, returned_packets=3, returned_bytes=300, target=target
        )
    assert [each[:5] for each in balancer.traffic(now=1000.0)] == [("fw-a1", VPCE_A, 6, 11, 6)]


def test_a_refused_packet_is_counted_by_its_target_with_what_was_wrong_and_where_it_belongs() -> None:
    balancer = node(1)
    datagram = bytearray(hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=1.0)).datagram))
    datagram[67] ^= 1  # the last byte of option 3
    for _ in range(2):
        balancer.receive_return(bytes(datagram[12:16]), bytes(datagram), now=1.0)
    (row,) = balancer.refused()
    assert row[:5] == ("fw-a1", VPCE_A, 17, Reason.INVALID_FLOW_COOKIE, 2)
    assert row.wrong.startswith("flow cookie 0x")
    assert [each[3:5] for each in balancer.traffic(now=1.0)] == [(1, 0)]


def test_what_cannot_be_read_of_a_refused_packet_is_unknown_and_strangers_are_not_told() -> None:
    balancer = node(1)
    datagram = hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=1.0)).datagram)
    balancer.receive_return(datagram[12:16], datagram[:30], now=1.0)
    (row,) = balancer.refused()
    assert row[:5] == ("fw-a1", None, None, Reason.INVALID_GENEVE_TUNNEL, 1)
    stranger = bytes([10, 254, 11, 250])
    balancer.receive_return(stranger, datagram[:12] + stranger + datagram[16:], now=1.0)
    assert len(balancer.refused()) == 1


def test_a_target_that_makes_up_endpoints_fills_no_memory() -> None:
    balancer = node(1)
    datagram = hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=1.0)).datagram)
    for number in range(3000):
        made_up = datagram[:40] + number.to_bytes(8, "big") + datagram[48:]
        balancer.receive_return(made_up[12:16], made_up, now=1.0)
    rows = balancer.refused()
    assert len(rows) <= 1001
    assert sum(each.packets for each in rows) == 3000


def late_rows(balancer: Balancer) -> list[tuple[Reason, int, bool]]:
    return [(each.reason, each.packets, each.late) for each in balancer.refused()]


def test_what_was_under_way_behind_a_reset_is_dropped_and_no_doing_of_the_target() -> None:
    balancer = node(1)
    give_back(balancer, balancer.receive_packet(VPCE_A, syn(), now=1.0), now=1.0)
    first = balancer.receive_packet(VPCE_A, data(flags=RST), now=1.1)
    second = balancer.receive_packet(VPCE_A, reply(), now=1.1)
    assert isinstance(give_back(balancer, first, now=1.2), ToEndpoint)
    assert give_back(balancer, second, now=1.2) == Drop(Reason.MISSING_FLOW_ENTRY)
    assert late_rows(balancer) == [(Reason.MISSING_FLOW_ENTRY, 1, True)]
    balancer.receive_packet(VPCE_A, syn(), now=1.3)
    assert give_back(balancer, second, now=1.4) == Drop(Reason.INVALID_FLOW_COOKIE)
    assert late_rows(balancer)[1:] == [(Reason.INVALID_FLOW_COOKIE, 1, True)]


@pytest.mark.parametrize("is_swept", [False, True])
def test_what_was_under_way_when_the_clock_jumped_is_no_doing_of_the_target(is_swept: bool) -> None:
    balancer = node(1)
    there = balancer.receive_packet(VPCE_A, query(), now=1.0)
    with balancer.ending(1.0, 200.0, 10) as endings:
        if is_swept:
            balancer.expire(now=200.0)
        assert endings.count == is_swept
        assert give_back(balancer, there, now=200.0) == Drop(Reason.MISSING_FLOW_ENTRY)
    assert late_rows(balancer) == [(Reason.MISSING_FLOW_ENTRY, 1, True)]


@pytest.mark.parametrize("ends", ["sender", "both"])
def test_what_was_under_way_when_a_failed_targets_flow_was_reset_is_no_doing_of_the_target(ends: str) -> None:
    reset = {"send_tcp_reset.on_unhealthy.enabled": "true"}
    balancer = node(1, group=reset, emulation={"reset_ends": ends})
    there = balancer.receive_packet(VPCE_A, syn(), now=1.0)
    give_back(balancer, there, now=1.0)
    fail_probes(balancer, "fw-a1", now=2.0)
    for packet in (data(), reply()):
        balancer.receive_packet(VPCE_A, packet, now=3.0)
    assert give_back(balancer, there, now=3.1) == Drop(Reason.MISSING_FLOW_ENTRY)
    assert late_rows(balancer) == [(Reason.MISSING_FLOW_ENTRY, 1, True)]


def test_what_a_target_held_beyond_the_idle_timeout_or_made_up_is_its_own_doing() -> None:
    balancer = node(1)
    there = balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert give_back(balancer, there, now=1.0, packet=query(port=9)) == Drop(Reason.MISSING_FLOW_ENTRY)
    balancer.expire(now=123.0)
    assert give_back(balancer, there, now=123.0) == Drop(Reason.MISSING_FLOW_ENTRY)
    assert late_rows(balancer) == [(Reason.MISSING_FLOW_ENTRY, 2, False)]


def test_a_changed_cookie_of_a_flow_that_was_reset_is_the_targets_own_doing() -> None:
    balancer = node(1)
    give_back(balancer, balancer.receive_packet(VPCE_A, syn(), now=1.0), now=1.0)
    reset = balancer.receive_packet(VPCE_A, data(flags=RST), now=1.1)
    give_back(balancer, reset, now=1.2)
    datagram = bytearray(hairpin(sent(reset).datagram))
    datagram[67] ^= 1  # the last byte of option 3
    verdict = balancer.receive_return(bytes(datagram[12:16]), bytes(datagram), now=1.3)
    assert verdict == Drop(Reason.MISSING_FLOW_ENTRY)
    assert late_rows(balancer) == [(Reason.MISSING_FLOW_ENTRY, 1, False)]
