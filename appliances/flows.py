"""A bounded table that forgets what has been idle."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
SWEEP = 8  # entries looked at per added flow, so that forgetting keeps up with adding


class IdleTable(Generic[Key, Value]):
    """Values by flow key, each with an idle deadline; when `capacity` is reached the longest unused entry goes."""

    def __init__(self, capacity: int = 250_000) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, *, now: float) -> Value | None:
        """Return the value, None when there is none or its idle timeout has passed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= now:
            del self._entries[key]
            return None
        return entry[0]

    def put(self, key: Key, value: Value, *, timeout: float, now: float) -> None:
        """Add an entry or restart the idle clock of one: it is forgotten `timeout` seconds after the last call."""
        if key not in self._entries:
            self._make_room(now)
        self._entries[key] = (value, now + timeout)
        self._entries.move_to_end(key)

    def remove(self, key: Key) -> None:
        """Forget an entry, if there is one."""
        self._entries.pop(key, None)

    def _make_room(self, now: float) -> None:
        for _ in range(SWEEP):
            if not self._entries:
                return
            oldest = next(iter(self._entries))
            if self._entries[oldest][1] > now and len(self._entries) < self._capacity:
                return
            del self._entries[oldest]
