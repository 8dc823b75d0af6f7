"""Requests and their answers across an application load balancer, which ends connections and begins others.

A request at a target is known by its X-Amzn-Trace-Id. It is joined to a client's packet that went to the address that
it comes from: to the one that has the same Root where the client has sent one; else to the only request with the same
method and target that is open and comes from the client that X-Forwarded-For names (ALB guide, Request tracing,
X-Forwarded headers). Where requests of several connections fit, none is chosen. Answers are joined by the connections
of their requests, which answer in order. What cannot be joined is counted: requests that came over TLS, and those that
fit none or several.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.journey import LONGEST_NS, Journey, PacketIdentity, Sighting
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.text import tcp_head

MOST_HELD = 20_000  # journeys that wait for what comes before or after them
MOST_KNOWN = 100_000  # messages whose journey has not come yet
_MARK = b"HTTP/1."
_REQUEST = re.compile(rb"([A-Z]{1,16}) (\S{1,16384}) HTTP/1\.[01]\r\n")
_ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_ROOT = re.compile(r"(?:^|;)\s*Root=([\w-]+)")
_XFF_PORT = re.compile(r"^(?:\[(?P<six>[^\]]*)\]|(?P<four>[\d.]+))(?::(?P<port>\d+))?$")

T = TypeVar("T")
Connection = tuple[str, str, tuple[int, int]]  # source, destination, ports


@dataclass(frozen=True, slots=True)
class Message:
    """The head of a request, or (`status` is not 0) of an answer. `root` is that of its X-Amzn-Trace-Id."""

    method: str = ""
    target: str = ""
    root: str = ""
    client: str = ""  # the last address of X-Forwarded-For
    client_port: int = 0
    scheme: str = ""  # X-Forwarded-Proto
    status: int = 0

    @property
    def is_forwarded(self) -> bool:
        """Whether a load balancer sent it: it has both headers, or the trace id that it has been given."""
        return bool(self.root and (self.scheme or self.client))


def may_join(captured: CapturedPacket) -> bool:
    """Whether a packet may have the head of a request or an answer."""
    return _MARK in captured.data


def message_of(payload: bytes) -> Message | None:
    """Return the head that a TCP payload begins with; None where it begins with none."""
    answer = _ANSWER.match(payload)
    if answer:
        status = int(answer[1])
        return Message(status=status) if status >= 200 else None
    request = _REQUEST.match(payload)
    if request is None:
        return None
    head, _, _ = payload[request.end() :].partition(b"\r\n\r\n")
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    root = _ROOT.search(fields.get("x-amzn-trace-id", ""))
    last = fields.get("x-forwarded-for", "").rpartition(",")[2].strip()
    client = _XFF_PORT.match(last)
    return Message(
        method=request[1].decode(),
        target=request[2].decode("latin-1"),
        root=root[1] if root else "",
        client=(client["six"] or client["four"]) if client else last,
        client_port=int(client["port"] or 0) if client else 0,
        scheme=fields.get("x-forwarded-proto", ""),
    )


@dataclass(slots=True)
class _Held:
    """A journey, with what was joined to it, until nothing more can be. `waits_until` is an instant of the capture."""

    journey: Journey
    waits_until: int = 0
    gone: bool = False  # told already, so that nothing can be joined to it


@dataclass(slots=True)
class HttpJourneys:
    """Joins journeys: `see` is given each packet that becomes one, `joined` the journeys in their order."""

    over_tls: int = 0
    unclear: int = 0
    _messages: dict[PacketIdentity, Message] = field(default_factory=dict)
    _open: dict[int, tuple[Message, _Held]] = field(default_factory=dict)  # requests that nobody has been joined to
    # By the way of a target's answer that of the load balancer's; by that one what the client gets.
    _answers: dict[Connection, deque[Connection]] = field(default_factory=dict)
    _returning: dict[Connection, deque[_Held]] = field(default_factory=dict)
    _count: int = 0

    def see(self, captured: CapturedPacket, seen: Sighting) -> None:
        """Take note of a packet with the head of a request or an answer."""
        if not may_join(captured) or seen.identity in self._messages or len(self._messages) >= MOST_KNOWN:
            return
        layer = dissect(captured).flow_layer
        head = tcp_head(layer) if layer is not None else None
        if layer is not None and head is not None and (found := message_of(layer.payload[head.header_length :])):
            self._messages[seen.identity] = found

    def joined(self, journeys: Iterable[Journey]) -> Iterator[Journey]:
        """Yield journeys in the order of their first sighting, those of one request as one."""
        waiting: deque[_Held] = deque()
        for journey in journeys:
            now = journey.sightings[0].at_ns
            message = self._messages.pop(journey.identity, None)
            if message is None or not self._take(journey, message, waiting):
                waiting.append(_Held(journey))
            self._forget(now)
            while waiting and (waiting[0].waits_until < now or len(waiting) > MOST_HELD):
                done = waiting.popleft()
                done.gone = True
                yield done.journey
        yield from (held.journey for held in waiting)

    @property
    def remark(self) -> str:
        """What could not be joined, a sentence; "" where nothing was left."""
        told = []
        if self.over_tls:
            told.append(f"{self.over_tls} came over TLS, which hides whose they are")
        if self.unclear:
            told.append(f"{self.unclear} fit none or several of their clients' packets")
        return f"requests that load balancers forwarded and that are not joined: {'; '.join(told)}" if told else ""

    def _take(self, journey: Journey, message: Message, waiting: deque[_Held]) -> bool:
        """Join a journey to what is held; False when it is one of its own."""
        if message.status:
            return self._take_answer(journey, waiting)
        held = self._client_of(journey, message) if message.is_forwarded else None
        if held is not None:
            to_client = _back(held.journey.sightings[-1])
            _append(held, journey, f"forwarded as {message.method} {message.target}, Root={message.root}")
            _queue(self._answers, _back(journey.sightings[-1])).append(to_client)
            self._keep_open(message, held)
            return True
        if message.is_forwarded:
            if message.scheme == "https":
                self.over_tls += 1
            else:
                self.unclear += 1
        own = _Held(journey, journey.sightings[0].at_ns + LONGEST_NS)
        waiting.append(own)
        self._keep_open(message, own)
        return True

    def _keep_open(self, message: Message, held: _Held) -> None:
        """Another load balancer may come."""
        held.waits_until = held.journey.sightings[-1].at_ns + LONGEST_NS
        self._open[self._count] = (message, held)
        self._count += 1

    def _client_of(self, journey: Journey, message: Message) -> _Held | None:
        """What the request was before it was forwarded, if only one can be; it is open no longer."""
        at, node = journey.sightings[0].at_ns, journey.sightings[0].look.source
        fitting: dict[Connection, int] = {}
        for number, (before, held) in self._open.items():
            last = held.journey.sightings[-1]
            if held.gone or not last.at_ns <= at <= last.at_ns + LONGEST_NS:
                continue
            if _is_node(last.look.destination, node) and _fits(before, last, message):
                fitting.setdefault(_way(last), number)  # one connection answers in order: its first
        if len(fitting) != 1:
            return None
        (number,) = fitting.values()
        return self._open.pop(number)[1]

    def _take_answer(self, journey: Journey, waiting: deque[_Held]) -> bool:
        way = _way(journey.sightings[0])
        own = _Held(journey, journey.sightings[0].at_ns + LONGEST_NS)
        held = _next(self._returning, way)
        if held is None or held.gone:
            held = own
            waiting.append(own)
        else:
            _append(held, journey, "handed on to the client")
        to_client = _next(self._answers, way)
        if to_client is not None:  # of one load balancer's target, which may be another load balancer
            held.waits_until = journey.sightings[-1].at_ns + LONGEST_NS
            _queue(self._returning, to_client).append(held)
        return True

    def _forget(self, now: int) -> None:
        """Let requests go to which nothing can be joined any more; they are in the order of time."""
        while self._open:
            number, (_, held) = next(iter(self._open.items()))
            if held.journey.sightings[-1].at_ns + LONGEST_NS >= now and len(self._open) <= MOST_HELD:
                return
            del self._open[number]


def _is_node(destination: str, node: str) -> bool:
    """Whether a client's connection ends at the node whose address to targets is `node`: by the same address, or by one
    of the other version of IP.
    """
    return destination == node or (":" in destination) != (":" in node)


def _fits(before: Message, last: Sighting, message: Message) -> bool:
    """Whether a client's request, last seen so, may be the one that was forwarded as `message`."""
    other_client = last.look.source != message.client or message.client_port not in (0, last.look.ports[0])
    if before.method != message.method or (message.client and other_client):
        return False
    if before.root:
        return before.root == message.root
    return bool(message.client) and before.target == message.target


def _append(held: _Held, journey: Journey, remark: str) -> None:
    """Let a journey go on with another, whose first sighting says how."""
    first, *others = journey.sightings
    told = first._replace(remark="  ".join(filter(None, (f"({remark})", first.remark))))
    held.journey = held.journey._replace(sightings=[*held.journey.sightings, told, *others])


def _queue(queues: dict[Connection, deque[T]], way: Connection) -> deque[T]:
    """The queue of a way, the newest of at most `MOST_HELD`."""
    if way not in queues and len(queues) >= MOST_HELD:
        del queues[next(iter(queues))]
    return queues.setdefault(way, deque())


def _next(queues: dict[Connection, deque[T]], way: Connection) -> T | None:
    """Take the first that waits on a way; None where nothing does."""
    queue = queues.get(way)
    if queue is None:
        return None
    first = queue.popleft()
    if not queue:
        del queues[way]
    return first


def _way(seen: Sighting) -> Connection:
    return seen.look.source, seen.look.destination, seen.look.ports


def _back(seen: Sighting) -> Connection:
    """The way of what answers."""
    return seen.look.destination, seen.look.source, seen.look.ports[::-1]
