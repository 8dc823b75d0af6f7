"""What is asked of one interface by ioctl: offloads, up and down. No library, so `status` starts fast."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.net.inside import inside

SIOCETHTOOL, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8946, 0x8913, 0x8914
IFF_UP = 0x1
# linux/ethtool.h; transmit checksums last for a reason: segmentation depends on them
_OFFLOADS = {"tso": 0x1F, "gso": 0x24, "gro": 0x2C, "sg": 0x19, "tx": 0x17}


def switch_offloads_off(fd: int, device: str) -> None:
    """Make `device` send only what a wire would carry; `fd` is any socket of its namespace. OSError when refused."""
    for command in _OFFLOADS.values():
        value = array.array("B", struct.pack("=II", command, 0))
        fcntl.ioctl(fd, SIOCETHTOOL, struct.pack("16sP", device.encode(), value.buffer_info()[0]))


def set_link(namespace: Path, device: str, *, up: bool) -> bool:
    """Set an interface up or down; False when it is already.

    Down loses its routes: to pull a cable, set down the end that has no address.
    """
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        try:
            flags = _flags(opened, device)
            wanted = flags | IFF_UP if up else flags & ~IFF_UP
            fcntl.ioctl(opened, SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), wanted))
            return wanted != flags
        except OSError as error:
            state = "up" if up else "down"
            raise NetError(f"cannot set {device} of {namespace.name} {state}: {error.strerror}") from error


def _flags(opened: socket.socket, device: str) -> int:
    answer = fcntl.ioctl(opened, SIOCGIFFLAGS, struct.pack("16sH14x", device.encode(), 0))
    return int(struct.unpack_from("H", answer, 16)[0])
