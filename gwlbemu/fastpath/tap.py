"""A TAP device as the way up: what the tc programs redirect to it, Python reads.

It offers no offloads, so the kernel cuts super-packets and finishes checksums before they get here. It is gone when
its descriptor is.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

from gwlbemu.errors import LostSocketError, NetError

# <linux/if_tun.h>, <linux/sockios.h>, <linux/if.h>
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SIOCSIFMTU, _SIOCSIFTXQLEN, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8922, 0x8943, 0x8913, 0x8914, 1
_ETHERNET = 14
_TX_DROPPED = 11  # column of /proc/net/dev, after the colon
QUEUE = 8192  # frames that may wait
BATCH = 64


class Tap:
    """The receiving half of a port: makes the TAP device `name` in the current namespace and reads from it.

    `mtu` is that of the interface it stands for, in bytes; `index` is its interface index. Raises NetError when the
    kernel refuses.
    """

    def __init__(self, name: str, mtu: int) -> None:
        self.name = name
        self._size = mtu + _ETHERNET
        try:
            self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NetError(f"opening /dev/net/tun: {error.strerror}") from None
        try:
            fcntl.ioctl(self._descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
            # No address and no IPv6: the device must stay silent, or Python would read what the kernel says by itself.
            quiet = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            if quiet.exists():
                quiet.write_text("1")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                fcntl.ioctl(asking, _SIOCSIFMTU, struct.pack("16si20x", name.encode(), mtu))
                fcntl.ioctl(asking, _SIOCSIFTXQLEN, struct.pack("16si20x", name.encode(), QUEUE))
                (flags,) = struct.unpack_from(
                    "h", fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode())), 16
                )
                fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), flags | _IFF_UP))
        except OSError as error:
            os.close(self._descriptor)
            raise NetError(f"making TAP {name}: {error.strerror}") from None
        self.index = socket.if_nametoindex(name)

    def fileno(self) -> int:
        """Return the descriptor, for a loop to wait on; -1 when closed."""
        return self._descriptor

    def recv(self) -> list[bytes]:
        """Return one batch of frames in the order of their arrival, [] when there is none.

        Raises LostSocketError when the device is gone.
        """
        frames: list[bytes] = []
        try:
            for _ in range(BATCH):
                frames.append(os.read(self._descriptor, self._size))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            raise LostSocketError(f"TAP {self.name} is lost: {error.strerror}") from None
        return frames

    def drops(self) -> int:
        """Return how many frames found the queue full since the device was made."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, colon, numbers = line.partition(":")
            if colon and name.strip() == self.name:
                return int(numbers.split()[_TX_DROPPED])
        return 0

    def close(self) -> None:
        """Take the device away; twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
