"""Flows whose ports a new connection uses already, while packets of theirs may still be at their targets.

Without this a RST that an appliance returns behind the next SYN would end nothing and arrive nowhere. AWS does not say
how long; ours is fin_linger_seconds.
"""

from __future__ import annotations

from gwlbemu.core.gateway.flows import Flow

CAPACITY = 1 << 12  # then the oldest is forgotten


class FormerFlows:
    """The last flow of each endpoint and key whose ports were used again, for `linger` seconds."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._flows: dict[tuple[int, int], tuple[Flow, float]] = {}  # with the end of its time, the first to end first

    def add(self, flow: Flow, now: float) -> None:
        """Remember a flow that has left the table."""
        self.forget(flow)
        while self._flows:
            oldest, (_, until) = next(iter(self._flows.items()))
            if now < until and len(self._flows) < CAPACITY:
                break
            del self._flows[oldest]
        self._flows[flow.tunnel.endpoint, flow.key] = flow, now + self._linger

    def find(self, endpoint: int, key: int, now: float) -> Flow | None:
        """Return the former flow of an endpoint and key, unless its time is over."""
        flow, until = self._flows.get((endpoint, key), (None, 0.0))
        return flow if now < until else None

    def forget(self, flow: Flow) -> None:
        """Forget the former flow with the endpoint and key of `flow`."""
        self._flows.pop((flow.tunnel.endpoint, flow.key), None)
