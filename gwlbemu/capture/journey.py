"""The way of one packet across the taps of a lab.

The same inner packet is met again at each tap with other addresses (an internet gateway's 1:1 translation) and ports (a
network load balancer's), another TTL, other checksums, inside a tunnel or outside. What stays is its identity:
protocol, IP id, length, sequence numbers and the beginning of its payload (the end of it, a capture may have cut).
Packets with one identity that are at one place twice (same tap, direction, link addresses, tunnel ends and TTL), or too
far apart, are different packets: a retransmission, or a host that sends IP id 0. So are those of which one end has
another port at the same address: who translates a port translates the address. Of UDP without an IP id, whose bytes
alone may be the same by chance, the ports belong to the identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from gwlbemu.capture.checks import judge
from gwlbemu.capture.dissect import Dissection, Layer, dissect_frame
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.capture.pcapng import Direction
from gwlbemu.capture.render import remarks, tunnel_text
from gwlbemu.capture.text import address_text, icmp_head, packet_text, tcp_head
from gwlbemu.errors import plain
from gwlbemu.wire.protocols import UDP
from gwlbemu.wire.tcp import SYN

LONGEST_NS = 2_000_000_000
LASTING = 84  # bytes of TCP, UDP or whatever it is that count for a packet's identity
MOST_OPEN = 20_000  # journeys that may still go on
_new = tuple.__new__
_UNSORTED = 4096  # sightings among which the order of time is restored
_MSS = re.compile(rb"\x02\x04..", re.DOTALL)


class TapFrame(NamedTuple):
    """A frame at a tap. Frames are Ethernet; `at_ns` counts nanoseconds from anywhere, the same for all taps."""

    tap: str
    at_ns: int
    frame: bytes
    direction: Direction = ""


class PacketIdentity(NamedTuple):
    """What stays the same about a packet on its way."""

    version: int
    protocol: int
    identification: int
    length: int
    fragment_offset: int
    lasting: bytes


class Look(NamedTuple):
    """How a packet looks at a tap: what may change on its way. `ends` are the tunnel's, in bytes; ports 0 for none."""

    source: str
    destination: str
    ttl: int
    tunnel: str
    ends: bytes
    ports: tuple[int, int]  # source, destination

    def may_become(self, other: Look) -> bool:
        """Whether no port has changed but with its address."""
        mine, others = self.ports, other.ports
        return mine == others or (
            (mine[0] == others[0] or self.source != other.source)
            and (mine[1] == others[1] or self.destination != other.destination)
        )


class Sighting(NamedTuple):
    """A packet seen at a tap, link addresses `link`; `summary` is its text, `remark` what was odd, or why a node
    dropped it.
    """

    at_ns: int
    tap: str
    direction: Direction
    identity: PacketIdentity
    link: bytes
    look: Look
    summary: str
    remark: str = ""

    def is_at(self, other: Sighting) -> bool:
        """Whether both are at one place: the same tap, direction, link addresses, tunnel ends and TTL."""
        return (
            self.tap == other.tap
            and self.direction == other.direction
            and self.link == other.link
            and self.look.ttl == other.look.ttl
            and self.look.ends == other.look.ends
        )


class Journey(NamedTuple):
    """One packet, in the order in which the taps saw it; `summary` as it was first seen."""

    identity: PacketIdentity
    summary: str
    sightings: list[Sighting]

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps it crossed, each run of one tap once."""
        names = [sighting.tap for sighting in self.sightings]
        return tuple(tap for index, tap in enumerate(names) if index == 0 or names[index - 1] != tap)


def identify(layer: Layer) -> PacketIdentity:
    """Return the identity of a packet."""
    ip = layer.ip
    length = ip.total_length - ip.header_length
    return PacketIdentity(ip.version, ip.protocol, ip.identification, length, ip.fragment_offset, _lasting(layer))


def look(dissection: Dissection, layer: Layer) -> Look:
    """Return how a flow's packet looks in a frame."""
    outer = dissection.outer.ip if dissection.tunnel and dissection.outer else None
    return Look(
        address_text(layer.ip.source),
        address_text(layer.ip.destination),
        layer.ip.ttl,
        tunnel_text(dissection.tunnel) if dissection.tunnel else "",
        outer.source + outer.destination if outer else b"",
        (layer.ip.source_port, layer.ip.destination_port),
    )


def sighting(captured: CapturedPacket, dissection: Dissection) -> Sighting | None:
    """Return a captured packet as a sighting; None without an IP packet of a flow."""
    layer = dissection.flow_layer
    if layer is None:
        return None
    parts = [f"({each})" for each in remarks(dissection, judge(dissection))]
    if reason := drop_reason(captured.comments):
        parts.append(reason)
    return Sighting(
        captured.at_ns,
        captured.interface.name,
        captured.direction,
        identify(layer),
        captured.data[:12],
        look(dissection, layer),
        packet_text(layer),
        "  ".join(parts),
    )


@lru_cache(1 << 13)
def drop_reason(comments: tuple[str, ...]) -> str:
    """Return what a node wrote about a packet that it dropped; "" without."""
    return next((comment for comment in comments if comment.startswith("dropped")), "")


def follow(
    sightings: Iterable[Sighting], *, longest_ns: int = LONGEST_NS, most_open: int = MOST_OPEN
) -> Iterator[Journey]:
    """Yield journeys in the order of their first sighting, each when nothing more can come to it.

    Sightings come nearly in the order of time. What is kept is bounded: the oldest journey
    ends when more than `most_open` are.
    """
    latest: dict[PacketIdentity, Journey] = {}
    journeys: dict[int, Journey] = {}
    first = last = 0
    for each in _in_order(sightings):
        identity = each.identity
        journey = latest.get(identity)
        if journey is not None:
            known = journey.sightings
            last_seen = known[-1]
            if (
                each.at_ns - last_seen.at_ns <= longest_ns
                and last_seen.look.may_become(each.look)
                and not any(map(each.is_at, known))
            ):
                known.append(_new(Sighting, (*each[:6], "", each.remark)))
                continue
        latest[identity] = journeys[last] = Journey(identity, each.summary, [each])
        last += 1
        while last - first > most_open or journeys[first].sightings[-1].at_ns + longest_ns < each.at_ns:
            done = journeys.pop(first)
            first += 1
            if latest.get(done.identity) is done:
                del latest[done.identity]
            yield done
    yield from journeys.values()


def _in_order(sightings: Iterable[Sighting]) -> Iterator[Sighting]:
    """Yield sightings by time as far as a window of some thousands restores it."""
    waiting: list[Sighting] = []
    for each in sightings:
        waiting.append(each)
        if len(waiting) >= 2 * _UNSORTED:
            waiting.sort(key=itemgetter(0))
            yield from waiting[:_UNSORTED]
            del waiting[:_UNSORTED]
    waiting.sort(key=itemgetter(0))
    yield from waiting


def journeys(records: Iterable[TapFrame], *, longest_ns: int = LONGEST_NS) -> list[Journey]:
    """Group records into journeys, in the order of their first sighting.

    Records without an IP packet are passed over.
    """
    seen = (sighting(_captured(record), dissect_frame(record.frame)) for record in records)
    return list(follow((each for each in seen if each), longest_ns=longest_ns))


def journey_lines(journey: Journey) -> list[str]:
    """Return a journey for people: the packet, then a line per sighting: time since the first, tap, what changed."""
    start = journey.sightings[0].at_ns
    width = max(len(plain(each.tap)) for each in journey.sightings)
    lines = [plain(journey.summary)]
    before = journey.sightings[0].look
    for each in journey.sightings:
        text = f"{(each.at_ns - start) / 1e6:+10.3f} ms  {_place_text(each.tap, each.direction, width)}"
        if each.look.tunnel:
            text = f"{text}  {each.look.tunnel}"
        if each.look is not before:
            text += _changes(before, each.look)
        if each.remark:
            text = f"{text}  {plain(each.remark)}"
        lines.append(text.rstrip())
        before = each.look
    return lines


@lru_cache
def _place_text(tap: str, direction: str, width: int) -> str:
    return f"{plain(tap):<{width}}  {direction:<3}"


def _captured(record: TapFrame) -> CapturedPacket:
    interface = Interface(record.tap, "", 1)
    return CapturedPacket(0, record.at_ns, interface, record.frame, len(record.frame), record.direction)


def _changes(before: Look, after: Look) -> str:
    changes = ""
    old = zip((before.source, before.destination), before.ports, strict=True)
    new = zip((after.source, after.destination), after.ports, strict=True)
    for what, (address, port), (other, other_port) in zip(("source", "destination"), old, new, strict=True):
        if port != other_port:
            changes += f"  {what} {_end(address, port)} -> {_end(other, other_port)}"
        elif address != other:
            changes += f"  {what} {address} -> {other}"
    if before.ttl != after.ttl:
        changes += f"  ttl {before.ttl} -> {after.ttl}"
    return changes


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def lasting_tcp(segment: bytes) -> bytes:
    """Return a segment without ports and checksum; of a SYN, also without the value of the MSS option (kind 2, length
    4), which a transit gateway, an endpoint perhaps, lowers.
    """
    if not segment[13] & SYN:
        return segment[4:16] + segment[18:]
    head = (segment[12] >> 4) * 4
    return segment[4:16] + _MSS.sub(b"mss", segment[18:head], count=1) + segment[head:]


def _lasting(layer: Layer) -> bytes:
    """Return the part of the upper layer's beginning that address translation leaves alone."""
    payload = layer.payload[:LASTING]
    if layer.ip.fragment_offset:
        return payload
    if tcp_head(layer) is not None:
        return lasting_tcp(payload)
    icmp = icmp_head(layer)
    if icmp is not None and icmp.quoted is not None:  # the quoted ends are translated too
        quoted = icmp.quoted
        ports = (0, 0) if quoted.identification else (quoted.source_port, quoted.destination_port)
        return b"%b %d %d %d %d" % (payload[:2], quoted.protocol, quoted.identification, *ports)
    return lasting_udp(payload, layer.ip.identification) if layer.ip.protocol == UDP else payload


def lasting_udp(datagram: bytes, identification: int) -> bytes:
    """Return a datagram without its checksum, and without ports where the packet has an IP id."""
    return datagram[4 if identification else 0 : 6] + datagram[8:]
