"""Leases of traces, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gwlbemu.errors import SettingError, TraceGoneError
from gwlbemu.programs.gateway.trace import Trace
from gwlbemu.programs.gateway.traces import CHECK_SECONDS, LEASE_SECONDS, MOST_TRACES, Traces


class Time:
    """Real time as a node has it, and the calls that wait for theirs."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.active: list[bool] = []
        self._calls: list[tuple[float, Callable[[], None]]] = []
        self.traces = Traces(now=lambda: self.now, later=self._later, active=self.active.append)

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._calls.append((self.now + seconds, callback))

    def stand_still(self, seconds: float) -> None:
        """Let time pass without a call, as for a frozen process."""
        self.now += seconds

    def run(self) -> None:
        """Make the calls that are due."""
        due, self._calls = (
            [each for each in self._calls if each[0] <= self.now],
            [each for each in self._calls if each[0] > self.now],
        )
        for _, callback in due:
            callback()

    def pass_by(self, seconds: float) -> None:
        """Let time pass as a process that runs sees it."""
        end = self.now + seconds
        while self._calls and min(self._calls)[0] <= end:
            self.now = min(self._calls, key=lambda each: each[0])[0]
            self.run()
        self.now = end

    @property
    def waiting(self) -> int:
        return len(self._calls)


@pytest.fixture
def time() -> Time:
    return Time()


def test_a_trace_ends_when_its_lease_is_over_and_not_before(time: Time) -> None:
    identity = time.traces.start(Trace())
    time.pass_by(LEASE_SECONDS - 0.01)
    assert time.active == [True]
    time.pass_by(CHECK_SECONDS + 0.01)
    assert time.active == [True, False]
    assert time.traces.live == []
    for verb in (time.traces.renew, time.traces.stop):
        with pytest.raises(TraceGoneError, match=f"trace {identity} is over") as caught:
            verb(identity)
        assert caught.value.code == "TraceNotFound"


def test_a_renewed_trace_goes_on(time: Time) -> None:
    trace = Trace()
    identity = time.traces.start(trace)
    for _ in range(20):
        time.pass_by(LEASE_SECONDS / 2)
        assert time.traces.renew(identity) is trace
    assert time.active == [True]
    time.pass_by(LEASE_SECONDS + CHECK_SECONDS)
    assert time.active == [True, False]


def test_the_traces_of_two_owners_end_one_by_one(time: Time) -> None:
    first, second = Trace(), Trace()
    one, other = time.traces.start(first), time.traces.start(second)
    assert time.traces.live == [first, second]
    assert time.traces.stop(one) is first
    assert (time.traces.live, time.active) == ([second], [True])
    assert time.traces.renew(other) is second
    assert time.traces.stop(other) is second
    assert (time.traces.live, time.active) == ([], [True, False])


def test_a_short_lease_ends_while_a_longer_one_goes_on(time: Time) -> None:
    time.traces.start(Trace(), 1.0)
    long = time.traces.start(Trace(), 10.0)
    time.pass_by(2.0)
    assert len(time.traces.live) == 1
    time.traces.renew(long)
    assert time.active == [True]


def test_time_in_which_the_node_itself_stood_still_is_not_counted(time: Time) -> None:
    """A frozen node cannot answer a renewal: it does not throw away the trace of an owner who is there."""
    identity = time.traces.start(Trace())
    time.pass_by(LEASE_SECONDS / 2)
    time.stand_still(3600)
    time.run()
    time.traces.renew(identity)
    time.stand_still(3600)
    time.run()
    time.pass_by(LEASE_SECONDS + 2 * CHECK_SECONDS)
    assert time.active == [True, False]


def test_nothing_waits_while_there_is_no_trace(time: Time) -> None:
    time.traces.stop(time.traces.start(Trace()))
    time.pass_by(1.0)
    assert time.waiting == 0
    time.traces.start(Trace())
    assert time.waiting == 1
    time.pass_by(2 * LEASE_SECONDS)
    assert time.waiting == 0


def test_there_is_a_most_of_traces(time: Time) -> None:
    started = [time.traces.start(Trace()) for _ in range(MOST_TRACES)]
    assert len(set(started)) == MOST_TRACES
    with pytest.raises(SettingError, match="32 traces run on this node already") as caught:
        time.traces.start(Trace())
    assert caught.value.code == "TooManyTraces"
    time.traces.stop(started[0])
    time.traces.start(Trace())


@pytest.mark.parametrize("seconds", [0, -1, 0.01, 61, float("nan"), float("inf")])
def test_a_lease_has_bounds(time: Time, seconds: float) -> None:
    with pytest.raises(SettingError, match=r"^lease_seconds .*: expected seconds from 0.1 to 60$"):
        time.traces.start(Trace(), seconds)
    assert time.active == []
