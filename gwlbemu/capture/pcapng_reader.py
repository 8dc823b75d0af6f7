"""The pcapng format (draft-ietf-opsawg-pcapng): sections, interfaces with their own clock resolution, packets,
statistics.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gwlbemu.capture import pcapng
from gwlbemu.capture.packet import BrokenCapture, CapturedPacket, Interface, Statistics
from gwlbemu.capture.pcapng import Direction
from gwlbemu.capture.stream import Stream

SECTION_START = bytes.fromhex("0a0d0d0a")
_OLD_PACKET = 2
_DIRECTIONS: dict[int, Direction] = {pcapng.INBOUND: "in", pcapng.OUTBOUND: "out"}


class _Clocked(NamedTuple):
    interface: Interface
    ticks_per_second: int
    offset_seconds: int
    snap_length: int

    def nanoseconds(self, high: int, low: int) -> int:
        return (high << 32 | low) * 1_000_000_000 // self.ticks_per_second + self.offset_seconds * 1_000_000_000


def read_pcapng(stream: Stream, statistics: dict[str, Statistics]) -> Iterator[CapturedPacket]:
    """Yield the packets behind the first four bytes; fill `statistics` by interface name. Raises BrokenCapture."""
    kind = SECTION_START
    number = 0
    order = "<"
    interfaces: list[_Clocked] = []
    while kind:
        start = stream.offset - 4
        if kind == SECTION_START:
            order, interfaces = _read_section(stream, start), []
        else:
            what = struct.unpack(f"{order}I", kind)[0]
            body = _read_block(stream, order, start)
            try:
                if what == pcapng.INTERFACE:
                    interfaces.append(_interface(body, order, len(interfaces)))
                elif what in (pcapng.ENHANCED_PACKET, pcapng.SIMPLE_PACKET, _OLD_PACKET):
                    number += 1
                    yield _PACKETS[what](body, order, number, interfaces)
                elif what == pcapng.STATISTICS:
                    _count(body, order, interfaces, statistics)
            except (struct.error, IndexError, ValueError) as error:
                raise BrokenCapture(start, f"a block of type {what} is inconsistent: {error}") from error
        kind = stream.take_or_end(4, "a block's type")


def _read_section(stream: Stream, start: int) -> str:
    rest = stream.take(8, "a section header")
    order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(rest[4:])
    if order is None:
        raise BrokenCapture(start, f"a section header with the unknown byte order {rest[4:].hex(' ')}")
    length = struct.unpack(f"{order}I", rest[:4])[0]
    if length < 28 or length % 4:
        raise BrokenCapture(start, f"a section header of {length} bytes")
    body = stream.take(length - 12, "a section header")
    _check_trailer(body, rest[:4], start)
    return order


def _read_block(stream: Stream, order: str, start: int) -> bytes:
    first = stream.take(4, "a block's length")
    length = struct.unpack(f"{order}I", first)[0]
    if length < 12 or length % 4:
        raise BrokenCapture(start, f"a block claims {length} bytes, which cannot be right")
    body = stream.take(length - 8, f"the block at byte {start}")
    _check_trailer(body, first, start)
    return body[:-4]


def _check_trailer(body: bytes, first: bytes, start: int) -> None:
    if body[-4:] != first:
        raise BrokenCapture(start, "a block's two lengths differ")


def _interface(body: bytes, order: str, index: int) -> _Clocked:
    link_type, _, snap_length = struct.unpack_from(f"{order}HHI", body)
    name = description = ""
    ticks, offset = 1_000_000, 0
    for code, value in _options(body, 8, order):
        if code == pcapng.IF_NAME:
            name = value.decode(errors="replace")
        elif code == pcapng.IF_DESCRIPTION:
            description = value.decode(errors="replace")
        elif code == pcapng.IF_TSRESOL and value:
            ticks = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == pcapng.IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(f"{order}q", value)[0]
    return _Clocked(Interface(name or f"interface {index}", description, link_type), ticks, offset, snap_length)


def _enhanced(body: bytes, order: str, number: int, interfaces: list[_Clocked]) -> CapturedPacket:
    index, high, low, length, original = struct.unpack_from(f"{order}IIIII", body)
    return _timed(body, order, number, _known(interfaces, index), (high, low, length, original))


def _old(body: bytes, order: str, number: int, interfaces: list[_Clocked]) -> CapturedPacket:
    index, _, high, low, length, original = struct.unpack_from(f"{order}HHIIII", body)
    return _timed(body, order, number, _known(interfaces, index), (high, low, length, original))


def _timed(body: bytes, order: str, number: int, clocked: _Clocked, head: tuple[int, int, int, int]) -> CapturedPacket:
    high, low, length, original = head
    data = _data(body, 20, length)
    comments: list[str] = []
    direction: Direction = ""
    for code, value in _options(body, 20 + length + -length % 4, order):
        if code == pcapng.COMMENT:
            comments.append(value.decode(errors="replace"))
        elif code == pcapng.EPB_FLAGS and len(value) == 4:
            direction = _DIRECTIONS.get(struct.unpack(f"{order}I", value)[0] & 3, "")
    at_ns = clocked.nanoseconds(high, low)
    return CapturedPacket(number, at_ns, clocked.interface, data, original, direction, tuple(comments))


def _simple(body: bytes, order: str, number: int, interfaces: list[_Clocked]) -> CapturedPacket:
    original = struct.unpack_from(f"{order}I", body)[0]
    clocked = _known(interfaces, 0)
    length = min(original, clocked.snap_length or original)
    return CapturedPacket(number, 0, clocked.interface, _data(body, 4, length), original)


_PACKETS = {pcapng.ENHANCED_PACKET: _enhanced, pcapng.SIMPLE_PACKET: _simple, _OLD_PACKET: _old}


def _known(interfaces: list[_Clocked], index: int) -> _Clocked:
    if index >= len(interfaces):
        raise ValueError(f"interface {index} was never described")
    return interfaces[index]


def _data(body: bytes, start: int, length: int) -> bytes:
    if start + length > len(body):
        raise ValueError(f"{length} bytes of packet in a block with room for {len(body) - start}")
    return body[start : start + length]


def _count(body: bytes, order: str, interfaces: list[_Clocked], statistics: dict[str, Statistics]) -> None:
    name = _known(interfaces, struct.unpack_from(f"{order}I", body)[0]).interface.name
    values = {
        code: struct.unpack(f"{order}Q", value)[0] for code, value in _options(body, 12, order) if len(value) == 8
    }
    statistics[name] = Statistics(values.get(pcapng.ISB_RECEIVED, 0), values.get(pcapng.ISB_DROPPED_BY_KERNEL, 0))


def _options(body: bytes, offset: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield options; a list that runs out of its block just ends, the packet in front of it is still good."""
    while offset + 4 <= len(body):
        code, length = struct.unpack_from(f"{order}HH", body, offset)
        if code == pcapng.END_OF_OPTIONS or offset + 4 + length > len(body):
            return
        yield code, body[offset + 4 : offset + 4 + length]
        offset += 4 + length + -length % 4
