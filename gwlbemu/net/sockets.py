"""The sockets of a network namespace as its kernel tells them: who listens where, and what a full buffer threw away.

`/proc/net/packet` has no column for drops, so packet sockets are asked for by netlink (sock_diag(7)).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NET = Path("/proc/thread-self/net")
_LISTEN = "0A"  # linux/tcp_states.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2  # linux/netlink.h, sock_diag.h
_SHOW_INFO, _SHOW_MEMORY, _INFO, _MEMORY = 1, 0x10, 0, 6  # linux/packet_diag.h
_DROPS = 8  # linux/sock_diag.h: SK_MEMINFO_DROPS
_HEAD, _MESSAGE_BYTES = struct.Struct("=IHHII"), 16


@dataclass(frozen=True, slots=True)
class SocketDrops:
    """Packets for which a receive buffer had no room, since the socket (or the namespace) began."""

    what: str  # which sockets, such as "packet socket"
    packets: int


@dataclass(frozen=True, slots=True)
class Sockets:
    """What a namespace's sockets tell. `tcp_listening` and `udp_bound` are ports."""

    drops: tuple[SocketDrops, ...]
    tcp_listening: frozenset[int]
    udp_bound: frozenset[int]
    accept_overflows: int  # connections for which a queue of a listening TCP socket had no room


def read_sockets() -> Sockets:
    """Read the sockets of the calling thread's network namespace. What its kernel does not tell is left out."""
    counts = _counters()
    drops = [("UDP sockets", counts.get("Udp.RcvbufErrors", 0) + counts.get("Udp6RcvbufErrors", 0))]
    # A socket that takes nothing at all, to keep the kernel quiet, counts drops as well; those are no full buffer.
    drops += [("raw socket", int(row[-1])) for name in ("raw", "raw6") for row in _rows(name) if row[-1].isdigit()]
    with suppress(OSError, struct.error):
        drops += [("packet socket", count) for count in _packet_sockets()]
    return Sockets(
        drops=tuple(SocketDrops(what, packets) for what, packets in drops if packets),
        tcp_listening=frozenset(
            _port(row) for name in ("tcp", "tcp6") for row in _rows(name) if len(row) > 3 and row[3] == _LISTEN
        ),
        udp_bound=frozenset(_port(row) for name in ("udp", "udp6") for row in _rows(name)),
        accept_overflows=counts.get("TcpExt.ListenOverflows", 0),
    )


def wrong_checksums() -> dict[str, int]:
    """Return how many packets the kernel of the calling thread's network namespace dropped for a wrong checksum, by
    whose it was: IP header, TCP, UDP, ICMP. Without those that dropped none.
    """
    counts = _counters()
    names = {"IP header": "IpExt", "TCP": "Tcp", "UDP": "Udp", "ICMP": "Icmp"}
    return {layer: count for layer, name in names.items() if (count := counts.get(f"{name}.InCsumErrors", 0))}


def _rows(name: str) -> Iterator[list[str]]:
    with suppress(OSError):
        for line in (_NET / name).read_text().splitlines()[1:]:
            if (row := line.split()) and len(row) > 1:
                yield row


def _port(row: list[str]) -> int:
    return int(row[1].rpartition(":")[2], 16)


def _counters() -> dict[str, int]:
    """Return what a namespace counts of each protocol, such as Udp.RcvbufErrors and Udp6RcvbufErrors."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):  # two lines for each protocol: names, then values
        with suppress(OSError, ValueError):
            lines = (_NET / name).read_text().splitlines()
            for heading, values in zip(lines[::2], lines[1::2], strict=False):
                protocol, *names = heading.split()
                found |= {
                    f"{protocol}{each}".replace(":", "."): int(value)
                    for each, value in zip(names, values.split()[1:], strict=False)
                }
    with suppress(OSError, ValueError):
        for line in (_NET / "snmp6").read_text().splitlines():
            key, value = line.split()
            found[key] = int(value)
    return found


def _packet_sockets() -> Iterator[int]:
    """Yield the drops of every packet socket. One with a ring (TPACKET) counts its own where nobody else can look."""
    request = struct.pack("=BBHIIII", socket.AF_PACKET, 0, 0, 0, _SHOW_INFO | _SHOW_MEMORY, 0xFFFFFFFF, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.send(_HEAD.pack(_HEAD.size + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + request)
        while True:
            data = sock.recv(1 << 16)
            while data:
                length, kind, *_ = _HEAD.unpack_from(data)
                if kind in (_DONE, _ERROR) or length < _HEAD.size:
                    return
                yield from _dropped(data[_HEAD.size + _MESSAGE_BYTES : length])
                data = data[(length + 3) & ~3 :]


def _dropped(attributes: bytes) -> Iterator[int]:
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _MEMORY and length >= 4 + 4 * (_DROPS + 1):
            yield struct.unpack_from("=I", attributes, 4 + 4 * _DROPS)[0]
        attributes = attributes[max((length + 3) & ~3, 4) :]
