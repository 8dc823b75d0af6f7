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


_MOST_INTERFACES = 1 << 16  # of one section; a capture of many machines has hundreds
_PACKET_BYTES = 32  # of a block with an empty packet
_MOST_KNOWN = 1 << 13
_new = tuple.__new__


class _Clocked(NamedTuple):
    interface: Interface
    ticks_per_second: int
    offset_ns: int
    snap_length: int

    def nanoseconds(self, ticks: int) -> int:
        if self.ticks_per_second == 1_000_000_000:
            return ticks + self.offset_ns
        return ticks * 1_000_000_000 // self.ticks_per_second + self.offset_ns


class _Section:
    """What a section says about its packets: byte order, interfaces, and the options that were seen, which repeat."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.word, self.packet = struct.Struct(f"{order}I"), struct.Struct(f"{order}IIIIIII")
        self.interfaces: list[_Clocked] = []
        self.known: dict[bytes, tuple[Direction, tuple[str, ...]]] = {}

    def interface(self, index: int) -> _Clocked:
        """Return a described interface; ValueError for another."""
        if index >= len(self.interfaces):
            raise ValueError(f"interface {index} was never described")
        return self.interfaces[index]

    def told(self, options: bytes) -> tuple[Direction, tuple[str, ...]]:
        """Return direction and comments out of a packet's options, and remember them."""
        comments: list[str] = []
        direction: Direction = ""
        for code, value in _options(options + bytes(4), 0, self.order):
            if code == pcapng.COMMENT:
                comments.append(value.decode(errors="replace"))
            elif code == pcapng.EPB_FLAGS and len(value) == 4:
                direction = _DIRECTIONS.get(struct.unpack(f"{self.order}I", value)[0] & 3, "")
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[options] = direction, tuple(comments)
        return self.known[options]


def read_pcapng(stream: Stream, statistics: dict[str, Statistics]) -> Iterator[CapturedPacket]:
    """Yield the packets behind the first four bytes; fill `statistics` by interface name. Raises BrokenCapture."""
    kind = SECTION_START
    section = _Section("<")
    number = 0
    while kind:
        start = stream.offset - 4
        if kind == SECTION_START:
            section = _Section(_read_section(stream, start))
        else:
            what: int = section.word.unpack(kind)[0]
            body = _read_block(stream, section.word, start)
            try:
                if what in _PACKETS:
                    number += 1
                    yield _PACKETS[what](body, section, number)
                elif what == pcapng.INTERFACE:
                    if len(section.interfaces) == _MOST_INTERFACES:
                        raise BrokenCapture(start, f"more than {_MOST_INTERFACES} interfaces in one section")
                    section.interfaces.append(_interface(body, section))
                elif what == pcapng.STATISTICS:
                    _count(body, section, statistics)
            except (struct.error, IndexError, ValueError) as error:
                raise BrokenCapture(start, f"a block of type {what} is inconsistent: {error}") from error
        while captured := _usual_packet(stream, section, number + 1):
            number += 1
            yield captured
        kind = stream.take_or_end(4, "a block's type")


def _usual_packet(stream: Stream, section: _Section, number: int) -> CapturedPacket | None:
    """Return the next block's packet when all of it is in the chunk and nothing is odd; None leaves it where it is."""
    chunk, at = stream.chunk, stream.at
    if at + _PACKET_BYTES > len(chunk):
        return None
    kind, block, index, high, low, length, original = section.packet.unpack_from(chunk, at)
    data_at, end = at + 28, at + block
    options_at = data_at + length + -length % 4
    if (
        kind != pcapng.ENHANCED_PACKET
        or block % 4
        or options_at > end - 4
        or end > len(chunk)
        or section.word.unpack_from(chunk, end - 4)[0] != block
        or index >= len(section.interfaces)
    ):
        return None
    clocked, options = section.interfaces[index], chunk[options_at : end - 4]
    direction, comments = section.known.get(options) or section.told(options)
    stream.at = end
    at_ns, data = clocked.nanoseconds(high << 32 | low), chunk[data_at : data_at + length]
    return _new(CapturedPacket, (number, at_ns, clocked.interface, data, original, direction, comments))


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


def _read_block(stream: Stream, word: struct.Struct, start: int) -> bytes:
    first = stream.take(4, "a block's length")
    length = word.unpack(first)[0]
    if length < 12 or length % 4:
        raise BrokenCapture(start, f"a block claims {length} bytes, which cannot be right")
    body = stream.take(length - 8, "the block's content")
    if body[-4:] != first:
        _check_trailer(body, first, start)
    return body


def _check_trailer(body: bytes, first: bytes, start: int) -> None:
    if body[-4:] != first:
        raise BrokenCapture(start, "a block's two lengths differ")


def _interface(body: bytes, section: _Section) -> _Clocked:
    order = section.order
    link_type, _, snap_length = struct.unpack_from(f"{order}HHI", body[:-4])
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
    interface = Interface(name or f"interface {len(section.interfaces)}", description, link_type)
    return _Clocked(interface, ticks, offset * 1_000_000_000, snap_length)


def _enhanced(body: bytes, section: _Section, number: int) -> CapturedPacket:
    index, high, low, length, original = struct.unpack_from(f"{section.order}IIIII", body)
    return _timed(body, section, number, index, high << 32 | low, length, original)


def _old(body: bytes, section: _Section, number: int) -> CapturedPacket:
    index, _, high, low, length, original = struct.unpack_from(f"{section.order}HHIIII", body)
    return _timed(body, section, number, index, high << 32 | low, length, original)


def _timed(
    body: bytes, section: _Section, number: int, index: int, ticks: int, length: int, original: int
) -> CapturedPacket:
    clocked = section.interface(index)
    data = _data(body, 20, length)
    direction, comments = section.told(body[20 + length + -length % 4 : -4])
    return CapturedPacket(number, clocked.nanoseconds(ticks), clocked.interface, data, original, direction, comments)


def _simple(body: bytes, section: _Section, number: int) -> CapturedPacket:
    original = section.word.unpack_from(body)[0]
    clocked = section.interface(0)
    length = min(original, clocked.snap_length or original)
    return CapturedPacket(number, 0, clocked.interface, _data(body, 4, length), original)


_PACKETS = {pcapng.ENHANCED_PACKET: _enhanced, pcapng.SIMPLE_PACKET: _simple, _OLD_PACKET: _old}


def _data(body: bytes, start: int, length: int) -> bytes:
    room = len(body) - 4  # the block's length stands behind it once more
    if start + length > room:
        raise ValueError(f"{length} bytes of packet in a block with room for {max(room - start, 0)}")
    return body[start : start + length]


def _count(body: bytes, section: _Section, statistics: dict[str, Statistics]) -> None:
    order = section.order
    name = section.interface(section.word.unpack_from(body[:-4])[0]).interface.name
    values = {
        code: struct.unpack(f"{order}Q", value)[0] for code, value in _options(body, 12, order) if len(value) == 8
    }
    statistics[name] = Statistics(values.get(pcapng.ISB_RECEIVED, 0), values.get(pcapng.ISB_DROPPED_BY_KERNEL, 0))


def _options(body: bytes, offset: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield options; a list that runs out of its block just ends, the packet in front of it is still good."""
    end = len(body) - 4
    while offset + 4 <= end:
        code, length = struct.unpack_from(f"{order}HH", body, offset)
        if code == pcapng.END_OF_OPTIONS or offset + 4 + length > end:
            return
        yield code, body[offset + 4 : offset + 4 + length]
        offset += 4 + length + -length % 4
