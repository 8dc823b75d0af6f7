"""Flows that have ended before their idle timeout was over, while packets of theirs are still on their way.

Where a new connection uses their ports already: without this a RST that an appliance returns behind the next SYN would
arrive nowhere, and a RST by which an end answers what is left of the old connection would end the new one's flow. AWS
does not say what becomes of them, and how long; ours is fin_linger_seconds. What else comes back of a flow that a RST,
a failed target or a jump of the clock has ended is dropped like what is of no flow, but known to be no target's doing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gwlbemu.core.gateway.flows import Flow
from gwlbemu.wire.tcp import RST, SYN

CAPACITY = 1 << 12  # then the oldest is forgotten


@dataclass(slots=True)
class Former:
    """A flow that has left the table, and until when it is known.

    `sequence` is that of the SYN that has taken its ports (None: none has yet), `from_high` tells whether that came
    from the higher end of the key, and `reset` whether a RST of the flow has come back. Of one that does not `go_on`
    nothing comes out any more.
    """

    flow: Flow
    until: float
    sequence: int | None = None
    from_high: bool = False
    reset: bool = False
    goes_on: bool = True

    def is_before(self, sequence: int, from_high: bool) -> bool:
        """Whether that end has sent a sequence number before its SYN (RFC 9293 section 3.4: modulo 2^32)."""
        if self.sequence is None or from_high != self.from_high:
            return False
        return 0 < (self.sequence - sequence) & 0xFFFFFFFF < 1 << 31

    def may_return(self, cookie: int, flags: int) -> bool:
        """Whether a segment that comes back in the tunnel is one of it that goes on.

        Nothing does before another connection has its ports, then all but a SYN; behind a RST nothing but RSTs.
        """
        if self.sequence is None or cookie != self.flow.cookie:
            return False
        return not flags & SYN and (not self.reset or flags & RST != 0)


class FormerFlows:
    """The last flow of each endpoint and key that has ended early, for `linger` seconds."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._flows: dict[tuple[int, int], Former] = {}  # whose time ends first is the first

    def add(self, flow: Flow, now: float, *, reset: bool = False, goes_on: bool = True) -> None:
        """Remember a flow that leaves the table, `reset` when a RST has come back.

        One that does not go on takes the room of none that does.
        """
        place = flow.tunnel.endpoint, flow.key
        self._flows.pop(place, None)
        while self._flows:
            oldest, former = next(iter(self._flows.items()))
            if now < former.until and (len(self._flows) < CAPACITY or not goes_on):
                break
            del self._flows[oldest]
        if len(self._flows) < CAPACITY:
            self._flows[place] = Former(flow, now + self._linger, reset=reset, goes_on=goes_on)

    def note_syn(self, endpoint: int, key: int, now: float, sequence: int, from_high: bool) -> None:
        """Note the SYN that takes the ports of a former flow, if there is one and none has yet."""
        former = self.find(endpoint, key, now)
        if former is not None and former.goes_on and former.sequence is None:
            former.sequence, former.from_high = sequence, from_high

    def find(self, endpoint: int, key: int, now: float) -> Former | None:
        """Return the former flow of an endpoint and key, unless its time is over."""
        former = self._flows.get((endpoint, key))
        return former if former is not None and now < former.until else None
