"""An rtnetlink socket that stays in the namespace it was opened in, and takes many messages per system call."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

from gwlbemu.errors import NetError

NLMSG_ERROR = 2
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLMSGERR_ATTR_MSG = 1
_AT_ONCE = 64  # answers must fit into the socket's receive buffer

Request = tuple[str, bytes]  # what it is for, in words; an rtnetlink message that asks for an acknowledgement


class Netlink:
    """An rtnetlink socket. Open one with `inside(namespace)`; send from anywhere; close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)

    def fileno(self) -> int:
        """Return the descriptor of the socket, which belongs to the namespace that it was opened in."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Carry out every request in order; NetError names the first that the kernel refused, and its reason."""
        for start in range(0, len(requests), _AT_ONCE):
            chunk = requests[start : start + _AT_ONCE]
            self._socket.send(b"".join(_numbered(message, number) for number, (_, message) in enumerate(chunk)))
            refused = sorted(self._refusals(len(chunk)))
            if refused:
                number, reason = refused[0]
                raise NetError(f"cannot {chunk[number][0]}: {reason}")

    def _refusals(self, waiting: int) -> list[tuple[int, str]]:
        refused = []
        while waiting:
            answer = self._socket.recv(1 << 16)
            while len(answer) >= 20:
                length, kind, flags, number, _ = struct.unpack_from("=IHHII", answer)
                if kind == NLMSG_ERROR:
                    waiting -= 1
                    if error := -struct.unpack_from("=i", answer, 16)[0]:
                        refused.append((number, _reason(error, answer[36:length] if flags & NLM_F_ACK_TLVS else b"")))
                answer = answer[(length + 3) & ~3 :]
        return refused


def _numbered(message: bytes, number: int) -> bytes:
    return message[:8] + struct.pack("=I", number) + message[12:]


def _reason(error: int, attributes: bytes) -> str:
    """The kernel's own words where it gives some (linux/netlink.h, extended acknowledgement)."""
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == NLMSGERR_ATTR_MSG:
            return f"{os.strerror(error)} ({attributes[4:length].rstrip(bytes(1)).decode(errors='replace')})"
        attributes = attributes[max((length + 3) & ~3, 4) :]
    return os.strerror(error)
