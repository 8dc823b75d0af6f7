"""What became of a flow, from literal numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gwlbemu.programs.traffic import ConnectionState, parse_states
from gwlbemu.trials.drill.judge import FlowEvidence
from gwlbemu.trials.drill.live import seen_flows
from gwlbemu.trials.drill.outcome import (
    ClockJump,
    FlowObservation,
    NodeEndpoint,
    expected,
    holds,
    is_moved,
    outcome,
    silent_seconds,
)
from gwlbemu.trials.drill.watch import ConnectionKey

HOP, SECOND = ("node-a", "vpce-a"), ("ids-node-a", "vpce-ids-a")
FW1, FW2 = {HOP: "fw-1"}, {HOP: "fw-2"}


def seen(
    end: str = "open",
    last_at: float = 99.9,
    before: dict[NodeEndpoint, str] = FW1,
    after: dict[NodeEndpoint, str] = FW1,
) -> FlowObservation:
    return FlowObservation(end, last_at, 100.0, (last_at, 100.0), before, after)


def evidence(state: ConnectionState) -> FlowEvidence:
    key = ConnectionKey("web", 40000)
    return FlowEvidence(key=key, state=state, before=FW1, after=FW1, until=100.0, hit=True, cut_off=False)


def told_run(state: ConnectionState) -> Any:
    """Of a drill's run what `seen_flows` reads: how connections stood when their program last told."""
    watch = SimpleNamespace(read=lambda: None, histories={})
    states = {ConnectionKey("web", state.port): state}
    return SimpleNamespace(states=lambda: states, watch=watch, before={}, hit=set(), cut_off=set())


@pytest.mark.parametrize(("told_at", "word"), [(11.4, "kept"), (11.6, "lost")])
def test_a_connection_is_silent_until_its_program_looked_last_and_not_until_somebody_asks(
    told_at: float, word: str
) -> None:
    """On a busy machine the line is old; the kernel's clock is far beyond 12 seconds."""
    state = ConnectionState(40000, "open", 5, 500, last_at=10.0, told_at=told_at)
    (flow,) = seen_flows(told_run(state))
    assert flow.outcome == word


def test_data_through_the_same_target_is_kept() -> None:
    assert outcome(seen()) == "kept"


def test_data_through_another_target_is_moved() -> None:
    assert outcome(seen(after=FW2)) == "moved"


def test_a_reset_is_a_reset_wherever_it_was_carried() -> None:
    assert outcome(seen("reset", 80.0)) == outcome(seen("reset", 80.0, after=FW2)) == "reset"


@pytest.mark.parametrize(("last_at", "word"), [(98.5, "kept"), (98.4, "lost"), (80.0, "lost")])
def test_silence_of_more_than_a_second_and_a_half_at_the_end_is_lost(last_at: float, word: str) -> None:
    assert outcome(seen(last_at=last_at)) == word


@pytest.mark.parametrize("end", ["closed", "failed", "garbled"])
def test_any_other_end_is_lost(end: str) -> None:
    assert outcome(seen(end)) == "lost"


def test_a_flow_is_moved_when_one_hop_of_many_has_another_target() -> None:
    before = {HOP: "fw-1", SECOND: "ids-a"}
    assert is_moved(before, {HOP: "fw-2", SECOND: "ids-a"})
    assert not is_moved(before, before)
    assert not is_moved(before, {SECOND: "ids-a"})  # no packet came as far as the firewall: nobody moved it


def test_silence_is_what_was_measured_and_what_was_skipped_in_it() -> None:
    jumps = [ClockJump(9.0, 100.0), ClockJump(12.0, 3.0), ClockJump(15.0, 3.0), ClockJump(21.0, 100.0)]
    assert silent_seconds((10.0, 20.0), jumps) == 16.0


def test_a_jump_between_two_records_of_live_traffic_is_no_silence() -> None:
    assert silent_seconds((10.0, 10.2), [ClockJump(10.1, 300.0)]) == pytest.approx(0.2)


def test_a_jump_just_before_the_silence_began_is_not_part_of_it() -> None:
    assert silent_seconds((10.0, 14.0), [ClockJump(10.1, 60.0)]) == 4.0


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("kill", ["lost", "moved", "reset"]),
        ("freeze", ["lost", "moved", "reset"]),
        ("zone", ["lost", "moved", "reset"]),
        ("deregister", ["kept", "moved", "reset"]),
    ],
)
def test_what_flows_on_the_failed_target_should_meet(event: str, words: list[str]) -> None:
    policies = ("no_rebalance", "rebalance", "reset")
    assert [expected(event, policy, hit=True, cut_off=False, noticed=True) for policy in policies] == words


@pytest.mark.parametrize("policy", ["no_rebalance", "rebalance", "reset"])
def test_no_policy_helps_where_nobody_notices_or_the_zone_is_gone(policy: str) -> None:
    assert expected("freeze", policy, hit=True, cut_off=False, noticed=False) == "lost"
    assert expected("zone", policy, hit=False, cut_off=True, noticed=True) == "lost"


@pytest.mark.parametrize("policy", ["no_rebalance", "rebalance", "reset"])
def test_flows_on_other_targets_are_kept(policy: str) -> None:
    assert expected("kill", policy, hit=False, cut_off=False, noticed=True) == "kept"


def test_a_flow_that_was_moved_and_then_refused_is_lost_but_not_by_the_load_balancer() -> None:
    refused = seen(last_at=80.0, after=FW2)
    assert outcome(refused) == "lost"
    assert holds("moved", refused)
    assert not holds("moved", seen(last_at=80.0))
    assert not holds("kept", refused)


def test_the_longest_silence_is_the_one_that_goes_on_when_that_is_longer() -> None:
    state = ConnectionState(40000, "open", records=9, last_at=95.0, gap_from=80.0, gap_to=84.0)
    flow = evidence(state)
    assert flow.silent == (95.0, 100.0)
    state.gap_to = 90.0
    assert flow.silent == (80.0, 90.0)


def test_a_reset_ends_the_silence() -> None:
    state = ConnectionState(40000, "reset", records=9, last_at=90.0, end_at=93.0)
    flow = evidence(state)
    assert flow.silent == (90.0, 93.0)


def test_a_line_of_the_traffic_program_is_read_back() -> None:
    line = (
        '[{"port": 40000, "end": "open", "records": 2, "bytes": 300, "last_at": 1.5, '
        '"gap_from": 1.0, "gap_to": 1.25, "end_at": 0.0}]'
    )
    assert parse_states(line) == [ConnectionState(40000, "open", 2, 300, 1.5, 1.0, 1.25)]
