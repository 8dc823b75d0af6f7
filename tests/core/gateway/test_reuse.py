"""A 5-tuple that is used again: another flow, another cookie, and what is still on its way."""

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint
from gwlbemu.wire.tcp import ACK, RST
from tests.cases import ENDPOINT, REUSES, Enter, Reuse, around, hop
from tests.core.gateway import core_lab
from tests.core.gateway.core_lab import VPCE_A, data, drops, fail_probes, give_back, hairpin, node, query, sent, syn

TABLE = [pytest.param(case, id=case.description, marks=pytest.mark.contract(*case.contract)) for case in REUSES]


@pytest.mark.parametrize("kind", [core_lab.HotBalancer, Balancer])
@pytest.mark.parametrize("case", TABLE)
def test_a_5_tuple_that_is_used_again_goes_as_the_table_says(
    case: Reuse, kind: type[Balancer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_lab, "Node", kind)
    balancer = node()
    first: list[bytes] = []  # what the first packet of each flow became
    refused = 0
    for step in case.steps:
        if isinstance(step, Enter):
            datagram = sent(balancer.receive_packet(ENDPOINT, step.packet, now=1.0)).datagram
            if step.number == len(first):
                assert datagram[28:68] not in [each[28:68] for each in first]
                first.append(datagram)
            assert datagram == around(first[step.number], hop(step.packet))
            continue
        returned = hairpin(around(first[step.number], hop(step.packet)))
        verdict = balancer.receive_return(returned[12:16], returned, now=1.0)
        if step.reason is None:
            assert verdict == ToEndpoint(ENDPOINT, hop(hop(step.packet)))
        else:
            refused += 1
            assert verdict == Drop(step.reason)
    assert sum(drops(balancer).values()) == refused
    found = balancer.metrics(now=1.0)
    assert found["verdicts"] == found["packets_received"] == len(case.steps)


@pytest.mark.contract("GV-12", "FL-06")
def test_a_flow_on_the_ports_of_one_that_was_over_has_another_cookie() -> None:
    balancer = node()
    old = balancer.receive_packet(VPCE_A, query(), now=1.0)
    new = balancer.receive_packet(VPCE_A, query(), now=122.0)
    assert sent(old).datagram[64:68] != sent(new).datagram[64:68]
    assert give_back(balancer, old, now=122.0) == Drop(Reason.INVALID_FLOW_COOKIE)
    assert isinstance(give_back(balancer, new, now=122.0), ToEndpoint)


def test_cookies_of_a_5_tuple_do_not_come_again() -> None:
    balancer = node()
    cookies = {sent(balancer.receive_packet(VPCE_A, query(), now=200.0 * k)).datagram[64:68] for k in range(300)}
    assert len(cookies) == 300


def test_the_same_packets_get_the_same_cookies_in_each_run() -> None:
    def run() -> list[bytes]:
        balancer = node()
        packets = [query(port) for port in (1, 2, 1, 3)]
        return [sent(balancer.receive_packet(VPCE_A, p, now=200.0 * k)).datagram for k, p in enumerate(packets)]

    assert run() == run()


def test_what_a_former_flow_left_is_not_waited_for_for_ever() -> None:
    balancer = node()
    give_back(balancer, balancer.receive_packet(VPCE_A, syn(), now=1.0), now=1.0)
    reset = balancer.receive_packet(VPCE_A, data(flags=ACK | RST), now=2.0)
    balancer.receive_packet(VPCE_A, syn(), now=2.0)
    assert give_back(balancer, reset, now=5.0) == Drop(Reason.INVALID_FLOW_COOKIE)


def test_a_reset_of_the_connection_before_whose_target_has_gone_does_not_end_the_present_one() -> None:
    balancer = node(group={"deregistration_delay.timeout_seconds": "0"})
    old = balancer.receive_packet(VPCE_A, syn(sequence=1000), now=1.0)
    give_back(balancer, old, now=1.0)
    balancer.deregister(sent(old).target, now=2.0)
    old_reset = data(flags=RST, sequence=1001)
    assert sent(balancer.receive_packet(VPCE_A, old_reset, now=3.0)).target == sent(old).target
    new = balancer.receive_packet(VPCE_A, syn(sequence=5000), now=3.1)
    assert sent(new).target != sent(old).target
    assert balancer.receive_packet(VPCE_A, old_reset, now=3.2) == Drop(Reason.MIDSTREAM)
    give_back(balancer, new, now=3.3)
    assert sent(balancer.receive_packet(VPCE_A, data(sequence=5001), now=3.4)).target == sent(new).target


def test_a_flow_that_moves_after_its_ports_were_used_again_has_a_cookie_of_its_own() -> None:
    balancer = node(
        group={"target_failover.on_unhealthy": "rebalance", "target_failover.on_deregistration": "rebalance"}
    )
    cookies = []
    for at in (1.0, 200.0):
        cookies.append(sent(verdict := balancer.receive_packet(VPCE_A, query(), now=at)).datagram[64:68])
    fail_probes(balancer, sent(verdict).target, now=201.0)
    cookies.append(sent(balancer.receive_packet(VPCE_A, query(), now=202.0)).datagram[64:68])
    assert len(set(cookies)) == 3
