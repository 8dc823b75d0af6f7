"""Which flows a jump of the clock has ended; for whoever moved it."""

from __future__ import annotations

from gwlbemu.core.gateway.records import FlowRecord


class Endings:
    """Counts the flows that were alive at `began_at`, whose time was over at `reached_at`, and that are gone.

    `first` has the first `limit` of them as they were.
    """

    def __init__(self, began_at: float, reached_at: float, limit: int) -> None:
        self._began_at, self._reached_at, self._limit = began_at, reached_at, limit
        self.count = 0
        self.first: list[FlowRecord] = []

    def note(self, flow: FlowRecord) -> None:
        """Take notice of a flow that is about to go, for whatever reason."""
        if flow.placed_at <= self._began_at < flow.expires_at <= self._reached_at:
            self.count += 1
            if len(self.first) < self._limit:
                self.first.append(flow)
