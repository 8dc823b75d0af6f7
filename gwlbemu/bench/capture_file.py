"""A capture as a lab's recorder writes it, of any size: TCP through an internet gateway and a firewall, both ways."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from gwlbemu.capture import pcapng
from gwlbemu.capture.annotate import Annotator, Names
from gwlbemu.wire import aws
from gwlbemu.wire.outer import encapsulate
from gwlbemu.wire.tcp import ACK, PSH, build_tcp

TAPS = ("client/eth0", "igw/internet", "igw/fabric", "vpce-fw-a", "fw-a1/eth0", "web-a/eth0")
_CLIENT, _PUBLIC, _SERVER = bytes((198, 51, 100, 10)), bytes((203, 0, 113, 10)), bytes((10, 0, 1, 10))
_NODE, _TARGET = bytes((10, 254, 1, 4)), bytes((10, 254, 1, 10))
_ENDPOINT = 0x2356DE92D389839C
_SIZES = (0, 0, 300, 1448, 1448, 1448)  # bytes of payload; with all heads, some 810 bytes a packet
_TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
_APART_NS = 11_000
_START_NS = 1_700_000_000_000_000_000


def write(path: Path, packets: int, flows: int) -> int:
    """Write at least so many packets of so many flows; return how many there are."""
    names = Names({_ENDPOINT: "vpce-fw-a"}, {_TARGET: "fw-a1"}, {_NODE: "firewall-a"})
    annotator, numbers = Annotator(names), {tap: number for number, tap in enumerate(TAPS)}
    written = 0
    with path.open("wb") as file:
        file.write(pcapng.section_header() + b"".join(map(pcapng.interface_description, TAPS)))
        for segment in _segments(flows):
            for hop, (tap, direction, packet) in enumerate(segment.way()):
                frame = b"\2\0\0\0\0\2\2\0\0\0\0" + bytes((hop,)) + b"\x08\0" + packet
                block = pcapng.enhanced_packet(
                    numbers[tap],
                    _START_NS + written * _APART_NS,
                    frame,
                    direction=direction,
                    comments=annotator.comments(frame),
                )
                file.write(block)
                written += 1
            if written >= packets:
                break
    return written


class _Segment(NamedTuple):
    """One TCP segment of a flow; what a tap sees of it depends on the place."""

    flow: int
    number: int
    sequence: int
    payload: bytes

    def bare(self, source: bytes, destination: bytes, ttl: int) -> bytes:
        """Return it as it is between two addresses."""
        port = 20_000 + self.flow % 40_000
        ports = (80, port) if destination == _CLIENT else (port, 80)
        flags = ACK | PSH if self.payload else ACK
        return build_tcp(
            source, destination, *ports, sequence=self.sequence, acknowledgement=self.number, flags=flags, ttl=ttl,
            identification=self.number & 0xFFFF, payload=self.payload, options=_TIMESTAMPS,
        )  # fmt: skip

    def tunnelled(self, source: bytes, destination: bytes, ttl: int) -> list[bytes]:
        """Return it as it goes to the target and as it comes back."""
        header = aws.encode_header(0x0800, _ENDPOINT, self.flow * 2654435761 & 0xFFFFFFFF)
        inner, port = self.bare(source, destination, ttl), 50_000 + self.flow % 10_000
        return [encapsulate(*ends, port, header, inner) for ends in ((_NODE, _TARGET), (_TARGET, _NODE))]

    def way(self) -> list[tuple[str, pcapng.Direction, bytes]]:
        """Return what the taps see: two of three segments go to the server, the third comes back."""
        if self.number % 3:
            there, back = self.tunnelled(_CLIENT, _SERVER, 62)
            return [
                ("client/eth0", "out", self.bare(_CLIENT, _PUBLIC, 64)),
                ("igw/internet", "in", self.bare(_CLIENT, _PUBLIC, 64)),
                ("igw/fabric", "out", self.bare(_CLIENT, _SERVER, 63)),
                ("vpce-fw-a", "in", self.bare(_CLIENT, _SERVER, 63)),
                ("fw-a1/eth0", "in", there),
                ("fw-a1/eth0", "out", back),
                ("vpce-fw-a", "out", self.bare(_CLIENT, _SERVER, 62)),
                ("web-a/eth0", "in", self.bare(_CLIENT, _SERVER, 61)),
            ]
        there, back = self.tunnelled(_SERVER, _CLIENT, 62)
        return [
            ("web-a/eth0", "out", self.bare(_SERVER, _CLIENT, 64)),
            ("vpce-fw-a", "in", self.bare(_SERVER, _CLIENT, 63)),
            ("fw-a1/eth0", "in", there),
            ("fw-a1/eth0", "out", back),
            ("vpce-fw-a", "out", self.bare(_SERVER, _CLIENT, 62)),
            ("igw/fabric", "in", self.bare(_SERVER, _CLIENT, 61)),
            ("igw/internet", "out", self.bare(_PUBLIC, _CLIENT, 60)),
            ("client/eth0", "in", self.bare(_PUBLIC, _CLIENT, 60)),
        ]


def _segments(flows: int) -> Iterator[_Segment]:
    """Yield one segment after the other, of flows in any order."""
    dice = random.Random(1)
    sequences = [dice.getrandbits(31) for _ in range(flows)]
    for number in count(1):
        flow, payload = dice.randrange(flows), dice.randbytes(dice.choice(_SIZES))
        yield _Segment(flow, number, sequences[flow], payload)
        sequences[flow] = (sequences[flow] + len(payload)) & 0xFFFFFFFF
