"""The way of one packet across the taps of a lab.

The same inner packet is met again at each tap with other addresses (an internet gateway's 1:1 translation), another
TTL, other checksums, inside a tunnel or outside. What stays is its identity: protocol, IP id, length, ports, sequence
numbers and payload. Packets with one identity that are at one place twice (same tap, direction, link addresses, tunnel
ends and TTL), or too far apart, are different packets: a retransmission, or a host that sends IP id 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from gwlbemu.capture.dissect import Dissection, Layer, dissect_frame
from gwlbemu.capture.pcapng import Direction
from gwlbemu.capture.render import tunnel_text
from gwlbemu.capture.text import address_text, icmp_head, packet_text, tcp_head
from gwlbemu.errors import plain
from gwlbemu.wire.protocols import UDP
from gwlbemu.wire.tcp import SYN

LONGEST_NS = 2_000_000_000
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
    source_port: int
    destination_port: int
    fragment_offset: int
    digest: bytes


class Sighting(NamedTuple):
    """A packet seen at a tap."""

    record: TapFrame
    dissection: Dissection
    layer: Layer


class Journey(NamedTuple):
    """One packet, in the order in which the taps saw it."""

    identity: PacketIdentity
    sightings: tuple[Sighting, ...]

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps it crossed, each run of one tap once."""
        names = [sighting.record.tap for sighting in self.sightings]
        return tuple(tap for index, tap in enumerate(names) if index == 0 or names[index - 1] != tap)

    @property
    def summary(self) -> str:
        """The packet as it was first seen."""
        return packet_text(self.sightings[0].layer)


def identify(layer: Layer) -> PacketIdentity:
    """Return the identity of a packet."""
    ip = layer.ip
    digest = blake2b(_lasting(layer), digest_size=8).digest()
    length = ip.total_length - ip.header_length
    return PacketIdentity(
        ip.version,
        ip.protocol,
        ip.identification,
        length,
        ip.source_port,
        ip.destination_port,
        ip.fragment_offset,
        digest,
    )


def journeys(records: Iterable[TapFrame], *, longest_ns: int = LONGEST_NS) -> list[Journey]:
    """Group records into journeys, in the order of their first sighting.

    Records without an IP packet are passed over.
    """
    found: list[tuple[PacketIdentity, list[Sighting], set[object]]] = []
    latest: dict[PacketIdentity, int] = {}
    for record in sorted(records, key=lambda record: record.at_ns):
        dissection = dissect_frame(record.frame)
        layer = dissection.flow_layer
        if layer is None:
            continue
        identity, place = identify(layer), _place(record, dissection, layer)
        sighting = Sighting(record, dissection, layer)
        index = latest.get(identity)
        if index is not None:
            _, sightings, places = found[index]
            if place not in places and record.at_ns - sightings[-1].record.at_ns <= longest_ns:
                sightings.append(sighting)
                places.add(place)
                continue
        latest[identity] = len(found)
        found.append((identity, [sighting], {place}))
    return [Journey(identity, tuple(sightings)) for identity, sightings, _ in found]


def journey_lines(journey: Journey) -> list[str]:
    """Return a journey for people: the packet, then a line per sighting: time since the first, tap, what changed."""
    first = journey.sightings[0]
    width = max(len(plain(sighting.record.tap)) for sighting in journey.sightings)
    lines = [journey.summary]
    before = first.layer
    for sighting in journey.sightings:
        record, layer = sighting.record, sighting.layer
        parts = [
            f"{(record.at_ns - first.record.at_ns) / 1e6:+10.3f} ms",
            f"{plain(record.tap):<{width}}",
            f"{record.direction:<3}",
        ]
        if sighting.dissection.tunnel:
            parts.append(tunnel_text(sighting.dissection.tunnel))
        parts += _changes(before, layer)
        lines.append("  ".join(parts).rstrip())
        before = layer
    return lines


def _changes(before: Layer, after: Layer) -> list[str]:
    changes = []
    for what in ("source", "destination"):
        old, new = getattr(before.ip, what), getattr(after.ip, what)
        if old != new:
            changes.append(f"{what} {address_text(old)} -> {address_text(new)}")
    if before.ip.ttl != after.ip.ttl:
        changes.append(f"ttl {before.ip.ttl} -> {after.ip.ttl}")
    return changes


def _place(record: TapFrame, dissection: Dissection, layer: Layer) -> object:
    outer = dissection.outer.ip if dissection.tunnel and dissection.outer else None
    ends = (outer.source, outer.destination) if outer else ()
    return record.tap, record.direction, record.frame[:12], ends, layer.ip.ttl


def _lasting(layer: Layer) -> bytes:
    """Return the part of the upper layer that address translation leaves alone."""
    payload = layer.payload
    if layer.ip.fragment_offset:
        return payload
    tcp = tcp_head(layer)
    if tcp is not None:
        head = (payload[12] >> 4) * 4
        # A transit gateway, an endpoint perhaps, lowers a SYN's MSS option (kind 2, length 4).
        options = _MSS.sub(b"mss", payload[18:head], count=1) if tcp.flags & SYN else payload[18:head]
        return payload[:16] + options + payload[head:]
    icmp = icmp_head(layer)
    if icmp is not None and icmp.quoted is not None:  # the quoted addresses are translated too
        quoted = icmp.quoted
        return b"%b %d %d %d %d" % (
            payload[:2], quoted.protocol, quoted.identification, quoted.source_port, quoted.destination_port,
        )  # fmt: skip
    return payload[:6] + payload[8:] if layer.ip.protocol == UDP else payload
