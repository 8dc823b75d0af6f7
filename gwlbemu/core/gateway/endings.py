"""Which flows a jump of the clock has ended; for whoever moved it."""

from __future__ import annotations

from gwlbemu.core.gateway.records import FlowRecord


class Endings:
    """Counts the flows that were alive at `began_at`, whose time was over at `reached_at`, and that are gone."""

    def __init__(self, began_at: float, reached_at: float, limit: int) -> None:
        self._began_at, self.reached_at, self._limit = began_at, reached_at, limit
        self.count = 0
        self._known: list[tuple[int, FlowRecord]] = []

    def is_of(self, placed_at: float, expires_at: float) -> bool:
        """Return whether it is the jump that ends a flow."""
        return placed_at <= self._began_at < expires_at <= self.reached_at

    def note(self, number: int, flow: FlowRecord) -> None:
        """Take notice of a flow that the jump has ended and that is about to go; `number` is its place among all."""
        self.count += 1
        if len(self._known) < self._limit:
            self._known.append((number, flow))

    def known(self) -> list[FlowRecord]:
        """Return those that were noted first, at most `limit`, as they were and in the order of their placing."""
        return [flow for _, flow in sorted(self._known)]
