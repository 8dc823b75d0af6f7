"""recvmmsg and sendmmsg through ctypes: one system call, many frames, and no ctypes object touched per frame.

The iovec and mmsghdr arrays are built once and afterwards read and written as plain memory.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate

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


class _Batch:
    """Memory for `size` frames and the arrays that tell the kernel where each begins and how long it is."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = bytearray(size * SLOT)
        self._start = ctypes.addressof((ctypes.c_char * len(self._memory)).from_buffer(self._memory))
        self._iovecs = (_Iovec * size)(*(_Iovec(self._start + i * SLOT, SLOT) for i in range(size)))
        self._messages = (_Message * size)()
        for i, message in enumerate(self._messages):
            message.iov = ctypes.addressof(self._iovecs) + i * ctypes.sizeof(_Iovec)
            message.iov_length = 1
        self._address = ctypes.addressof(self._messages)


class _Readers(dict[int, struct.Struct]):
    """Length -> what copies that many bytes out of a slot: half the price of a slice of a memoryview."""

    def __missing__(self, length: int) -> struct.Struct:
        reader = self[length] = struct.Struct(f"{length}s{SLOT - length}x")
        return reader


_READERS = _Readers()


class Incoming(_Batch):
    """Receives up to `size` frames at once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._offsets = tuple(range(0, size * SLOT, SLOT))
        self._view = memoryview(self._memory)
        self._lengths = memoryview(self._messages).cast("B").cast("I")[LENGTH_WORD::MESSAGE_WORDS]

    def receive(self, descriptor: int) -> list[bytes]:
        """Return what is waiting at the socket; OSError (EAGAIN) when nothing is."""
        count = _recvmmsg(descriptor, self._address, self.size, MSG_DONTWAIT, None)
        if count < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        memory, lengths = self._memory, self._lengths[:count].tolist()
        if lengths.count(lengths[0]) == count:  # as a flood or a bulk transfer is: half the price again
            return [frame for (frame,) in _READERS[lengths[0]].iter_unpack(self._view[: count * SLOT])]
        return [
            _READERS[length].unpack_from(memory, offset)[0]
            for length, offset in zip(lengths, self._offsets, strict=False)
        ]


class Outgoing(_Batch):
    """Sends up to `size` frames at once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        iovecs = memoryview(self._iovecs).cast("B").cast("Q")
        self._bases, self._lengths = iovecs[0::2], iovecs[1::2]

    def load(self, frames: Sequence[bytes]) -> bool:
        """Take up to `size` frames; False, and none taken, when one is longer than a slot."""
        count, joined = len(frames), b"".join(frames)
        lengths = array("Q", map(len, frames))
        if max(lengths, default=0) > SLOT:
            return False
        self._memory[: len(joined)] = joined
        self._lengths[:count] = memoryview(lengths)
        self._bases[:count] = memoryview(array("Q", accumulate(lengths, initial=self._start)))[:count]
        return True

    def transmit(self, descriptor: int, first: int, count: int) -> int:
        """Send loaded frames `first` to `count`; return how many the kernel took. OSError when it refused the first."""
        sent: int = _sendmmsg(descriptor, self._address + first * MESSAGE_SIZE, count - first, MSG_DONTWAIT)
        if sent < 0:
            raise OSError(ctypes.get_errno(), "sendmmsg")
        return sent
