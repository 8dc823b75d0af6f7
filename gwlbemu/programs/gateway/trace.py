"""What a node did with the packets of some flows, one event per verdict; costs nothing while nobody asks."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.judged import Judged, one_by_one
from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Drop, ToEndpoint, ToTarget, Verdict
from gwlbemu.errors import SettingError, WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.ip import IpPacket, decode_ip

KEPT = 10_000
OUTER_HEADERS = 28  # IPv4 without options and UDP, as the core sends them

Flow = tuple[int, frozenset[tuple[bytes, int]]]


class Event(NamedTuple):
    """One verdict. `identity` is the inner packet's protocol, ports, IP id and total length: NAT leaves those alone."""

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


def address_text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _address(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        raise SettingError(f"match: {text!r} is not an address") from None


class Trace:
    """Judges as `balancer` does and notes what it says about the flows in `match`, either direction.

    A match is (protocol, address, address, port, port), the ports in the order of the addresses; no match means all.
    """

    def __init__(
        self,
        match: Iterable[tuple[int, str, str, int, int]],
        *,
        balancer: Balancer,
        endpoints: Mapping[int, str],
        targets: Callable[[bytes], str],
        clock: Callable[[], float],
        links: Links,
    ) -> None:
        self._wanted: set[Flow] = {
            (protocol, frozenset(((_address(a), a_port), (_address(b), b_port))))
            for protocol, a, b, a_port, b_port in match
        }
        self._balancer = balancer
        self._endpoints, self._targets, self._clock, self._links = endpoints, targets, clock, links
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._count = 0

    def receive_frames(self, endpoint: int, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge and note frames from an endpoint."""
        return one_by_one(self._links, frames, lambda packet: self._packet(endpoint, packet, now))

    def receive_returned_frames(self, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge and note frames from targets."""
        return one_by_one(self._links, frames, lambda datagram: self._return(datagram, now))

    def _packet(self, endpoint: int, packet: bytes, now: float) -> Verdict:
        verdict = self._balancer.receive_packet(endpoint, packet, now=now)
        ip = self._wanted_ip(packet)
        if ip is not None:
            cookie = _cookie(verdict.datagram[OUTER_HEADERS:]) if isinstance(verdict, ToTarget) else ""
            target = verdict.target if isinstance(verdict, ToTarget) else ""
            self._note(endpoint, "out", ip, verdict, target, cookie)
        return verdict

    def _return(self, datagram: bytes, now: float) -> Verdict:
        source = datagram[12:16]
        verdict = self._balancer.receive_return(source, datagram, now=now)
        try:
            tunnel = datagram[(datagram[0] & 15) * 4 + 8 :] if datagram else b""
            header, length = geneve.decode(tunnel)
            endpoint = aws.parse(header).endpoint_id or 0
        except WireError:
            return verdict
        ip = self._wanted_ip(tunnel[length:])
        if ip is not None:
            self._note(endpoint, "back", ip, verdict, self._targets(source), _cookie(tunnel))
        return verdict

    def read(self, after: int = 0) -> dict[str, object]:
        """The events since number `after` (0: all that are kept), and how many there have been."""
        return {"events": [event._asdict() for event in self._events if event.number > after], "count": self._count}

    def _wanted_ip(self, packet: bytes) -> IpPacket | None:
        try:
            ip = decode_ip(packet)
        except WireError:
            return None
        ends = frozenset(((ip.source, ip.source_port), (ip.destination, ip.destination_port)))
        return ip if not self._wanted or (ip.protocol, ends) in self._wanted else None

    def _note(self, endpoint: int, direction: str, ip: IpPacket, verdict: Verdict, target: str, cookie: str) -> None:
        self._count += 1
        kind, reason = _describe(verdict)
        identity = (ip.protocol, ip.source_port, ip.destination_port, ip.identification, ip.total_length)
        name = self._endpoints.get(endpoint, aws.format_endpoint(endpoint))
        ends = address_text(ip.source), address_text(ip.destination)
        self._events.append(
            Event(self._count, self._clock(), name, direction, identity, *ends, kind, target, cookie, reason)
        )


def _describe(verdict: Verdict) -> tuple[str, str]:
    if isinstance(verdict, Drop):
        return "drop", verdict.reason.value
    if isinstance(verdict, ToTarget):
        return "to-target", ""
    return ("to-endpoint" if isinstance(verdict, ToEndpoint) else "reset"), ""


def _cookie(tunnel: bytes) -> str:
    """The flow cookie of a GENEVE header, as text; empty when there is none."""
    try:
        cookie = aws.parse(geneve.decode(tunnel)[0]).flow_cookie
    except WireError:
        return ""
    return "" if cookie is None else f"0x{cookie:08x}"
