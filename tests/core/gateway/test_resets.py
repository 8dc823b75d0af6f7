"""The TCP reset feature of September 2026: who gets a RST, with which numbers, and what it leaves behind."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import Drop, Reason, Reset, ToTarget
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN, build_tcp
from tests.core.gateway.core_lab import (
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    VPCE_A,
    data,
    fail_probes,
    node,
    pass_probes,
    query,
    reply,
    syn,
    target_of,
)

ON_IDLE = {"send_tcp_reset.on_idle_timeout.enabled": "true"}
ON_UNHEALTHY = {"send_tcp_reset.on_unhealthy.enabled": "true"}
ON_DEREGISTRATION = {"send_tcp_reset.on_deregistration.enabled": "true", "deregistration_delay.timeout_seconds": "60"}


def resets(balancer: Balancer) -> int:
    return balancer.metrics(now=0.0)["TCP_GWLB_Reset_Count"]


@pytest.mark.contract("FL-13")
@pytest.mark.parametrize(
    ("packet", "seq", "ack", "flags"),
    [
        (data(sequence=1000, acknowledgement=5000), 5000, 0, "R"),
        (data(sequence=1000, acknowledgement=5000, flags=FIN | ACK), 5000, 0, "R"),
        (data(sequence=1000, flags=0, payload=b"12345"), 0, 1005, "RA"),
        (data(sequence=1000, flags=FIN, payload=b"12345"), 0, 1006, "RA"),
        (reply(sequence=7, acknowledgement=9), 9, 0, "R"),
    ],
    ids=["ack", "fin-ack", "no ack", "fin", "server"],
)
@pytest.mark.parametrize("known", ["expired", "unknown"])
def test_a_packet_of_an_expired_or_unknown_connection_is_answered_with_the_rst_of_rfc_9293(
    packet: bytes, seq: int, ack: int, flags: str, known: str
) -> None:
    balancer = node(listener=ON_IDLE)
    if known == "expired":
        balancer.receive_packet(VPCE_A, syn(), now=0.0)
    verdict = balancer.receive_packet(VPCE_A, packet, now=350.0)
    assert isinstance(verdict, Reset)
    assert verdict.endpoint == VPCE_A
    rst, asked = IP(verdict.packet), IP(packet)
    assert (rst.src, rst.dst, rst[TCP].sport, rst[TCP].dport) == (
        asked.dst,
        asked.src,
        asked[TCP].dport,
        asked[TCP].sport,
    )
    assert (rst[TCP].seq, rst[TCP].ack, str(rst[TCP].flags)) == (seq, ack, flags)
    assert resets(balancer) == 1


@pytest.mark.contract("FL-13")
def test_nothing_is_sent_without_a_packet_and_a_rst_is_never_answered() -> None:
    balancer = node(listener=ON_IDLE)
    balancer.receive_packet(VPCE_A, syn(), now=0.0)
    balancer.expire(now=400.0)
    assert balancer.receive_packet(VPCE_A, data(flags=RST), now=400.0) == Drop(Reason.MIDSTREAM)
    assert resets(balancer) == 0
    assert isinstance(balancer.receive_packet(VPCE_A, syn(), now=400.0), ToTarget)


def test_ipv6_connections_are_reset_too() -> None:
    balancer = node(listener=ON_IDLE)
    verdict = balancer.receive_packet(VPCE_A, build_tcp(CLIENT6, SERVER6, 5, 6, flags=ACK, acknowledgement=77), now=1.0)
    assert isinstance(verdict, Reset)
    assert (IPv6(verdict.packet).dst, IPv6(verdict.packet)[TCP].seq) == ("2001:db8:1::10", 77)


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_connection_of_a_target_that_turned_unhealthy_is_reset_and_the_next_syn_goes_to_a_healthy_one(
    sender: str,
) -> None:
    balancer = node(2, group=ON_UNHEALTHY)
    first = target_of(balancer, syn(), now=0.0)
    fail_probes(balancer, first, now=1.0)
    packet = data(acknowledgement=5) if sender == "client" else reply(acknowledgement=5)
    verdict = balancer.receive_packet(VPCE_A, packet, now=2.0)
    assert isinstance(verdict, Reset)
    assert IP(verdict.packet)[TCP].seq == 5
    assert verdict.packet[16:20] == (CLIENT if sender == "client" else SERVER)
    assert list(balancer.flows(now=2.0)) == []
    assert target_of(balancer, syn(), now=3.0) != first
    assert resets(balancer) == 1


@pytest.mark.contract("FL-14")
def test_a_connection_of_a_deregistered_target_is_reset_only_after_the_delay() -> None:
    balancer = node(2, group=ON_DEREGISTRATION)
    first = target_of(balancer, syn(), now=0.0)
    balancer.deregister(first, now=1.0)
    assert target_of(balancer, data(), now=60.9) == first
    assert isinstance(balancer.receive_packet(VPCE_A, data(), now=61.0), Reset)
    assert target_of(balancer, syn(), now=62.0) != first


@pytest.mark.contract("FL-14")
def test_only_tcp_of_the_failed_target_is_reset() -> None:
    balancer = node(2, group=ON_UNHEALTHY)
    kept = {port: target_of(balancer, packet(port), now=0.0) for port in range(1, 30) for packet in (query,)}
    live = {port: target_of(balancer, syn(port), now=0.0) for port in range(1, 30)}
    fail_probes(balancer, "fw-a1", now=1.0)
    assert {port: target_of(balancer, query(port), now=2.0) for port in kept} == kept
    for port, first in live.items():
        assert isinstance(balancer.receive_packet(VPCE_A, data(port), now=2.0), Reset if first == "fw-a1" else ToTarget)


def test_a_flow_that_failing_open_placed_is_not_reset() -> None:
    balancer = node(1, group=ON_UNHEALTHY)
    fail_probes(balancer, "fw-a1", now=1.0)
    assert target_of(balancer, syn(), now=2.0) == "fw-a1"
    assert target_of(balancer, data(), now=3.0) == "fw-a1"


def test_a_target_that_recovers_before_the_next_packet_keeps_its_connections() -> None:
    balancer = node(1, group=ON_UNHEALTHY)
    balancer.receive_packet(VPCE_A, syn(), now=0.0)
    fail_probes(balancer, "fw-a1", now=1.0)
    pass_probes(balancer, "fw-a1", now=2.0)
    assert target_of(balancer, data(), now=3.0) == "fw-a1"


BOTH = {"reset_ends": "both"}


@pytest.mark.contract("FL-14")
def test_a_client_that_only_downloads_is_not_told_by_default() -> None:
    balancer = node(2, group=ON_UNHEALTHY)
    first = target_of(balancer, syn(), now=0.0)
    fail_probes(balancer, first, now=1.0)
    verdict = balancer.receive_packet(VPCE_A, reply(sequence=1000, acknowledgement=5), now=2.0)
    assert verdict == Reset(VPCE_A, verdict.packet)  # type: ignore[union-attr]
    assert verdict.packet[16:20] == SERVER


@pytest.mark.contract("FL-14")
def test_with_the_switch_the_other_end_is_asked_for_a_packet_and_told_by_its_own_numbers() -> None:
    balancer = node(2, group=ON_UNHEALTHY, emulation=BOTH)
    first = target_of(balancer, syn(), now=0.0)
    fail_probes(balancer, first, now=1.0)
    packet = reply(sequence=1000, acknowledgement=5, options=bytes([1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8]))
    verdict = balancer.receive_packet(VPCE_A, packet, now=2.0)
    assert isinstance(verdict, Reset)
    assert (verdict.packet[16:20], IP(verdict.packet)[TCP].seq) == (SERVER, 5)
    probe = IP(verdict.probe)
    assert verdict.probe[12:20] == SERVER + CLIENT
    assert (probe[TCP].seq, probe[TCP].ack, str(probe[TCP].flags), bytes(probe[TCP].payload)) == (999, 5, "A", b"")
    assert dict(each for each in probe[TCP].options if each[1])["Timestamp"] == (9, 8)
    answered = balancer.receive_packet(VPCE_A, data(sequence=5, acknowledgement=4321, payload=b""), now=2.1)
    assert isinstance(answered, Reset)
    assert (answered.packet[16:20], IP(answered.packet)[TCP].seq, answered.probe) == (CLIENT, 4321, b"")
    assert list(balancer.flows(now=2.1)) == []
    metrics = balancer.metrics(now=2.1)
    assert (resets(balancer), metrics["packets_received"]) == (2, metrics["verdicts"])


def test_a_connection_of_which_one_end_was_told_makes_way_for_the_next_syn() -> None:
    balancer = node(2, group=ON_UNHEALTHY, emulation=BOTH)
    first = target_of(balancer, syn(), now=0.0)
    fail_probes(balancer, first, now=1.0)
    for _ in range(2):  # the first RST may have been lost
        assert isinstance(balancer.receive_packet(VPCE_A, data(acknowledgement=5), now=2.0), Reset)
    assert target_of(balancer, syn(), now=3.0) != first
    assert len(list(balancer.flows(now=3.0))) == 1


@pytest.mark.parametrize("flags", [SYN | ACK, 0])
def test_nothing_that_opens_a_connection_is_followed_by_a_probe(flags: int) -> None:
    balancer = node(2, group=ON_UNHEALTHY, emulation=BOTH)
    first = target_of(balancer, syn(), now=0.0)
    fail_probes(balancer, first, now=1.0)
    verdict = balancer.receive_packet(VPCE_A, reply(flags=flags), now=2.0)
    assert isinstance(verdict, Reset)
    assert verdict.probe == b""
