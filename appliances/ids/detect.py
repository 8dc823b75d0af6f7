"""Rules against flows: which rules a packet makes true.

Rules of this file:
* The sender of the first packet of a flow is the client. A TCP flow that was not seen from its SYN counts as
  established at once, and then the end with the lower port is the server (a SYN-ACK says it for sure).
* TCP is established when the server's SYN-ACK has been acknowledged; other flows when both ends have sent.
* Rules with contents are tried when there is payload that no packet has shown before: TCP payloads in sequence order,
  all others one by one. Rules without contents are tried on every packet, and alert once per flow.
* With `ips`, a drop rule keeps the packet; of a TCP flow it keeps every later packet too, as a retransmission would
  otherwise bring the same bytes in pieces.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from appliances.flows import IdleTable
from appliances.ids.match import contents_match
from appliances.ids.rules import Rule
from appliances.ids.stream import NOTHING, Chunk, Stream
from appliances.inner import FlowKey, Inner, flow_key, ports
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import ACK, RST, SYN

TIMEOUTS = {TCP: 350.0}  # the load balancer's own idle timeouts; 120 s for everything else
OTHER_TIMEOUT = 120.0
BUDGET = 64 << 20  # bytes that the streams of all flows may hold; a flow alone may hold 160 KiB
End = tuple[bytes, int]


class Inspection(NamedTuple):
    """What a packet came to: rules that became true, and whether it has to be kept."""

    flow_id: int
    to_server: bool
    alerts: tuple[Rule, ...] = ()
    keep: bool = False


@dataclass(slots=True)
class InspectedFlow:
    """What is remembered of one flow."""

    number: int
    client: End
    established: bool = False
    answered: bool = False  # TCP: the SYN-ACK was seen; others: the server has sent
    blocked: bool = False
    streams: dict[bool, Stream] = field(default_factory=dict)  # by "to the server"
    rules: dict[bool, tuple[Rule, ...]] = field(default_factory=dict)  # those whose header fits, by "to the server"
    alerted: set[int] = field(default_factory=set)  # sids of rules without contents


class Detector:
    """All flows and all rules of one IDS.

    The bytes that the streams hold for contents that span segments have a `budget`: beyond it the streams that have
    been silent longest give theirs back. Their flows live on, and a blocked one stays blocked.
    """

    def __init__(self, rules: tuple[Rule, ...], *, ips: bool, budget: int = BUDGET) -> None:
        self.flows: IdleTable[Hashable, InspectedFlow] = IdleTable(forgotten=self._forget)
        self._budget = budget
        self._holding: OrderedDict[int, tuple[InspectedFlow, int]] = OrderedDict()  # by id(flow), the silent first
        self.held_bytes = self.streams_cut = 0
        self._rules = rules
        self._ips = ips
        self._count = 0

    def counters(self) -> dict[str, int]:
        """Return how many flows and bytes of streams are held, and how many had to make way for others."""
        return {
            "flows": len(self.flows),
            "flows that made way": self.flows.displaced,
            "stream bytes": self.held_bytes,
            "streams that made way": self.streams_cut,
        }

    def inspect(self, endpoint: int, inner: Inner, *, now: float) -> Inspection:
        """Try the rules on a packet; `now` in seconds."""
        flow = self._flow(flow_key(endpoint, inner.ip), inner, now)
        to_server = (inner.ip.source, inner.ip.source_port) == flow.client
        if flow.blocked:
            return Inspection(flow.number, to_server, keep=True)
        self._follow(flow, inner, to_server)
        chunk = self._payload(flow, inner, to_server)
        candidates = flow.rules.get(to_server)
        if candidates is None:
            candidates = flow.rules[to_server] = self._candidates(inner, to_server)
        alerts = tuple(rule for rule in candidates if self._is_true(rule, flow, chunk))
        keep = self._ips and any(rule.action == "drop" for rule in alerts)
        flow.blocked = keep and inner.tcp is not None
        if flow.blocked:
            self._forget(flow)
        return Inspection(flow.number, to_server, alerts, keep)

    def _flow(self, key: FlowKey, inner: Inner, now: float) -> InspectedFlow:
        flow = self.flows.find(key, now=now)
        opens = inner.tcp is not None and inner.tcp.flags & (SYN | ACK | RST) == SYN
        if flow is None or (opens and (flow.established or flow.blocked)):
            self._count += 1
            number = zlib.crc32(repr(key).encode()) << 16 | self._count & 0xFFFF
            flow = InspectedFlow(
                number, _client(inner), established=inner.tcp is not None and not inner.tcp.flags & SYN
            )
        self.flows.put(key, flow, timeout=TIMEOUTS.get(inner.ip.protocol, OTHER_TIMEOUT), now=now)
        return flow

    @staticmethod
    def _follow(flow: InspectedFlow, inner: Inner, to_server: bool) -> None:
        if inner.tcp is None:
            flow.answered = flow.answered or not to_server
            flow.established = flow.answered
        elif inner.tcp.flags & SYN:
            flow.answered = flow.answered or not to_server
        elif flow.answered and to_server and inner.tcp.flags & ACK:
            flow.established = True

    def _payload(self, flow: InspectedFlow, inner: Inner, to_server: bool) -> Chunk:
        if inner.tcp is None:
            payload = inner.payload
            return Chunk(payload, 0) if payload else NOTHING
        stream = flow.streams.get(to_server)
        if stream is None:
            stream = flow.streams[to_server] = Stream()
        chunk = stream.take(inner.tcp.sequence, inner.payload, syn=bool(inner.tcp.flags & SYN))
        self._account(flow)
        return chunk

    def _account(self, flow: InspectedFlow) -> None:
        """Note what a flow holds now, and let the longest silent ones give back what is too much."""
        self._release(flow)
        held = sum(stream.held_bytes for stream in flow.streams.values())
        if held:
            self._holding[id(flow)] = flow, held
            self.held_bytes += held
        while self.held_bytes > self._budget:
            _, (oldest, _) = next(iter(self._holding.items()))
            self._forget(oldest)
            self.streams_cut += 1

    def _release(self, flow: InspectedFlow) -> None:
        _, held = self._holding.pop(id(flow), (flow, 0))
        self.held_bytes -= held

    def _forget(self, flow: InspectedFlow) -> None:
        self._release(flow)
        for stream in flow.streams.values():
            stream.forget()

    def _candidates(self, inner: Inner, to_server: bool) -> tuple[Rule, ...]:
        """The rules that ask nothing that a packet of this flow and direction cannot have."""
        ip = inner.ip
        return tuple(
            rule
            for rule in self._rules
            if (not rule.direction or (rule.direction == "to_server") == to_server)
            and rule.header.matches(ip.protocol, ip.source, ip.destination, ports(ip))
        )

    @staticmethod
    def _is_true(rule: Rule, flow: InspectedFlow, chunk: Chunk) -> bool:
        if rule.established and not flow.established:
            return False
        if rule.contents:
            return len(chunk.data) > chunk.fresh and contents_match(rule.contents, chunk)
        if rule.sid in flow.alerted:
            return False
        flow.alerted.add(rule.sid)
        return True


def _client(inner: Inner) -> End:
    ip = inner.ip
    source, destination = (ip.source, ip.source_port), (ip.destination, ip.destination_port)
    if inner.tcp is None or inner.tcp.flags & (SYN | ACK) == SYN:
        return source
    if inner.tcp.flags & SYN:
        return destination
    return source if ip.source_port >= ip.destination_port else destination
