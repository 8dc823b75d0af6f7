"""The classic pcap format: microseconds or nanoseconds, either byte order (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gwlbemu.capture.packet import BrokenCapture, CapturedPacket, Interface
from gwlbemu.capture.stream import Stream

MAGICS = {  # the first four bytes: byte order, nanoseconds per tick
    bytes.fromhex("d4c3b2a1"): ("<", 1000),
    bytes.fromhex("a1b2c3d4"): (">", 1000),
    bytes.fromhex("4d3cb2a1"): ("<", 1),
    bytes.fromhex("a1b23c4d"): (">", 1),
}


def read_pcap(stream: Stream, order: str, tick_ns: int) -> Iterator[CapturedPacket]:
    """Yield the packets behind the magic number. Raises BrokenCapture."""
    link_type = struct.unpack(f"{order}HHiIII", stream.take(20, "the file header"))[5] & 0xFFFF
    interface = Interface("", "", link_type)
    head = struct.Struct(f"{order}IIII")
    number = 0
    while True:
        start = stream.offset
        data = stream.take_or_end(16, f"the header of packet {number + 1}")
        if not data:
            return
        number += 1
        seconds, ticks, length, original = head.unpack(data)
        if original < length:
            raise BrokenCapture(start, f"packet {number} claims {length} bytes of {original}, which cannot be right")
        frame = stream.take(length, f"packet {number}")
        yield CapturedPacket(number, seconds * 1_000_000_000 + ticks * tick_ns, interface, frame, original)
