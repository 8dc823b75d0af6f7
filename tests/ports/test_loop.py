from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from gwlbemu.errors import LostSocketError
from gwlbemu.ports.faults import MOST_KINDS, Faults
from gwlbemu.ports.loop import FIRST_PAUSE, RETRY_SECONDS, Clock, Loop
from gwlbemu.ports.memory import pair
from gwlbemu.ports.port import Port


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_now_stands_still_within_a_turn(loop: Loop) -> None:
    seen: list[float] = []

    def look() -> None:
        seen.append(loop.now)
        time.sleep(0.01)
        seen.append(loop.now)
        loop.stop()

    loop.call_at(loop.now, look)
    loop.run()
    assert seen[0] == seen[1]


def test_a_timer_fires_once_at_its_deadline_and_not_before(loop: Loop) -> None:
    fired: list[float] = []
    deadline = loop.now + 0.05
    loop.call_at(deadline, lambda: fired.append(loop.now))
    loop.call_at(deadline + 0.05, loop.stop)
    loop.run()
    assert len(fired) == 1
    assert fired[0] >= deadline


def test_timers_fire_in_the_order_of_their_deadlines(loop: Loop) -> None:
    order: list[int] = []
    start = loop.now
    for n in (3, 1, 2):
        loop.call_at(start + n * 0.01, lambda n=n: order.append(n))  # type: ignore[misc]
    loop.call_at(start + 0.05, loop.stop)
    loop.run()
    assert order == [1, 2, 3]


def test_a_cancelled_timer_does_not_fire(loop: Loop) -> None:
    fired: list[str] = []
    loop.call_at(loop.now + 0.01, lambda: fired.append("cancelled")).cancel()
    loop.call_at(loop.now + 0.03, loop.stop)
    loop.run()
    assert fired == []


def test_advancing_the_clock_makes_an_hour_pass_at_once(loop: Loop) -> None:
    began = time.monotonic()
    loop.call_at(loop.now + 3600, loop.stop)
    loop.call_at(loop.now, lambda: loop.advance(3600))
    loop.run()
    assert time.monotonic() - began < 60


def test_the_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="backwards"):
        Clock().advance(-1)


def test_two_busy_readers_take_turns(loop: Loop) -> None:
    (a, a_far), (b, b_far) = pair(), pair()
    order: list[str] = []

    def read(name: str, port: Port) -> None:
        port.recv()
        order.append(name)
        if len(order) == 20:
            loop.stop()

    for name, port, far in (("a", a, a_far), ("b", b, b_far)):
        far.send([b"f" * 60] * 640)
        loop.add_reader(port.fileno(), lambda name=name, port=port: read(name, port))  # type: ignore[misc]
    loop.run()
    assert order.count("a") == order.count("b") == 10
    assert all(order[i] != order[i + 1] for i in range(0, 20, 2))
    for port in (a, b, a_far, b_far):
        loop.remove_reader(port.fileno())
        port.close()


def test_a_signal_ends_the_run_and_closing_cancels_what_still_runs(loop: Loop) -> None:
    async def forever() -> None:
        await loop.asyncio.create_future()

    loop.stop_on(signal.SIGUSR1)
    task = None

    def begin() -> None:
        nonlocal task
        task = loop.start(forever())
        signal.raise_signal(signal.SIGUSR1)

    loop.call_at(loop.now, begin)
    loop.run()
    loop.close()
    assert task is not None
    assert task.cancelled()


def test_a_timer_that_raises_is_counted_and_called_again_and_others_are_not_kept_waiting(loop: Loop) -> None:
    calls: list[str] = []

    def heartbeat() -> None:
        calls.append("heartbeat")
        if calls.count("heartbeat") == 1:
            raise LookupError("once")
        loop.stop()

    loop.call_at(loop.now, heartbeat)
    loop.call_at(loop.now, lambda: calls.append("other"))
    loop.call_at(loop.now + 0.01, lambda: loop.advance(RETRY_SECONDS))
    loop.run()
    assert calls == ["heartbeat", "other", "heartbeat"]
    assert [kind.split(" at ")[0] for kind in loop.faults.counts] == ["a timer: LookupError"]
    assert loop.faults.total == 1


def test_a_timer_that_has_raised_can_still_be_cancelled(loop: Loop) -> None:
    def fail() -> None:
        loop.call_at(loop.now, timer.cancel)
        loop.call_at(loop.now, lambda: loop.advance(3 * RETRY_SECONDS))
        loop.call_at(loop.now + 3 * RETRY_SECONDS, loop.stop)
        raise LookupError

    timer = loop.call_at(loop.now, fail)
    loop.run()
    assert loop.faults.total == 1


def test_a_real_time_timer_that_raises_is_called_again(loop: Loop) -> None:
    calls: list[float] = []

    def check() -> None:
        calls.append(loop.now)
        if len(calls) == 1:
            raise LookupError
        loop.stop()

    loop.call_after(0.0, check)
    loop.run()
    assert len(calls) == 2
    assert calls[1] - calls[0] >= RETRY_SECONDS * 0.9


def test_a_coroutine_that_raises_is_counted_and_the_loop_goes_on(loop: Loop) -> None:
    async def fail() -> None:
        raise LookupError

    def begin() -> None:
        loop.start(fail())

    loop.call_at(loop.now, begin)
    loop.call_at(loop.now + 0.05, loop.stop)
    loop.run()
    assert [kind.split(" at ")[0] for kind in loop.faults.counts] == ["a coroutine: LookupError"]


def test_a_reader_that_raises_is_asked_again_and_does_not_spin(loop: Loop) -> None:
    """It may not have taken what makes its descriptor readable, so that it is asked less and less often."""
    near, far = pair()
    calls: list[float] = []

    def read() -> None:
        calls.append(loop.now)
        if len(calls) == 6:
            near.recv()
            loop.stop()
            return
        raise LookupError

    try:
        far.send([bytes(60)])
        loop.add_reader(near.fileno(), read)
        loop.run()
        loop.remove_reader(near.fileno())
    finally:
        near.close()
        far.close()
    assert loop.faults.total == 5
    assert calls[-1] - calls[0] >= sum(FIRST_PAUSE * 2**n for n in range(5)) * 0.9


def test_a_lost_packet_socket_ends_the_run(loop: Loop) -> None:
    def read() -> None:
        raise LostSocketError("the packet socket is lost")

    near, far = pair()
    try:
        far.send([bytes(60)])
        loop.add_reader(near.fileno(), read)
        with pytest.raises(LostSocketError):
            loop.run()
        loop.remove_reader(near.fileno())
    finally:
        near.close()
        far.close()


def test_the_kinds_of_faults_are_bounded_and_the_first_of_each_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    for number in range(3 * MOST_KINDS):
        faults.note(f"thing {number % (2 * MOST_KINDS)}", LookupError())
    assert len(faults.counts) == MOST_KINDS + 1
    assert faults.total == 3 * MOST_KINDS
    assert len(caplog.records) == MOST_KINDS + 1
