"""recvmmsg and sendmmsg through ctypes: one system call, many frames, and no ctypes object touched per frame.

The iovec and mmsghdr arrays are built once and afterwards read and written as plain memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

MSG_DONTWAIT = 0x40
SLOT = 9216  # holds a frame of MTU 9001; a longer one is cut, which its own IP length then shows


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr on a 64-bit machine."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    )


MESSAGE_SIZE = ctypes.sizeof(_Message)
MESSAGE_WORDS, LENGTH_WORD = MESSAGE_SIZE // 4, _Message.length.offset // 4

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg, _sendmmsg = _libc.recvmmsg, _libc.sendmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Batch:
    """`size` slots of `SLOT` bytes that the kernel reads from or writes to."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = bytearray(size * SLOT)
        self._view = memoryview(self._memory)
        self._slots = [self._view[i * SLOT : (i + 1) * SLOT] for i in range(size)]
        start = ctypes.addressof((ctypes.c_char * len(self._memory)).from_buffer(self._memory))
        self._iovecs = (_Iovec * size)(*(_Iovec(start + i * SLOT, SLOT) for i in range(size)))
        self._messages = (_Message * size)()
        for i, message in enumerate(self._messages):
            message.iov = ctypes.addressof(self._iovecs) + i * ctypes.sizeof(_Iovec)
            message.iov_length = 1
        self._address = ctypes.addressof(self._messages)
        self._received = memoryview(self._messages).cast("B").cast("I")[LENGTH_WORD::MESSAGE_WORDS]
        self._sizes = memoryview(self._iovecs).cast("B").cast("Q")

    def receive(self, descriptor: int) -> list[bytes]:
        """Return what is waiting at the socket; [] when nothing is. OSError for anything but "nothing is waiting"."""
        count = _recvmmsg(descriptor, self._address, self.size, MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, "recvmmsg")
        return [
            slot[:length].tobytes() for slot, length in zip(self._slots, self._received[:count].tolist(), strict=False)
        ]

    def load(self, frames: Sequence[bytes]) -> None:
        """Put up to `size` frames into the slots."""
        memory, sizes, start = self._memory, self._sizes, 0
        for i, frame in enumerate(frames):
            length = len(frame)
            memory[start : start + length] = frame
            sizes[2 * i + 1] = length
            start += SLOT

    def transmit(self, descriptor: int, first: int, count: int) -> int:
        """Send slots `first` to `count`; return how many the kernel took. OSError when it refused the first."""
        sent: int = _sendmmsg(descriptor, self._address + first * MESSAGE_SIZE, count - first, MSG_DONTWAIT)
        if sent < 0:
            error = ctypes.get_errno()
            raise OSError(error, "sendmmsg")
        return sent
