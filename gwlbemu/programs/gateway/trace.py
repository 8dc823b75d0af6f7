"""One trace: the verdicts on the packets of some flows, and the judge that notes them.

While at least one trace is live (see `traces`), `TracingJudge` stands between the packets and the core: the core judges
each packet once, and every trace that wants its flow notes the verdict. Without a trace none of this runs.
"""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.judged import Judged, one_by_one
from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Drop, ToEndpoint, ToTarget, Verdict
from gwlbemu.errors import WireError
from gwlbemu.ports.arguments import refused
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.identity import identity
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.mismatch import wrong_checksum

MOST_ROWS = 20_000  # flows of one trace
KEPT = 10_000  # events of one trace; older ones make way
PAGE = 500  # events of one reading
MOST_REFUSALS = 1000  # events of one trace about other flows
OUTER_HEADERS = 28  # IPv4 without options and UDP, as the core sends them

TracedFlow = tuple[int, frozenset[tuple[bytes, int]]]  # protocol, and (address, port) of both ends


class Event(NamedTuple):
    """One verdict.

    `identity` is the inner packet's (see `wire.identity`): NAT leaves it alone. Where a target returned what cannot be
    read, all of it is 0 and the addresses are "". `wrong` has `field`, `got` and `expected` of what did not fit: why a
    returned packet was refused, or a checksum inside a packet that went on.
    """

    number: int
    time: float  # seconds of the kernel's monotonic clock
    endpoint: str
    direction: str  # out: from the endpoint; back: from a target
    identity: tuple[int, int, int, int, int]
    source: str
    destination: str
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str
    reason: str
    wrong: Mapping[str, str]


def address_text(address: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 (16 bytes) address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _address(text: object) -> bytes:
    try:
        if not isinstance(text, str):
            raise OSError
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        raise refused("match", "an address", text) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF


def traced_flows(match: object) -> frozenset[TracedFlow]:
    """Read a request's `match`: rows of [protocol, address, address, port, port], the ports in the addresses' order.

    No row means every flow. Raises SettingError for what is not such a list.
    """
    flows = []
    rows = match if isinstance(match, list) else [match]
    if len(rows) > MOST_ROWS:
        raise refused("match", f"at most {MOST_ROWS} rows", match)
    for row in rows:
        if not isinstance(row, list) or len(row) != 5 or not all(_is_number(row[at]) for at in (0, 3, 4)):
            raise refused("match", "rows of [protocol, address, address, port, port]", row)
        protocol, one, other, one_port, other_port = row
        flows.append((protocol, frozenset(((_address(one), one_port), (_address(other), other_port)))))
    return frozenset(flows)


class Trace:
    """The verdicts on the packets of `flows` (none: of all), in either direction; the newest `KEPT` of them.

    The first `MOST_REFUSALS` of what targets returned and the node refused are among them, whatever flow they claim.
    """

    def __init__(self, flows: Iterable[TracedFlow] = ()) -> None:
        self._flows = frozenset(flows)
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._count = self._refusals = 0

    def wants(self, flow: TracedFlow, *, is_refusal: bool = False) -> bool:
        """Return whether packets of `flow` are to be noted, or a refused return of another."""
        if not self._flows or flow in self._flows:
            return True
        self._refusals += is_refusal
        return is_refusal and self._refusals <= MOST_REFUSALS

    def note(self, event: Event) -> None:
        """Keep a verdict, under the trace's own running number."""
        self._count += 1
        self._events.append(event._replace(number=self._count))

    def read(self, after: int = 0) -> dict[str, Any]:
        """Return `events`, the oldest kept ones after number `after`; `count`, how many there have been; and `more`.

        `more` tells whether there are others after the last of these.
        """
        first = self._count - len(self._events)  # the number before the oldest
        start = max(after - first, 0)
        page = list(itertools.islice(self._events, start, start + PAGE))
        return {
            "events": [event._asdict() for event in page],
            "count": self._count,
            "more": start + len(page) < len(self._events),
        }


class TracingJudge:
    """Judges as `balancer` does and lets `traces` note what it says.

    `endpoints` are the names by id, `target_name` tells the name of the target at an address, `clock` the instant of an
    event in seconds of the kernel's monotonic clock.
    """

    def __init__(
        self,
        balancer: Balancer,
        links: Links,
        traces: Collection[Trace],
        *,
        endpoints: Mapping[int, str],
        target_name: Callable[[bytes], str],
        clock: Callable[[], float],
    ) -> None:
        self._balancer, self._links, self._traces = balancer, links, traces
        self._endpoints, self._target_name, self._clock = endpoints, target_name, clock

    def receive_frames(self, endpoint: int, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge and note frames from an endpoint."""
        return one_by_one(self._links, frames, lambda packet: self._packet(endpoint, packet, now))

    def receive_returned_frames(self, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge and note frames from targets."""
        return one_by_one(self._links, frames, lambda datagram: self._return(datagram, now))

    def _packet(self, endpoint: int, packet: bytes, now: float) -> Verdict:
        verdict = self._balancer.receive_packet(endpoint, packet, now=now)
        target, cookie = "", ""
        if isinstance(verdict, ToTarget):
            target, cookie = verdict.target, _cookie(_options(verdict.datagram[OUTER_HEADERS:]))
        self._note(packet, verdict, endpoint=endpoint, direction="out", target=target, cookie=cookie)
        return verdict

    def _return(self, datagram: bytes, now: float) -> Verdict:
        source = datagram[12:16]
        verdict = self._balancer.receive_return(source, datagram, now=now)
        tunnel = datagram[(datagram[0] & 15) * 4 + 8 :] if datagram else b""
        options = _options(tunnel)
        length = geneve.BASE_LENGTH + (tunnel[0] & 0x3F) * 4 if tunnel else 0  # as every version has it, so far
        self._note(
            tunnel[length:],
            verdict,
            endpoint=options.endpoint_id or 0,
            direction="back",
            target=self._target_name(source) if len(source) == 4 else "",
            cookie=_cookie(options),
        )
        return verdict

    def _note(
        self, packet: bytes, verdict: Verdict, *, endpoint: int, direction: str, target: str, cookie: str
    ) -> None:
        is_refusal = direction == "back" and isinstance(verdict, Drop) and target != ""
        ip = _head(packet)
        if ip is None and not is_refusal:
            return
        ends = ((ip.source, ip.source_port), (ip.destination, ip.destination_port)) if ip else ()
        flow = (ip.protocol if ip else 0, frozenset(ends))
        wanting = [trace for trace in self._traces if trace.wants(flow, is_refusal=is_refusal)]
        if not wanting:
            return
        kind, reason = _describe(verdict)
        wrong = verdict.wrong if isinstance(verdict, Drop) else wrong_checksum(packet, "inner ")
        event = Event(
            number=0,
            time=self._clock(),
            endpoint=self._endpoints.get(endpoint, aws.format_endpoint(endpoint)) if endpoint else "",
            direction=direction,
            identity=identity(packet, ip) if ip else (0, 0, 0, 0, 0),
            source=address_text(ip.source) if ip else "",
            destination=address_text(ip.destination) if ip else "",
            verdict=kind,
            target=target,
            cookie=cookie,
            reason=reason,
            wrong=wrong._asdict() if wrong else {},
        )
        for trace in wanting:
            trace.note(event)


def _head(packet: bytes) -> IpPacket | None:
    """Return the head of a packet, whole or cut off; None when there is none to read."""
    try:
        return decode_ip(packet, quoted=True)
    except WireError:
        return None


def _describe(verdict: Verdict) -> tuple[str, str]:
    if isinstance(verdict, Drop):
        return "drop", verdict.reason.value
    if isinstance(verdict, ToTarget):
        return "to-target", ""
    return ("to-endpoint" if isinstance(verdict, ToEndpoint) else "reset"), ""


def _options(tunnel: bytes) -> aws.AwsOptions:
    """AWS's options of a GENEVE header; none of them where it cannot be read."""
    try:
        return aws.parse(geneve.decode(tunnel)[0])
    except WireError:
        return aws.AwsOptions()


def _cookie(options: aws.AwsOptions) -> str:
    return "" if options.flow_cookie is None else f"0x{options.flow_cookie:08x}"
