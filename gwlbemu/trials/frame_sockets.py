"""What every packet socket of a trial needs: Linux's numbers, and the kernel's own time of a frame."""

from __future__ import annotations

import socket
import struct
import time

ETH_P_ALL, PACKET_OUTGOING, SO_TIMESTAMPNS = 3, 4, 35  # linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h
IP_TYPES = (b"\x08\x00", b"\x86\xdd")  # EtherTypes of IPv4 and IPv6
_TIMESPEC = struct.Struct("qq")
ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)  # bytes that `recvmsg` needs beside the frame


def stamped_at(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return when a frame came, in nanoseconds of the wall clock, by which the kernel stamps; now when it did not."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return time.time_ns()
