"""What may come in at an endpoint, and what becomes of it."""

import pytest

from gwlbemu.core.gateway.verdict import Drop
from tests.cases import ENTRIES, FLOW, Arrival, around
from tests.core.gateway.core_lab import VPCE_A, drops, node, sent

TABLE = [pytest.param(case, id=case.description, marks=pytest.mark.contract(*case.contract)) for case in ENTRIES]


@pytest.mark.parametrize("case", TABLE)
def test_an_arriving_packet_meets_the_verdict_of_the_table(case: Arrival) -> None:
    balancer = node()
    first = sent(balancer.receive_packet(VPCE_A, FLOW, now=1.0)).datagram
    verdict = balancer.receive_packet(case.endpoint, case.packet, now=1.0)
    if isinstance(case.expected, bytes):
        datagram = sent(verdict).datagram
        assert datagram[68:] == case.expected
        assert (datagram[28:68] == first[28:68]) == case.known
        if case.known:
            assert datagram == around(first, case.expected)
        assert drops(balancer) == {}
    else:
        assert verdict == Drop(case.expected)
        assert list(drops(balancer).values()) == [1]
        assert drops(balancer).keys() <= {case.expected.value, f"Dropped_{case.expected.value}"}
