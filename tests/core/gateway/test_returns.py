"""What a target may give back, and what it may not."""

import pytest

from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint
from gwlbemu.wire.icmp import build_icmp_error
from gwlbemu.wire.tcp import ACK, RST, build_tcp
from tests.cases import ENDPOINT, FLOW, RETURNS, Case
from tests.core.gateway.core_lab import (
    CLIENT,
    SERVER,
    VPCE_A,
    data,
    drops,
    give_back,
    hairpin,
    node,
    query,
    reply,
    rewrap,
    sent,
    syn,
)

TABLE = [pytest.param(case, id=case.description, marks=pytest.mark.contract(*case.contract)) for case in RETURNS]


@pytest.mark.parametrize("case", TABLE)
def test_a_returned_datagram_meets_the_verdict_of_the_table(case: Case) -> None:
    balancer = node()
    datagram = case.change(hairpin(sent(balancer.receive_packet(ENDPOINT, FLOW, now=1.0)).datagram))
    verdict = balancer.receive_return(datagram[12:16], datagram, now=1.0)
    if isinstance(case.expected, bytes):
        assert verdict == ToEndpoint(ENDPOINT, case.expected)
        assert drops(balancer) == {}
    else:
        assert verdict == Drop(case.expected)
        assert list(drops(balancer).values()) == [1]
        assert drops(balancer).keys() <= {case.expected.value, f"Dropped_{case.expected.value}"}


@pytest.mark.contract("GV-16")
@pytest.mark.parametrize("towards", ["client", "server"])
def test_an_appliance_may_reset_a_connection_in_either_direction(towards: str) -> None:
    balancer = node()
    verdict = balancer.receive_packet(VPCE_A, syn(), now=1.0)
    there = (SERVER, CLIENT, 80, 40000) if towards == "client" else (CLIENT, SERVER, 40000, 80)
    returned = give_back(balancer, verdict, now=1.0, packet=build_tcp(*there, flags=RST | ACK))
    assert isinstance(returned, ToEndpoint)
    assert returned.packet[12:16] == there[0]


@pytest.mark.contract("GV-16")
def test_an_icmp_error_of_the_appliance_may_come_in_the_header_of_the_connection_it_quotes() -> None:
    balancer = node()
    verdict = balancer.receive_packet(VPCE_A, syn(), now=1.0)
    error = build_icmp_error(syn(), 3, 13, SERVER)
    assert isinstance(give_back(balancer, verdict, now=1.0, packet=error), ToEndpoint)
    assert len(list(balancer.flows(now=1.0))) == 1


@pytest.mark.contract("GV-17")
def test_what_an_appliance_sends_makes_no_flow() -> None:
    balancer = node()
    verdict = balancer.receive_packet(VPCE_A, query(), now=1.0)
    give_back(balancer, verdict, now=1.0, packet=query(50000))
    assert len(list(balancer.flows(now=1.0))) == 1


@pytest.mark.contract("GV-13")
def test_a_return_after_the_idle_timeout_finds_no_flow_on_either_path() -> None:
    balancer = node()
    verdict = balancer.receive_packet(VPCE_A, query(), now=1.0)
    assert isinstance(give_back(balancer, verdict, now=120.9), ToEndpoint)
    assert give_back(balancer, verdict, now=240.9) == Drop(Reason.MISSING_FLOW_ENTRY)


def test_the_other_target_may_return_a_flow_with_its_cookie() -> None:
    # Not on AWS's list of checks; the sender only has to be a target.
    balancer = node(2)
    datagram = hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=1.0)).datagram)
    other = bytes([10, 254, 11, 101 if datagram[15] == 102 else 102])
    assert isinstance(balancer.receive_return(other, datagram[:12] + other + datagram[16:], now=1.0), ToEndpoint)


def test_a_return_longer_than_the_endpoint_carries_is_dropped() -> None:
    balancer = node()
    datagram = hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=1.0)).datagram)
    grown = rewrap(datagram, query(payload=bytes(8500)))
    assert balancer.receive_return(grown[12:16], grown, now=1.0) == Drop(Reason.TOO_LONG)


def test_data_of_a_connection_returns_both_ways() -> None:
    balancer = node()
    for packet in (syn(), reply(flags=0x12), data(flags=ACK), reply()):
        verdict = balancer.receive_packet(VPCE_A, packet, now=1.0)
        returned = give_back(balancer, verdict, now=1.0)
        assert isinstance(returned, ToEndpoint)
        assert returned.packet[12:] == packet[12:]
