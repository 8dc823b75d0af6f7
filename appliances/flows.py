"""A bounded table that forgets what has been idle."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
SWEEP = 8  # entries looked at per added flow, so that forgetting keeps up with adding


class IdleTable(Generic[Key, Value]):
    """Values by flow key, each with an idle deadline; when `capacity` is reached the longest unused entry goes.

    `displaced` counts those that went before their time. `forgotten` is called with every value that leaves.
    """

    def __init__(self, capacity: int = 250_000, forgotten: Callable[[Value], None] = lambda value: None) -> None:
        self.displaced = 0
        self._capacity, self._forgotten = capacity, forgotten
        self._entries: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, *, now: float) -> Value | None:
        """Return the value, None when there is none or its idle timeout has passed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= now:
            self.remove(key)
            return None
        return entry[0]

    def put(self, key: Key, value: Value, *, timeout: float, now: float) -> None:
        """Add an entry or restart the idle clock of one: it is forgotten `timeout` seconds after the last call."""
        there = self._entries.get(key)
        if there is None:
            self._make_room(now)
        elif there[0] is not value:
            self._forgotten(there[0])
        self._entries[key] = (value, now + timeout)
        self._entries.move_to_end(key)

    def remove(self, key: Key) -> None:
        """Forget an entry, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._forgotten(entry[0])

    def _make_room(self, now: float) -> None:
        for _ in range(SWEEP):
            if not self._entries:
                return
            oldest = next(iter(self._entries))
            if self._entries[oldest][1] > now:
                if len(self._entries) < self._capacity:
                    return
                self.displaced += 1
            self.remove(oldest)
