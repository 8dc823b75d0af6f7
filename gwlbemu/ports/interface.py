"""What the kernel says about an interface of the current namespace."""

from __future__ import annotations

import fcntl
import socket
import struct

from gwlbemu.errors import NetError

SIOCGIFMTU, SIOCGIFHWADDR = 0x8921, 0x8927  # <linux/sockios.h>


def _ask(device: str, request: int, what: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            return fcntl.ioctl(asking, request, struct.pack("16s24x", device.encode()))
        except OSError as error:
            raise NetError(f"reading the {what} of interface {device}: {error.strerror}") from None


def mtu(device: str) -> int:
    """Return the MTU of `device` in bytes; NetError when there is no such interface."""
    (value,) = struct.unpack_from("i", _ask(device, SIOCGIFMTU, "MTU"), 16)
    return int(value)


def hardware_address(device: str) -> bytes:
    """Return the 6-byte MAC of `device`; NetError when there is no such interface."""
    return _ask(device, SIOCGIFHWADDR, "MAC address")[18:24]
