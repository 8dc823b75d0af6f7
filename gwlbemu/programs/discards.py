"""Dropped packets on their way from a node to the capture: one Unix datagram each, at most so many a second.

A datagram is: wall-clock nanoseconds (8 bytes), length of the interface name, length of the comment (2 bytes each),
name, comment, the frame as it was received.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.ports.loop import Clock

_HEAD = struct.Struct("!QHH")
PER_SECOND = 1000  # frames that are reported at most
LARGEST = 65536  # bytes of a datagram


class DroppedFrame(NamedTuple):
    """A frame that a node dropped: `at_ns` is the time of day in nanoseconds since 1970, `interface` the node."""

    at_ns: int
    interface: str
    comment: str
    frame: bytes


def encode(dropped: DroppedFrame) -> bytes:
    """Return the datagram that reports a dropped frame (its form is at the top of this file)."""
    name, comment = dropped.interface.encode(), dropped.comment.encode()
    return _HEAD.pack(dropped.at_ns, len(name), len(comment)) + name + comment + dropped.frame


def decode(data: bytes) -> DroppedFrame:
    """`encode`'s inverse; WireError for anything else."""
    try:
        at_ns, name, comment = _HEAD.unpack_from(data)
    except struct.error:
        raise WireError("a discard record that is cut off") from None
    if _HEAD.size + name + comment > len(data):
        raise WireError("a discard record that is cut off")
    start, middle = _HEAD.size, _HEAD.size + name
    try:
        texts = data[start:middle].decode(), data[middle : middle + comment].decode()
    except UnicodeDecodeError:
        raise WireError("a discard record whose texts are not UTF-8") from None
    return DroppedFrame(at_ns, *texts, data[middle + comment :])


class Discards:
    """Tells the capture, whose socket is at `path` ("": none), about frames that the node `interface` has dropped.

    It never blocks; `reported` frames went through, `unreported` ones did not.
    """

    def __init__(self, path: str, interface: str, clock: Clock) -> None:
        self._path, self._interface, self._clock = path, interface, clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._second = 0
        self._left = PER_SECOND
        self.reported = self.unreported = 0

    def tell(self, frame: bytes, comment: str) -> None:
        """Report one frame, with `comment` for the capture's reader; beyond `PER_SECOND` it is only counted."""
        now = self._clock.wall_ns()
        second = now // 1_000_000_000
        if second != self._second:
            self._second, self._left = second, PER_SECOND
        if self._left == 0 or not self._path:
            self.unreported += 1
            return
        self._left -= 1
        try:
            self._socket.sendto(encode(DroppedFrame(now, self._interface, comment, frame)), self._path)
            self.reported += 1
        except OSError:  # no capture there, or it is behind
            self.unreported += 1

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
