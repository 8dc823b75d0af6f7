"""Flows in the order in which they were placed, readable by the page while the table changes.

Every flow has a number, and a page begins at a number: whoever reads on later misses no flow that has been there all
the time and meets none twice, whatever came and went meanwhile. Flows stand in chunks that only their last flow takes
along, so that a page costs what it looks at, however far back it is. A chunk costs a flow eight bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

CHUNK = 256
LOOKED = 4096  # places that one page looks at: what is left of an old crowd may be thin, then pages are short


class Chunk:
    """Neighbours by number; a place is None when its flow has gone."""

    __slots__ = ("items", "left", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.items: list[Ordered | None] = []
        self.left = 0


class Ordered:
    """What can stand in an Order: it knows its place."""

    __slots__ = ("chunk", "index")
    chunk: Chunk
    index: int


T = TypeVar("T", bound=Ordered)


class Order(Generic[T]):
    """The items by number. `next_number` is that of the one to come."""

    def __init__(self) -> None:
        self._chunks: dict[int, Chunk] = {}
        self._numbers: list[int] = []  # of the chunks, ascending
        self._newest: Chunk | None = None
        self.next_number = 0

    def add(self, item: T) -> None:
        """Give an item the next number."""
        number, index = divmod(self.next_number, CHUNK)
        chunk = self._newest
        if chunk is None or chunk.number != number:
            chunk = self._newest = self._chunks[number] = Chunk(number)
            self._numbers.append(number)
        chunk.items.append(item)
        chunk.left += 1
        item.chunk, item.index = chunk, index
        self.next_number += 1

    def remove(self, item: T) -> None:
        """Take an item out; its number is not given again."""
        chunk = item.chunk
        chunk.items[item.index] = None
        chunk.left -= 1
        if not chunk.left and len(chunk.items) == CHUNK:
            del self._chunks[chunk.number]
            del self._numbers[bisect_left(self._numbers, chunk.number)]

    def number_of(self, item: T) -> int:
        """Return the number of an item that is in."""
        return item.chunk.number * CHUNK + item.index

    def page(self, start: int, end: int, limit: int) -> tuple[list[T], int | None]:
        """Return at most `limit` items from number `start` towards `end`, and the number to go on at (None: no more).

        An `end` below `start` means backwards. A page may have fewer items, or none, and yet not be the last one.
        """
        step = 1 if start <= end else -1
        found: list[T] = []
        at, looked = start, 0
        while (at - end) * step <= 0:
            if looked == LOOKED or len(found) == limit:
                return found, at
            number, index = divmod(at, CHUNK)
            chunk = self._chunks.get(number)
            if chunk is None:
                neighbour = self._neighbour(number, step)
                if neighbour is None:
                    break
                at = neighbour * CHUNK + (0 if step > 0 else CHUNK - 1)
                continue
            if index < len(chunk.items) and (item := chunk.items[index]) is not None:
                found.append(item)  # type: ignore[arg-type]
            at += step
            looked += 1
        return found, None

    def _neighbour(self, number: int, step: int) -> int | None:
        """Return the number of the next chunk that is there, in that direction."""
        at = bisect_right(self._numbers, number) if step > 0 else bisect_left(self._numbers, number) - 1
        return self._numbers[at] if 0 <= at < len(self._numbers) else None
