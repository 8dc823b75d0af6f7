"""The one event loop of a process, and the one place where time is read.

`now` is read once per wake-up and stays the same for everything that is done until the next. It is the kernel's
monotonic clock plus what `advance` has added, so that hours can pass in a test or a lesson. Every reader is called
once per wake-up: a reader that takes one batch per call cannot starve another.

What ends a process and what does not: an exception in a reader, a timer, a coroutine or in asyncio itself (accept
without a free descriptor) is counted in `Loop.faults`, its first of a kind is logged, and the loop goes on. Nothing
stops by it: a reader is asked again, after a pause that doubles up to a second while it raises each time (it may not
have taken what makes it readable); a timer is called again after `RETRY_SECONDS`, so that what keeps itself going by
timers still does. Fatal is only what no process can go on without: a packet socket that is lost (`LostSocketError`),
and what is no `Exception` (an interrupt, an exit).
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import signal
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from gwlbemu.errors import LostSocketError
from gwlbemu.ports.faults import Faults

Result = TypeVar("Result")
RETRY_SECONDS = 1.0  # until a timer that has raised is called again
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 1.0  # seconds that a reader which raises is left alone


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
    def instant() -> float:
        """Read the kernel's monotonic clock itself, for what is put in order with the records of other processes."""
        return time.monotonic()

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
        self._readers: dict[int, Callable[[], None]] = {}
        self._pauses: dict[int, float] = {}  # of readers that have raised, by descriptor
        self.faults = Faults()
        self.asyncio.set_exception_handler(self._failed)

    @property
    def now(self) -> float:
        """The clock's time at this wake-up, in seconds."""
        return self.clock.now

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` once per wake-up while `descriptor` is readable."""
        self._readers[descriptor] = callback
        self._pauses.pop(descriptor, None)
        self.asyncio.add_reader(descriptor, self._read, descriptor, callback)

    def remove_reader(self, descriptor: int) -> None:
        """Call its reader no more."""
        self._readers.pop(descriptor, None)
        self.asyncio.remove_reader(descriptor)

    def _read(self, descriptor: int, callback: Callable[[], None]) -> None:
        try:
            callback()
        except LostSocketError as error:
            self._end(error)
        except Exception as error:
            self.faults.note("reading", error)
            pause = self._pauses[descriptor] = min(2 * self._pauses.get(descriptor, FIRST_PAUSE / 2), LONGEST_PAUSE)
            self.asyncio.remove_reader(descriptor)
            self.asyncio.call_later(pause, self._read_again, descriptor, callback)
        else:
            if self._pauses:
                self._pauses.pop(descriptor, None)

    def _read_again(self, descriptor: int, callback: Callable[[], None]) -> None:
        if self._readers.get(descriptor) is callback:
            self.asyncio.add_reader(descriptor, self._read, descriptor, callback)

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once when the clock has reached `deadline`; one in the past is due at the next wake-up."""
        timer = Timer(deadline, callback)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._arm()
        return timer

    def call_after(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` once when `seconds` of real time have passed, whatever `advance` adds to the clock."""
        return self.asyncio.call_later(seconds, self._call, callback, partial(self.call_after, RETRY_SECONDS))

    def _call(self, callback: Callable[[], None], again: Callable[[Callable[[], None]], object]) -> None:
        """Call what a timer calls; `again` makes the timer of the next try."""
        try:
            callback()
        except LostSocketError as error:
            self._end(error)
        except Exception as error:
            self.faults.note("a timer", error)
            again(callback)

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
                self._call(timer.callback, partial(self._retry, timer))
        self._arm()

    def _retry(self, timer: Timer, _callback: Callable[[], None]) -> None:
        """Put the very timer back, so that whoever holds it can still cancel it."""
        if timer.callback is not None:
            timer.deadline = self.now + RETRY_SECONDS
            heapq.heappush(self._timers, timer)

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a coroutine beside everything else."""
        task = self.asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if isinstance(error, Exception):
                self.faults.note("a coroutine", error)
            elif error is not None:
                raise error

    def stop_on(self, *signals: signal.Signals) -> None:
        """Leave `run` when one of the signals arrives."""
        for number in signals:
            self.asyncio.add_signal_handler(number, self.asyncio.stop)

    def run(self) -> None:
        """Run until `stop` or a signal. Raises LostSocketError; every other exception is counted (see this file)."""
        self.asyncio.run_forever()
        if self._failure is not None:
            raise self._failure

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, LostSocketError):
            self._end(error)
        elif isinstance(error, Exception):  # accept without a free descriptor: asyncio tries again after a second
            self.faults.note(str(context.get("message", "asyncio")), error)
        else:
            loop.default_exception_handler(context)

    def _end(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.asyncio.stop()

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
