"""A client's hold on its traces: what it starts, renews, reads and ends, against nodes that only remember."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from gwlbemu.errors import LabError, TraceGoneError
from gwlbemu.lab.running import RunningLab
from gwlbemu.trials import trace
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.traces import traced_packet
from tests.trials.fake_lab import FakeLab, event
from tests.waiting import wait_until


def session(lab: FakeLab, match: list[Any] | None = None) -> TraceSession:
    return TraceSession(cast(RunningLab, lab), match or [])


def test_it_reads_what_is_new_at_every_node_and_ends_every_trace() -> None:
    lab = FakeLab()
    with session(lab, [(6, "10.0.0.1", "10.0.0.2", 1000, 80)]) as traced:
        assert lab.matches == {name: [[6, "10.0.0.1", "10.0.0.2", 1000, 80]] for name in ("node-a", "node-b")}
        assert traced.nodes == ("node-a", "node-b")
        lab.events["node-a"].append(event(1, at=1.0))
        assert traced.read() == [traced_packet("node-a", event(1, at=1.0))]
        assert traced.read() == []
        lab.events["node-b"].append(event(1, at=2.0))
        assert traced.read_node("node-b") == [traced_packet("node-b", event(1, at=2.0))]
    assert lab.live == set()


def test_it_renews_itself_while_it_lives_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "RENEW_SECONDS", 0.001)
    lab = FakeLab()
    before = threading.active_count()
    with session(lab):
        wait_until(lambda: lab.count("trace_renew") >= 10)
        assert {name for name, verb in lab.asked if verb == "trace_renew"} == {"node-a", "node-b"}
    assert threading.active_count() == before
    assert [verb for _, verb in lab.asked[-2:]] == ["trace_stop", "trace_stop"]


def test_a_node_that_does_not_answer_takes_no_part_and_is_named() -> None:
    lab = FakeLab(frozen={"node-a"})
    with session(lab) as traced:
        assert traced.nodes == ("node-b",)
        assert list(traced.silent) == ["node-a"]
        assert "frozen" in traced.silent["node-a"]


def test_a_node_that_freezes_meanwhile_is_an_error_for_who_reads_and_none_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "RENEW_SECONDS", 0.001)
    lab = FakeLab()
    with session(lab) as traced:
        lab.frozen.add("node-a")
        with pytest.raises(LabError, match="node-a is frozen"):
            traced.read()
        assert traced.read_node("node-b") == []
    assert {name for name, _ in lab.live} == {"node-a"}


def test_a_trace_that_is_over_is_an_error_with_a_code() -> None:
    lab = FakeLab()
    with session(lab) as traced:
        lab.live.clear()
        with pytest.raises(TraceGoneError) as caught:
            traced.read()
        assert caught.value.code == "TraceNotFound"


def test_it_ends_when_its_block_raises() -> None:
    lab = FakeLab()
    with pytest.raises(ZeroDivisionError), session(lab):
        raise ZeroDivisionError
    assert lab.live == set()
