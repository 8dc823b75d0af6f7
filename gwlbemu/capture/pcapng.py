"""pcapng blocks as bytes (draft-ietf-opsawg-pcapng): little-endian, nanoseconds, one interface per tap.

A file is one section header, then interface descriptions (numbered from 0 in the order written), then packets and
statistics. Blocks are whole in themselves: a writer that only ever appends whole blocks leaves a file that every reader
takes up to its last byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Literal

Direction = Literal["in", "out", ""]

SECTION_HEADER, INTERFACE, SIMPLE_PACKET, STATISTICS, ENHANCED_PACKET = 0x0A0D0D0A, 1, 3, 5, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
LINK_ETHERNET = 1
COMMENT, END_OF_OPTIONS = 1, 0
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_TSOFFSET = 2, 3, 9, 14
SHB_APPLICATION = 4
EPB_FLAGS = 2
ISB_RECEIVED, ISB_DROPPED_BY_KERNEL = 4, 7
INBOUND, OUTBOUND = 1, 2
_FLAGS: dict[Direction, int] = {"in": INBOUND, "out": OUTBOUND, "": 0}
_NANOSECONDS = b"\x09"
_LONGEST_OPTION = 0xFFFF
_PACKET_HEAD = struct.Struct("<IIIIIII")
_NO_OPTIONS = b""


def section_header(application: str = "gwlbemu") -> bytes:
    """Return the block that starts a file."""
    fixed = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(SECTION_HEADER, fixed + _options([(SHB_APPLICATION, application.encode())]))


def interface_description(
    name: str, description: str = "", *, link_type: int = LINK_ETHERNET, snap_length: int = 0
) -> bytes:
    """Return the block that makes `name` the next interface; `snap_length` 0 means unlimited."""
    options = [(IF_NAME, name.encode())]
    if description:
        options.append((IF_DESCRIPTION, description.encode()))
    options.append((IF_TSRESOL, _NANOSECONDS))
    return _block(INTERFACE, struct.pack("<HHI", link_type, 0, snap_length) + _options(options))


def enhanced_packet(
    interface: int,
    at_ns: int,
    frame: bytes,
    *,
    original_length: int | None = None,
    direction: Direction = "",
    comments: Iterable[str] = (),
) -> bytes:
    """Return a packet's block.

    `at_ns` is nanoseconds since 1970; `original_length` is more than the frame when it was cut.
    """
    options = [(COMMENT, comment.encode()) for comment in comments]
    if direction:
        options.append((EPB_FLAGS, struct.pack("<I", _FLAGS[direction])))
    size = len(frame)
    tail = bytes(-size % 4) + (_options(options) if options else _NO_OPTIONS)
    length = 32 + size + len(tail)
    head = _PACKET_HEAD.pack(
        ENHANCED_PACKET, length, interface, at_ns >> 32, at_ns & 0xFFFFFFFF, size, original_length or size
    )
    return b"%b%b%b%b" % (head, frame, tail, length.to_bytes(4, "little"))


def interface_statistics(interface: int, at_ns: int, *, received: int, dropped: int) -> bytes:
    """Return how many packets the tap has seen, and how many the kernel threw away before they could be written."""
    options = [(ISB_RECEIVED, struct.pack("<Q", received)), (ISB_DROPPED_BY_KERNEL, struct.pack("<Q", dropped))]
    return _block(STATISTICS, struct.pack("<III", interface, at_ns >> 32, at_ns & 0xFFFFFFFF) + _options(options))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(_option_parts(options)) + struct.pack("<HH", END_OF_OPTIONS, 0)


def _option_parts(options: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    for code, value in options:
        if len(value) > _LONGEST_OPTION:
            value = value[:_LONGEST_OPTION].decode(errors="ignore").encode()
        yield struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
