"""Listening to an interface without taking part: every frame, both directions, with the kernel's nanosecond stamp.

A TPACKET_V3 ring (packet_mmap in the kernel's documentation): the kernel fills blocks, we read a block at a time.
"""

from __future__ import annotations

import mmap
import socket
import struct
from typing import NamedTuple

from gwlbemu.errors import NetError
from gwlbemu.ports.filters import RETURN, Instruction
from gwlbemu.ports.packet import ETH_P_ALL, SOL_PACKET, attach

# <linux/if_packet.h>
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, TPACKET_V3 = 5, 6, 10, 2
PACKET_OUTGOING = 4
BLOCK_BYTES = 1 << 17
RETIRE_MS = 40  # a block that is not full is handed over after this long
_BLOCK = struct.Struct("=8xIII")  # struct tpacket_block_desc: status, number of packets, offset of the first
_FRAME = struct.Struct("=IIIII4xH")  # struct tpacket3_hdr: next, seconds, nanoseconds, kept, length, status, offset
_KIND_AT = 48 + 10  # struct sockaddr_ll behind the header: sll_pkttype
_STATUS_AT = 8


class TappedFrame(NamedTuple):
    """A frame that passed a tap; `length` is more than the frame has when it was cut."""

    at_ns: int  # since 1970
    tap: int
    outgoing: bool
    frame: bytes
    length: int


class Ring:
    """Tap number `tap` on `device` of the current namespace; keeps `snapshot_length` bytes of each frame.

    NetError when there is no such device. Frames that found all blocks full are counted in `drops`.
    """

    def __init__(self, device: str, *, tap: int, snapshot_length: int, blocks: int) -> None:
        self._tap, self._blocks, self._next, self._dropped = tap, blocks, 0, 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            size = BLOCK_BYTES * blocks
            request = struct.pack("7I", BLOCK_BYTES, blocks, 2048, size // 2048, RETIRE_MS, 0, 0)
            self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            attach(self._socket, (Instruction(RETURN, 0, 0, snapshot_length),))
            self._memory = mmap.mmap(self._socket.fileno(), size)
            self._socket.bind((device, ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise NetError(f"opening a tap on interface {device}: {error.strerror}") from None

    def fileno(self) -> int:
        """Return a descriptor that is readable while `read` has something to return."""
        return self._socket.fileno()

    def read(self) -> list[TappedFrame]:
        """Take every block that the kernel has handed over."""
        found: list[TappedFrame] = []
        memory = self._memory
        for _ in range(self._blocks):
            start = self._next * BLOCK_BYTES
            status, count, offset = _BLOCK.unpack_from(memory, start)
            if not status & 1:
                break
            self._take(start + offset, count, found)
            struct.pack_into("=I", memory, start + _STATUS_AT, 0)
            self._next = (self._next + 1) % self._blocks
        return found

    def _take(self, at: int, count: int, found: list[TappedFrame]) -> None:
        memory, tap, append = self._memory, self._tap, found.append
        for _ in range(count):
            following, seconds, nanoseconds, kept, length, offset = _FRAME.unpack_from(memory, at)
            frame = memory[at + offset : at + offset + kept]
            stamp = seconds * 1_000_000_000 + nanoseconds
            append(TappedFrame(stamp, tap, memory[at + _KIND_AT] == PACKET_OUTGOING, frame, length))
            at += following

    def drops(self) -> int:
        """Return how many frames were lost because all blocks were full, since the tap was opened."""
        _, dropped, _ = struct.unpack("3I", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self._dropped += dropped
        return self._dropped

    def clear_error(self) -> None:
        """Take note that the interface went down; without it the descriptor stays readable for ever."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Give memory and socket back."""
        self._memory.close()
        self._socket.close()
