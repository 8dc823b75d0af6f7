"""The flow table: which target a flow is bound to, and since when it has been silent.

The table, not the hash, keeps a live flow on its target (guide, Gateway Load Balancers, "Flow stickiness"). A flow is
forgotten at the instant its idle timeout is over: whoever looks it up compares, so it does not matter when the sweep
comes by. The sweep only gives memory back. It walks buckets of one second, each a linked list through the flows
themselves, so that taking a flow out costs the same wherever it is and a call does no more work than it is told to.

    what                        seconds (guide, Gateway Load Balancers, "Idle timeout")
    TCP                         tcp.idle_timeout.seconds (350), 2-/3-tuple 350
    everything else             120, fixed
    TCP after both FINs         fin_linger_seconds: ours, AWS does not say
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

from gwlbemu.core.elb.target_group import Member
from gwlbemu.core.gateway.key import key_bytes
from gwlbemu.core.gateway.lookup import lookups
from gwlbemu.core.gateway.tunnel import Tunnel

OTHER_IDLE_SECONDS = 120.0
_BUCKET_SECONDS = 1.0

# Flow.flags
FROM_HIGH = 1  # the first packet came from the higher end of the key
FIN_LOW, FIN_HIGH = 2, 4  # a FIN from that end came back from the target
BOTH_FINS = FIN_LOW | FIN_HIGH
GENERATION_SHIFT = 3  # above: how often the flow moved


class _Link:
    __slots__ = ("following", "preceding")

    def __init__(self) -> None:
        self.preceding: _Link | None = self
        self.following: _Link | None = self


class Flow(_Link):
    """One flow. Times are absolute seconds; packets and bytes are inner ones of both directions.

    `timeout` is seconds after the last packet. Negative, it is seconds after the first one, of a half-open flow:
    nothing has come back yet.
    """

    __slots__ = (
        "bytes",
        "cookie",
        "flags",
        "key",
        "last_seen_at",
        "packets",
        "placed_at",
        "target",
        "timeout",
        "tunnel",
    )

    def __init__(
        self, key: int, target: Member, tunnel: Tunnel, cookie: int, timeout: float, flags: int, now: float
    ) -> None:
        self.preceding = self.following = None
        self.key = key
        self.target = target
        self.tunnel = tunnel
        self.cookie = cookie
        self.timeout = timeout
        self.flags = flags
        self.last_seen_at = self.placed_at = now
        self.packets = self.bytes = 0

    @property
    def expires_at(self) -> float:
        return self.placed_at - self.timeout if self.timeout < 0 else self.last_seen_at + self.timeout

    @property
    def generation(self) -> int:
        return self.flags >> GENERATION_SHIFT


class FlowTable:
    """The flows of one node by endpoint and key, and the buckets of their deadlines.

    `catch_up` brings in what the fast path has carried of a flow (its key); it is called before a flow is judged over.
    """

    def __init__(self, endpoints: tuple[int, ...], catch_up: Callable[[bytes], None] | None = None) -> None:
        self._catch_up = catch_up
        self.by_endpoint: dict[int, dict[int, Flow]] = {endpoint: {} for endpoint in endpoints}
        self.lookups = {endpoint: lookups(flows) for endpoint, flows in self.by_endpoint.items()}
        self._buckets: dict[int, _Link] = {}
        self._due: list[int] = []  # a heap of the buckets' numbers

    def __len__(self) -> int:
        return sum(map(len, self.by_endpoint.values()))

    def __iter__(self) -> Iterator[Flow]:
        for table in self.by_endpoint.values():
            yield from table.values()

    def newest_first(self) -> Iterator[Flow]:
        """Yield the flows, the one placed last first; costs nothing for those that are not asked for."""
        tables = (reversed(table.values()) for table in self.by_endpoint.values())
        return heapq.merge(*tables, key=lambda flow: -flow.placed_at)

    def add(self, flow: Flow) -> None:
        self.by_endpoint[flow.tunnel.endpoint][flow.key] = flow
        flow.target.flows += 1
        self._enqueue(flow)

    def remove(self, flow: Flow) -> None:
        del self.by_endpoint[flow.tunnel.endpoint][flow.key]
        for lookup in self.lookups[flow.tunnel.endpoint].values():
            lookup.forget(flow.key)
        flow.target.flows -= 1
        _unlink(flow)

    def catch_up(self, flow: Flow) -> None:
        """Bring in what the fast path has carried of a flow."""
        if self._catch_up is not None:
            self._catch_up(key_bytes(flow.tunnel.endpoint, flow.key))

    def is_over(self, flow: Flow, now: float) -> bool:
        """Whether a flow has been silent for its idle timeout, on the fast path too."""
        if now < flow.expires_at:
            return False
        self.catch_up(flow)
        return now >= flow.expires_at

    def set_timeout(self, flow: Flow, timeout: float) -> None:
        """Give a flow another idle timeout; the clock goes on from the last packet."""
        flow.timeout = timeout
        _unlink(flow)
        self._enqueue(flow)

    def overdue(self, now: float, budget: int) -> Iterator[Flow]:
        """Yield the flows whose time is over, looking at no more than `budget` of them.

        The caller removes each one it gets.
        """
        while self._due and (self._due[0] + 1) * _BUCKET_SECONDS <= now:
            head = self._buckets[self._due[0]]
            while (flow := head.following) is not head:
                if budget == 0:
                    return
                budget -= 1
                assert isinstance(flow, Flow)
                if self.is_over(flow, now):
                    yield flow
                else:
                    _unlink(flow)
                    self._enqueue(flow)
            del self._buckets[heapq.heappop(self._due)]

    def next_deadline(self) -> float:
        """Return when `overdue` next has something to look at: at most a second after a flow's time is over."""
        return (self._due[0] + 1) * _BUCKET_SECONDS if self._due else math.inf

    def _enqueue(self, flow: Flow) -> None:
        number = int(flow.expires_at // _BUCKET_SECONDS)
        head = self._buckets.get(number)
        if head is None:
            head = self._buckets[number] = _Link()
            heapq.heappush(self._due, number)
        last = head.preceding
        assert last is not None
        flow.preceding, flow.following = last, head
        last.following = head.preceding = flow


def _unlink(flow: Flow) -> None:
    before, after = flow.preceding, flow.following
    assert before is not None
    assert after is not None
    before.following, after.preceding = after, before
    flow.preceding = flow.following = None
