from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from gwlbemu.ports.loop import Clock, Loop
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


def test_an_exception_in_a_reader_a_timer_or_a_coroutine_ends_the_run_and_is_raised(loop: Loop) -> None:
    async def fail() -> None:
        raise LookupError("in a coroutine")

    def fail_at_once() -> None:
        raise LookupError("in a timer")

    loop.call_at(loop.now, fail_at_once)
    with pytest.raises(LookupError, match="in a timer"):
        loop.run()
    other = Loop()

    def start() -> None:
        other.start(fail())

    other.call_at(other.now, start)
    with pytest.raises(LookupError, match="in a coroutine"):
        other.run()
    other.close()
