"""The flow table: which target a flow is bound to, and since when it has been silent.

The table, not the hash, keeps a live flow on its target (guide, Gateway Load Balancers, "Flow stickiness"). A flow is
forgotten at the instant its idle timeout is over: whoever looks it up compares, so it does not matter when the sweep
comes by. The sweep only gives memory back. It walks buckets of one second, each a linked list through the flows
themselves, so that taking a flow out costs the same wherever it is and a call does no more work than it is told to.

    what                        seconds (guide, Gateway Load Balancers, "Idle timeout")
    TCP                         tcp.idle_timeout.seconds (350), 2-/3-tuple 350
    everything else             120, fixed
    nothing but ICMP errors     icmp_error_timeout_seconds: ours, until another packet belongs to it
    TCP after both FINs         fin_linger_seconds: ours, AWS does not say
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from gwlbemu.core.gateway.key import key_bytes, key_parts
from gwlbemu.core.gateway.lookup import lookups
from gwlbemu.core.gateway.order import Order, Ordered
from gwlbemu.core.gateway.tally import Tally
from gwlbemu.core.gateway.targets import GatewayMember
from gwlbemu.core.gateway.tunnel import Tunnel

OTHER_IDLE_SECONDS = 120.0
_BUCKET_SECONDS = 1.0


class FlowState(NamedTuple):
    """What has happened to a flow. Its ends are those of its key, the lower (address, port) and the higher one."""

    from_high: bool  # the first packet came from the higher end
    half_open: bool = False  # nothing has come back from the target yet, and emulation.half_open_timeout_seconds is set
    fin_from_low: bool = False  # a FIN from that end has come back from the target
    fin_from_high: bool = False
    moves: int = 0  # how often it was bound to another target
    only_errors: bool = False  # nothing but ICMP errors has belonged to it
    reset_sent: bool = False  # a RST of either end has gone to the target
    told: int = 0  # its target failed, and ends have been answered with a RST: 1 the lower, 2 the higher

    @property
    def is_closed(self) -> bool:
        """Whether FINs of both ends have come back."""
        return self.fin_from_low and self.fin_from_high

    @property
    def is_reusable(self) -> bool:
        """Whether a SYN is no packet of it but begins a new connection."""
        return self.is_closed or self.reset_sent or bool(self.told)

    @property
    def is_carriable(self) -> bool:
        """Whether its packets need no decision while its target is not held: then the fast path may carry them."""
        return not self.half_open and not self.is_closed and not self.only_errors


@lru_cache(1 << 10)
def _shared(state: FlowState) -> FlowState:
    """Return one object for all equal states: a million flows have a handful of them."""
    return state


class _Link(Ordered):
    __slots__ = ("following", "preceding")

    def __init__(self) -> None:
        self.preceding: _Link | None = self
        self.following: _Link | None = self


class Flow(_Link):
    """One flow. Times are absolute seconds; packets are inner ones to its targets and from them, bytes of both. `tally`
    is that of its target, endpoint and protocol.

    `idle_timeout` is how many seconds after its last packet the flow is over. Of a half-open flow it is 0, so that no
    packet of it goes the hot way, and the flow is over half_open_timeout_seconds after its first packet.
    """

    __slots__ = (
        "bytes",
        "cookie",
        "idle_timeout",
        "key",
        "last_seen_at",
        "packets_from",
        "packets_to",
        "placed_at",
        "state",
        "tally",
        "target",
        "tunnel",
    )

    def __init__(
        self,
        key: int,
        target: GatewayMember,
        tunnel: Tunnel,
        tally: Tally,
        *,
        cookie: int,
        idle_timeout: float,
        state: FlowState,
        now: float,
    ) -> None:
        self.preceding = self.following = None
        self.key = key
        self.target = target
        self.tunnel = tunnel
        self.cookie = cookie
        self.idle_timeout = idle_timeout
        self.state = state
        self.last_seen_at = self.placed_at = now
        self.packets_to = self.packets_from = self.bytes = 0
        self.tally = tally

    def change_state(self, **changes: bool | int) -> None:
        """Change the given fields of the flow's state."""
        self.state = _shared(self.state._replace(**changes))  # type: ignore[arg-type]


def flow_identity(flow: Flow) -> tuple[bytes, int, int, int, bytes, int, bytes, int]:
    """Return what FlowRecord and FlowChange both say of a flow: their fields `key` to `destination_port`."""
    endpoint = flow.tunnel.endpoint
    size, protocol, low, low_port, high, high_port = key_parts(flow.key)
    if flow.state.from_high:
        low, low_port, high, high_port = high, high_port, low, low_port
    return key_bytes(endpoint, flow.key), endpoint, size, protocol, low, low_port, high, high_port


class FlowTable:
    """The flows of one node by endpoint and key, and the buckets of their deadlines.

    `endpoints` are their 64-bit ids, `half_open_timeout` is seconds. `fetch_carried` is called with the key of a flow
    before that is judged over and brings in what the fast path has carried of it. `by_endpoint` is endpoint -> key ->
    flow, `lookups` the cache in front of it, `order` the flows by the page.
    """

    def __init__(
        self,
        endpoints: tuple[int, ...],
        half_open_timeout: float = math.inf,
        fetch_carried: Callable[[bytes], None] | None = None,
    ) -> None:
        self._half_open_timeout = half_open_timeout
        self._fetch_carried = fetch_carried
        self.by_endpoint: dict[int, dict[int, Flow]] = {endpoint: {} for endpoint in endpoints}
        self.lookups = {endpoint: lookups(flows) for endpoint, flows in self.by_endpoint.items()}
        self.order: Order[Flow] = Order()
        self._buckets: dict[int, _Link] = {}
        self._due: list[int] = []  # a heap of the buckets' numbers

    def __len__(self) -> int:
        return sum(map(len, self.by_endpoint.values()))

    def add(self, flow: Flow) -> None:
        """Put a new flow into the table; there must be none with its endpoint and key."""
        self.by_endpoint[flow.tunnel.endpoint][flow.key] = flow
        flow.target.flows += 1
        self.order.add(flow)
        self._enqueue(flow)

    def remove(self, flow: Flow) -> None:
        """Take a flow out; whoever looks it up from now on finds none."""
        del self.by_endpoint[flow.tunnel.endpoint][flow.key]
        for lookup in self.lookups[flow.tunnel.endpoint].values():
            lookup.forget(flow.key)
        flow.target.flows -= 1
        self.order.remove(flow)
        _unlink(flow)

    def fetch_carried(self, flow: Flow) -> None:
        """Bring in what the fast path has carried of a flow."""
        if self._fetch_carried is not None:
            self._fetch_carried(key_bytes(flow.tunnel.endpoint, flow.key))

    def expires_at(self, flow: Flow) -> float:
        """Return when a flow is over if no packet of it comes, as far as the core has seen its packets."""
        if flow.state.half_open:
            return flow.placed_at + self._half_open_timeout
        return flow.last_seen_at + flow.idle_timeout

    def is_over(self, flow: Flow, now: float) -> bool:
        """Whether a flow has been silent for its idle timeout, on the fast path too, or half-open for too long."""
        if now < self.expires_at(flow):
            return False
        self.fetch_carried(flow)
        return now >= self.expires_at(flow)

    def set_idle_timeout(self, flow: Flow, seconds: float) -> None:
        """Give a flow another idle timeout; the clock goes on from the last packet."""
        flow.idle_timeout = seconds
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

    def hasten(self, now: float) -> None:
        """Let `overdue` look at flows whose time ends in the second that has begun at once, not when it is over."""
        number = int(now // _BUCKET_SECONDS)
        head = self._buckets.get(number)
        if head is None or head.following is head:
            return
        due = self._bucket(number - 1)
        first, last, before = head.following, head.preceding, due.preceding
        assert first is not None
        assert last is not None
        assert before is not None
        before.following, first.preceding = first, before
        last.following, due.preceding = due, last
        head.preceding = head.following = head

    def _enqueue(self, flow: Flow) -> None:
        head = self._bucket(int(self.expires_at(flow) // _BUCKET_SECONDS))
        last = head.preceding
        assert last is not None
        flow.preceding, flow.following = last, head
        last.following = head.preceding = flow

    def _bucket(self, number: int) -> _Link:
        head = self._buckets.get(number)
        if head is None:
            head = self._buckets[number] = _Link()
            heapq.heappush(self._due, number)
        return head


def _unlink(flow: Flow) -> None:
    before, after = flow.preceding, flow.following
    assert before is not None
    assert after is not None
    before.following, after.preceding = after, before
    flow.preceding = flow.following = None
