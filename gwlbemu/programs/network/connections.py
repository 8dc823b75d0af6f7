"""The connections of a node, read from the kernel in slices: nothing waits while a hundred thousand are read."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from gwlbemu.core.network.tables import NUMBER_MASK
from gwlbemu.net import conntrack
from gwlbemu.net.conntrack import Entry

FRESH_SECONDS = 1.0  # as long as what was read serves others
PAGES_SECONDS = 10.0  # as long as it serves who goes on from page to page
_AT_ONCE = 64  # connections whose time passes between two turns of the loop


class Live(NamedTuple):
    """A connection; the first two fields order them by when they began."""

    began: int
    id: int
    mark: int
    protocol: int
    entry: Entry


class Connections:
    """Reads the connections of the calling thread's namespace that have a mark; `now` is seconds of real time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._read: Sequence[Live] = ()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def live(self, oldest: float = FRESH_SECONDS) -> Sequence[Live]:
        """Return all of them, who began first first, as they were `oldest` seconds ago or later."""
        async with self._lock:
            if self._now() - self._read_at >= oldest:
                found = []
                for entries in conntrack.entries():
                    identities = ((entry.identity, entry) for entry in entries)
                    found += [Live(*each, entry) for each, entry in identities if each[2] & NUMBER_MASK]
                    await asyncio.sleep(0)
                found.sort(key=itemgetter(0, 1))
                self._read, self._read_at = found, self._now()
            return self._read

    async def by_number(self) -> Counter[int]:
        """Return how many there are by the number of their target."""
        return Counter(each.mark & NUMBER_MASK for each in await self.live())

    async def page(self, limit: int, cursor: str, newest_first: bool, port: int = 0) -> tuple[Sequence[Live], str]:
        """Return at most `limit` of them and the cursor of the next page, "" when there is none; with `port` only those
        of clients' ports of that number.

        A connection that lives throughout is on exactly one page.
        """
        live = await self.live(PAGES_SECONDS if cursor else 0)
        if port:
            live = [each for each in live if each.entry.original.source_port == port]
        at = _place(cursor)
        if newest_first:
            end = bisect_left(live, at, key=lambda each: each[:2]) if at else len(live)
            found = list(reversed(live[max(end - limit, 0) : end]))
            more = end > limit
        else:
            start = bisect_right(live, at, key=lambda each: each[:2]) if at else 0
            found = list(live[start : start + limit])
            more = start + limit < len(live)
        return found, f"{found[-1].began}-{found[-1].id}" if more and found else ""

    async def let_pass(self, seconds: float) -> list[Live]:
        """Let `seconds` pass for all; return those that this has ended, who began first first."""
        live = await self.live(0)
        ended = [each for each in live if each.entry.timeout <= seconds]
        left = iter(live)
        while some := list(islice(left, _AT_ONCE)):
            conntrack.shorten([each.entry for each in some], seconds)
            await asyncio.sleep(0)
        self._read_at = float("-inf")
        return ended


def _place(cursor: str) -> tuple[int, int] | None:
    began, _, number = cursor.partition("-")
    return (int(began), int(number)) if began.isdecimal() and number.isdecimal() else None
