"""What the kernel says about an interface of the current namespace."""

from __future__ import annotations

import fcntl
import socket
import struct

from gwlbemu.errors import NetError

SIOCGIFMTU = 0x8921  # <linux/sockios.h>


def mtu(device: str) -> int:
    """Return the MTU of `device` in bytes; NetError when there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, SIOCGIFMTU, struct.pack("16s24x", device.encode()))
        except OSError as error:
            raise NetError(f"reading the MTU of interface {device}: {error.strerror}") from None
    return int(struct.unpack_from("i", answer, 16)[0])
