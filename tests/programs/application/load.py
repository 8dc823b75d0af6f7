"""Clients that ask all the time, and what became of each request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.programs.application.http_lab import Http

CLIENTS, PER_SECOND = 4, 200.0


class Load:
    """Keep-alive clients with PER_SECOND requests together. `found` counts targets by name, other answers by their
    status, and what was lost by the error.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    @property
    def lost(self) -> dict[str, int]:
        """What was not answered by a target."""
        return {what: count for what, count in self.found.items() if not what.startswith("t")}

    def total(self) -> int:
        return self.found.total()

    def reached(self, total: float) -> bool:
        """Whether there have been so many requests."""
        return self.total() > total

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        client: Http | None = None
        due = time.monotonic() + number / PER_SECOND
        try:
            while not self._stopped.wait(max(0.0, due - time.monotonic())):
                due += CLIENTS / PER_SECOND
                try:
                    client = client or Http()
                    answer = client.ask("/x")
                    what = answer.body.decode() if answer.status == 200 else str(answer.status)
                    ended = answer.value("Connection") == "close"
                except (OSError, EOFError, ValueError) as error:
                    what, ended = type(error).__name__, True
                with self._lock:
                    self.found[what] += 1
                if ended and client is not None:
                    client.close()
                    client = None
        finally:
            if client is not None:
                client.close()


@contextmanager
def load() -> Iterator[Load]:
    """Let clients ask until the end of the block."""
    made = Load()
    made.start()
    try:
        yield made
    finally:
        made.stop()
