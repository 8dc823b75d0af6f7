"""What every packet socket of a trial needs: Linux's numbers, and the kernel's own time of a frame."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

ETH_P_ALL, PACKET_OUTGOING, SO_TIMESTAMPNS = 3, 4, 35  # linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h
IP_TYPES = (b"\x08\x00", b"\x86\xdd")  # EtherTypes of IPv4 and IPv6
_SO_TIMESTAMPING, _STAMPS_OF_THE_KERNEL = 37, 1 << 3 | 1 << 4  # linux/net_tstamp.h: SOF_TIMESTAMPING_RX_SOFTWARE ...
_STAMPS_SECONDS, _BETWEEN_SECONDS = 1.0, 0.002
_TIMESPEC = struct.Struct("qq")
ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)  # bytes that `recvmsg` needs beside the frame


def stamped_at(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return when a frame came, in nanoseconds of the wall clock, by which the kernel stamps; now when it did not."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return time.time_ns()


def wait_for_stamps() -> None:
    """Wait until the kernel stamps what comes: it begins a moment after the first socket has asked for it, until when
    the time at which a frame is read would stand for that at which it came.

    Asks by a datagram to itself in the network namespace of the calling thread; gives up where `lo` is down.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _STAMPS_OF_THE_KERNEL)
        sock.settimeout(_STAMPS_SECONDS)
        sock.bind(("127.0.0.1", 0))
        give_up_at = time.monotonic() + _STAMPS_SECONDS
        while time.monotonic() < give_up_at:
            sock.sendto(b"", sock.getsockname())
            ancillary = sock.recvmsg(1, socket.CMSG_SPACE(3 * _TIMESPEC.size))[1]
            if any(kind == _SO_TIMESTAMPING for _, kind, _ in ancillary):
                return
            time.sleep(_BETWEEN_SECONDS)
