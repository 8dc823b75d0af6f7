"""Requests to netfilter by netlink, as bytes: one socket that stays in the namespace it was opened in."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from gwlbemu.errors import NetError

CONNTRACK, NFTABLES = 1, 10  # linux/netfilter/nfnetlink.h: NFNL_SUBSYS_...
REQUEST, ACK, DUMP = 1, 4, 0x300  # linux/netlink.h: NLM_F_...
_NETLINK_NETFILTER = 12
_ERROR, _DONE = 2, 3
_HEADERS = 20  # of an answer: nlmsghdr and nfgenmsg
_AT_ONCE = 64  # acknowledgements must fit into the socket's receive buffer
_NESTED = 0x8000
_KIND = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


class NfNetlink:
    """A socket to netfilter in the calling thread's namespace; a context manager that closes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, message: bytes) -> list[bytes]:
        """Send a request that is answered at once, and return the attributes of each answer.

        Raises NetError when the kernel refuses.
        """
        self._socket.send(message)
        return [answer[_HEADERS:] for answer in self._answers() if answer]

    def dump(self, message: bytes) -> Iterator[list[bytes]]:
        """Send a dump request and yield the attributes of its answers, some hundred at a time; read it to the end."""
        self._socket.send(message)
        done = False
        while not done:
            found = []
            for kind, answer in _messages(self._socket.recv(1 << 17)):
                if kind == _DONE:
                    done = True
                elif kind == _ERROR:
                    _check(answer)
                else:
                    found.append(answer[_HEADERS:])
            yield found

    def change(self, messages: Sequence[bytes]) -> int:
        """Send requests that ask for acknowledgements; return how many of them the kernel has carried out."""
        carried_out = 0
        for start in range(0, len(messages), _AT_ONCE):
            chunk = messages[start : start + _AT_ONCE]
            self._socket.send(b"".join(chunk))
            waiting = len(chunk)
            while waiting:
                for kind, answer in _messages(self._socket.recv(1 << 17)):
                    if kind == _ERROR:
                        waiting -= 1
                        carried_out += struct.unpack_from("=i", answer, 16)[0] == 0
        return carried_out

    def _answers(self) -> Iterator[bytes]:
        """Yield the answers to one request, until its acknowledgement."""
        while True:
            for kind, answer in _messages(self._socket.recv(1 << 17)):
                if kind == _ERROR:
                    _check(answer)
                    return
                if kind == _DONE:
                    return
                yield answer


def request(subsystem: int, message: int, flags: int, attributes: bytes = b"", family: int = socket.AF_INET) -> bytes:
    """Return a request: one of `subsystem`'s messages with these attributes."""
    length = _HEADERS + len(attributes)
    return struct.pack("=IHHIIBBH", length, subsystem << 8 | message, REQUEST | flags, 0, 0, family, 0, 0) + attributes


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, value: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | _NESTED, value)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in `data` by their kind."""
    found = {}
    at, end = 0, len(data)
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & _KIND] = data[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)
    return found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at : at + length]
        at += max((length + 3) & ~3, 16)


def _check(answer: bytes) -> None:
    error = -struct.unpack_from("=i", answer, 16)[0]
    if error > 0:
        raise NetError(f"netfilter refused a request: {os.strerror(error)}")
