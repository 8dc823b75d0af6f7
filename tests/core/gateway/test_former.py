"""What is remembered of flows whose ports are used again, and for how long."""

from __future__ import annotations

import pytest

from gwlbemu.core.gateway import former
from gwlbemu.core.gateway.flows import Flow, FlowState
from gwlbemu.core.gateway.former import FormerFlows
from gwlbemu.core.gateway.targets import GatewayMember
from gwlbemu.core.gateway.tunnel import Tunnel
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN
from tests.core.gateway.core_lab import VPCE_A, settings, target

KEY, COOKIE = 7, 0x98EF1B00


def flow(key: int = KEY) -> Flow:
    known = settings()
    member = GatewayMember(target(1), 0, True, known)
    tunnel = Tunnel(known, member.address, 60000, VPCE_A, 4)
    tally = member.tally(VPCE_A, key)
    return Flow(key, member, tunnel, tally, cookie=COOKIE, idle_timeout=350.0, state=FlowState(False), now=0.0)


def test_a_former_flow_is_known_until_its_time_is_over_and_not_at_that_instant() -> None:
    flows = FormerFlows(2.0)
    flows.add(flow(), now=10.0)
    assert flows.find(VPCE_A, KEY, now=11.9) is not None
    assert flows.find(VPCE_A, KEY, now=12.0) is None


def test_the_oldest_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former, "CAPACITY", 3)
    flows = FormerFlows(2.0)
    for key in range(5):
        flows.add(flow(key), now=10.0)
    assert [key for key in range(5) if flows.find(VPCE_A, key, now=10.0)] == [2, 3, 4]


def test_what_does_not_go_on_takes_no_room_of_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former, "CAPACITY", 2)
    flows = FormerFlows(2.0)
    flows.add(flow(1), now=10.0)
    for key in (2, 3):
        flows.add(flow(key), now=10.0, goes_on=False)
    assert [key for key in (1, 2, 3) if flows.find(VPCE_A, key, now=10.0)] == [1, 2]


def test_nothing_returns_of_what_does_not_go_on() -> None:
    flows = FormerFlows(2.0)
    flows.add(flow(), now=10.0, goes_on=False)
    flows.note_syn(VPCE_A, KEY, 10.0, 100, from_high=True)
    known = flows.find(VPCE_A, KEY, now=10.0)
    assert known is not None
    assert not known.may_return(COOKIE, ACK)


@pytest.mark.parametrize(
    ("sequence", "from_high", "is_before"),
    [(99, True, True), (100, True, False), (101, True, False), (0xFFFFFFFF, True, True), (99, False, False)],
)
def test_a_number_is_before_the_syn_of_the_same_end_or_not(sequence: int, from_high: bool, is_before: bool) -> None:
    flows = FormerFlows(2.0)
    flows.add(flow(), now=10.0)
    known = flows.find(VPCE_A, KEY, now=10.0)
    assert known is not None
    assert not known.is_before(sequence, from_high), "no SYN has come yet"
    flows.note_syn(VPCE_A, KEY, 10.0, 100, from_high=True)
    flows.note_syn(VPCE_A, KEY, 10.0, 5000, from_high=False)  # a further connection: the first one counts
    assert known.is_before(sequence, from_high) is is_before


def test_what_is_late_returns_once_the_ports_are_taken_up_to_the_flows_resets() -> None:
    flows = FormerFlows(2.0)
    flows.add(flow(), now=10.0)
    known = flows.find(VPCE_A, KEY, now=10.0)
    assert known is not None
    assert not known.may_return(COOKIE, ACK)
    flows.note_syn(VPCE_A, KEY, 10.0, 100, from_high=True)
    assert [known.may_return(COOKIE, flags) for flags in (ACK, FIN | ACK, RST)] == [True, True, True]
    assert [known.may_return(COOKIE, flags) for flags in (SYN, SYN | ACK)] == [False, False]
    assert not known.may_return(COOKIE + 1, ACK)
    known.reset = True
    assert [known.may_return(COOKIE, flags) for flags in (ACK, RST)] == [False, True]
