"""The one event loop of a process, and the one place where time is read.

`now` is read once per wake-up and stays the same for everything that is done until the next. It is the kernel's
monotonic clock plus what `advance` has added, so that hours can pass in a test or a lesson. Every reader is called
once per wake-up: a reader that takes one batch per call cannot starve another.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Clock:
    """Seconds since some fixed instant; never goes backwards."""

    def __init__(self) -> None:
        self._offset = 0.0
        self.now = time.monotonic()

    def tick(self) -> None:
        """Read the time."""
        self.now = time.monotonic() + self._offset

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds` (not negative)."""
        if seconds < 0:
            raise ValueError("time does not go backwards")
        self._offset += seconds
        self.tick()

    def since_boot(self) -> float:
        """Now, as the kernel and every other process has it: without what `advance` added."""
        return self.now - self._offset

    @staticmethod
    def wall_ns() -> int:
        """Return the time of day, in nanoseconds since 1970, for records that people read."""
        return time.time_ns()


class _TickingSelector(selectors.EpollSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        self._clock.tick()
        return events


class Timer:
    """One waiting call; `cancel` takes it back."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call; harmless when it has been called already."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.deadline < other.deadline


class Loop:
    """Readers, timers on `clock`, coroutines and signals; close it when done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asyncio = asyncio.SelectorEventLoop(_TickingSelector(self.clock))
        self._timers: list[Timer] = []
        self._wake_up: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None
        self.asyncio.set_exception_handler(self._failed)

    @property
    def now(self) -> float:
        """The clock's time at this wake-up, in seconds."""
        return self.clock.now

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` once per wake-up while `descriptor` is readable."""
        self.asyncio.add_reader(descriptor, callback)

    def remove_reader(self, descriptor: int) -> None:
        """Call its reader no more."""
        self.asyncio.remove_reader(descriptor)

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once when the clock has reached `deadline`; one in the past is due at the next wake-up."""
        timer = Timer(deadline, callback)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._arm()
        return timer

    def call_after(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` once when `seconds` of real time have passed, whatever `advance` adds to the clock."""
        return self.asyncio.call_later(seconds, callback)

    def advance(self, seconds: float) -> None:
        """Move the clock; timers that became due run at the next wake-up."""
        self.clock.advance(seconds)
        self._arm()

    def _arm(self) -> None:
        if self._wake_up is not None:
            self._wake_up.cancel()
            self._wake_up = None
        if self._timers:
            delay = max(self._timers[0].deadline - self.clock.now, 0.0)
            self._wake_up = self.asyncio.call_later(delay, self._run_due)

    def _run_due(self) -> None:
        self._wake_up = None
        now = self.clock.now
        due = []
        while self._timers and self._timers[0].deadline <= now:
            due.append(heapq.heappop(self._timers))
        for timer in due:
            if timer.callback is not None:
                timer.callback()
        self._arm()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a coroutine beside everything else."""
        task = self.asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    def stop_on(self, *signals: signal.Signals) -> None:
        """Leave `run` when one of the signals arrives."""
        for number in signals:
            self.asyncio.add_signal_handler(number, self.asyncio.stop)

    def run(self) -> None:
        """Run until `stop` or a signal; an exception in a reader, timer or started coroutine ends it and is raised."""
        self.asyncio.run_forever()
        if self._failure is not None:
            raise self._failure

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), Exception):
            self._failure = self._failure or context["exception"]
            loop.stop()
        else:
            loop.default_exception_handler(context)

    def stop(self) -> None:
        """Leave `run` at the end of this wake-up."""
        self.asyncio.stop()

    def run_until_complete(self, work: Coroutine[None, None, Result]) -> Result:
        """Run until a coroutine has ended, and return what it returns or raise what it raises."""
        return self.asyncio.run_until_complete(work)

    def close(self) -> None:
        """Cancel what still runs and give everything back; twice is harmless."""
        if self.asyncio.is_closed():
            return
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            self.asyncio.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self.asyncio.run_until_complete(self.asyncio.shutdown_asyncgens())
        self.asyncio.close()
