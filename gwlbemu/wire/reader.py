"""A cursor over bytes that cannot overrun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gwlbemu.errors import WireError


class Reader:
    """Take big-endian values from the front of `data`; taking more than is left raises WireError."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._position = start
        self._end = len(data)
        if start > self._end:
            raise WireError(f"{start} bytes expected, {self._end} there")

    @property
    def position(self) -> int:
        """Offset of the next byte, counted from the start of the data."""
        return self._position

    @property
    def left(self) -> int:
        """How many bytes may still be taken within the present limit."""
        return self._end - self._position

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises WireError when fewer are left."""
        end = self._position + count
        if count < 0 or end > self._end:
            raise WireError(f"{count} bytes expected at offset {self._position}, {self.left} left")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self, size: int) -> int:
        """Return the next `size` bytes as an unsigned big-endian number. Raises WireError when fewer are left."""
        return int.from_bytes(self.take(size), "big")

    @contextmanager
    def limit(self, count: int) -> Iterator[None]:
        """Allow exactly the next `count` bytes inside the block: too many and some left over both raise WireError."""
        outer, end = self._end, self._position + count
        if count < 0 or end > outer:
            raise WireError(f"a part of {count} bytes at offset {self._position} does not fit in the {self.left} left")
        self._end = end
        try:
            yield
        finally:
            self._end = outer
        if self._position != end:
            raise WireError(f"{end - self._position} bytes left over before offset {end}")
