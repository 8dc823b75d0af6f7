"""Frames in and out of a real interface of the current namespace, through an AF_PACKET socket."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence

from gwlbemu.errors import LostSocketError, NetError
from gwlbemu.ports import interface
from gwlbemu.ports.filters import SocketFilter, tagged, untagged
from gwlbemu.ports.mmsg import SLOT, Incoming, Outgoing

# <linux/if_packet.h>, <asm-generic/socket.h>
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_ATTACH_FILTER = 32, 33, 26
ETH_P_ALL = 3
BATCH = 128
NOTHING_NOW = (errno.EAGAIN, errno.EINTR, errno.ENETDOWN, errno.ENOBUFS, errno.ENOMEM)
SOCKET_GONE = (errno.EBADF, errno.ENOTSOCK, errno.EFAULT)


def attach(sock: socket.socket, program: SocketFilter) -> None:
    """Give the socket a classic BPF filter (struct sock_fprog)."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))


class PacketPort:
    """A `Port` on the interface `device`; `program` says which frames are wanted (none: every one without a VLAN tag).

    `buffer_bytes` is what the kernel may queue for us; a frame that finds it full is counted in `drops`. With
    `send_only` it receives nothing. NetError when the interface is missing or the process may not.
    """

    def __init__(
        self, device: str, *, program: SocketFilter = (), buffer_bytes: int = 8 << 20, send_only: bool = False
    ) -> None:
        self.device = device
        self.mtu = interface.mtu(device)
        if self.mtu + 14 > SLOT:
            raise NetError(f"interface {device} has MTU {self.mtu}: a packet port carries at most {SLOT - 14}")
        self.unsent = 0
        self._dropped = self._tagged = 0
        self._incoming, self._outgoing = Incoming(BATCH), Outgoing(BATCH)
        try:
            self._socket = self._open(device, program or untagged(), buffer_bytes, 0 if send_only else ETH_P_ALL)
            self._tag_counter = None if send_only else self._count_tagged(device)
        except OSError as error:
            raise NetError(f"opening a packet socket on interface {device}: {error.strerror}") from None
        self._descriptor = self._socket.fileno()

    @staticmethod
    def _open(device: str, program: SocketFilter, buffer_bytes: int, protocol: int) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing is received until it is bound
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes)
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, buffer_bytes)
            # Not PACKET_QDISC_BYPASS: tcpdump and the lab's capture would not see what is sent (packet_mmap.rst).
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            attach(sock, program)
            sock.bind((device, protocol))
        except OSError:
            sock.close()
            raise
        return sock

    def _count_tagged(self, device: str) -> socket.socket:
        """Return a socket that nobody reads: the kernel counts what its filter lets in, and throws it away."""
        try:
            return self._open(device, tagged(), 0, ETH_P_ALL)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor: see `Port`."""
        return self._descriptor

    def recv(self) -> list[bytes]:
        """Return a batch of frames: see `Port`. Raises LostSocketError, as `send` does."""
        try:
            return self._incoming.receive(self._descriptor)
        except OSError as error:
            if error.errno in NOTHING_NOW:
                return []
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> LostSocketError:
        return LostSocketError(f"the packet socket on interface {self.device} is lost: {os.strerror(error.errno or 0)}")

    def send(self, frames: Sequence[bytes]) -> int:
        """Send frames: see `Port`."""
        taken = 0
        for start in range(0, len(frames), BATCH):
            part = frames[start : start + BATCH]
            if not self._outgoing.load(part):
                fitting = [frame for frame in part if len(frame) <= SLOT]
                self.unsent += len(part) - len(fitting)
                part = fitting
                self._outgoing.load(part)
            taken += self._transmit(len(part))
        return taken

    def _transmit(self, count: int) -> int:
        first = lost = 0
        seen_down = False
        while first < count:
            try:
                first += self._outgoing.transmit(self._descriptor, first, count)
            except OSError as error:
                # The first ENETDOWN may be the memory of an interface that was down and is up again.
                if error.errno == errno.EINTR or (error.errno == errno.ENETDOWN and not seen_down):
                    seen_down = error.errno == errno.ENETDOWN
                    continue
                if error.errno in SOCKET_GONE:
                    raise self._lost(error) from None
                first += 1
                lost += 1
        self.unsent += lost
        return count - lost

    def drops(self) -> int:
        # Reading PACKET_STATISTICS sets it to zero: packet(7).
        """Return how many frames were lost before `recv`: see `Port`."""
        (_, dropped) = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._dropped += dropped
        return self._dropped

    def tagged(self) -> int:
        """Return how many frames had a VLAN tag: see `Port`."""
        if self._tag_counter is not None:
            (packets, _) = struct.unpack("II", self._tag_counter.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self._tagged += packets  # those that found the socket's buffer full are among them: packet(7)
        return self._tagged

    def close(self) -> None:
        """Give the descriptor back: see `Port`."""
        self._socket.close()
        if self._tag_counter is not None:
            self._tag_counter.close()
