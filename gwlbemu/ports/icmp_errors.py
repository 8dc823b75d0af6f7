"""ICMP errors that come to this machine's address about what it has sent: who says so, and what."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.icmp import TIME_EXCEEDED, UNREACHABLE, decode_icmp
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.protocols import ICMP

_SOL_RAW, _ICMP_FILTER = 255, 1  # linux/socket.h; linux/icmp.h: a mask of the types that are not wanted
_WANTED = 1 << UNREACHABLE | 1 << TIME_EXCEEDED
_CODES = {  # RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1
    0: "network unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "fragmentation needed",
    9: "administratively prohibited",
    10: "administratively prohibited",
    13: "administratively prohibited",
}
_BATCH, _LONGEST = 64, 2048
_MOST = 1000  # rows; senders that make up addresses fill no memory


class IcmpError(NamedTuple):
    """ICMP errors of one kind. `sender` is who sent them, `destination` and `port` are where the packets were to go."""

    sender: str
    destination: str
    port: int
    words: str  # such as "port unreachable"
    packets: int


class IcmpErrors:
    """Counts the errors about IPv4 packets of one protocol (`about`, IANA's number)."""

    def __init__(self, about: int) -> None:
        self._about = about
        self._counts: dict[tuple[str, str, int, str], int] = {}
        self.undecodable = 0  # packets that are no ICMP error of IPv4, or quote no readable IPv4 packet

    def note(self, packet: bytes) -> None:
        """Count an IPv4 packet, if it is such an error; whatever anybody sends, nothing is raised."""
        try:
            ip = decode_ip(packet)
            if (ip.version, ip.protocol) != (4, ICMP):
                raise WireError("no ICMP of IPv4")
            head = decode_icmp(packet, ip)
        except WireError:
            self.undecodable += 1
            return
        quoted = head.quoted
        if quoted is None or quoted.version != 4:
            self.undecodable += 1
            return
        if quoted.protocol != self._about:
            return
        words = _CODES.get(head.code, f"unreachable, code {head.code}") if head.type == UNREACHABLE else "TTL expired"
        sender, destination = socket.inet_ntoa(ip.source), socket.inet_ntoa(quoted.destination)
        key = (sender, destination, quoted.destination_port, words)
        if key in self._counts or len(self._counts) < _MOST:
            self._counts[key] = self._counts.get(key, 0) + 1

    def rows(self) -> list[IcmpError]:
        """Return what was counted."""
        return [IcmpError(*key, count) for key, count in self._counts.items()]


class IcmpErrorPort:
    """Takes the errors that come to the namespace in which it is opened. Raises OSError without CAP_NET_RAW."""

    def __init__(self, errors: IcmpErrors) -> None:
        self._errors = errors
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~_WANTED))
        self.fileno, self.close = self._socket.fileno, self._socket.close

    def read(self) -> None:
        """Take a batch."""
        for _ in range(_BATCH):
            try:
                packet = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            self._errors.note(packet)
