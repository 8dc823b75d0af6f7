"""What the kernel of a node shall hold, as values: listeners, forwards, target groups, and the marks of targets.

The mark of a connection (conntrack's, 32 bits) says which target it is on: a number that no other target of the load
balancer ever had, and above it one bit that says whether the client's address is preserved. So an old connection needs
nothing of the newest tables.

`Tables.chosen` says which target the kernel takes: it is the oracle that the kernel is compared with. A connection has
a slot of SLOTS in its listener's forward, which names a group, and, by another seed, one in the group, which names a
target. The NLB guide's flow hash: protocol, both addresses and ports, and the sequence number of a TCP SYN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gwlbemu.core.network import jhash
from gwlbemu.wire.protocols import TCP

SLOTS = 1000
NUMBER_MASK = 0xFFFFFF  # of a mark: the target's number, from 1
PRESERVED = 0x1000000  # of a mark: the client's address is preserved
NODE_PORTS = range(10536, 65536)  # of the node, where clients are not preserved: 55,000 for each target (NLB guide)
UDP_IDLE_SECONDS = 120  # NLB guide, Idle timeout: fixed


class Connection(NamedTuple):
    """The first packet of a connection to a listener, as far as it is hashed; `sequence` is 0 for UDP."""

    protocol: int  # TCP or UDP
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    sequence: int = 0

    @property
    def key(self) -> bytes:
        """What is hashed: each field at the beginning of a register of 4 bytes."""
        key = self.source + _register(self.source_port) + self.destination + _register(self.destination_port)
        return key + self.sequence.to_bytes(4, "big") if self.protocol == TCP else key


@dataclass(frozen=True, slots=True)
class Chooser:
    """A choice by hash: `slots` has SLOTS numbers, or is empty where there is nothing to choose from."""

    seed: int  # 32 bits
    sticky: bool  # by the client's address alone
    slots: tuple[int, ...]

    def choose(self, connection: Connection) -> int | None:
        """Return the number in the connection's slot."""
        key = connection.source if self.sticky else connection.key
        return self.slots[jhash.slot(key, self.seed, SLOTS)] if self.slots else None


@dataclass(frozen=True, slots=True)
class Destination:
    """A target as the kernel knows it."""

    mark: int
    address: bytes
    port: int


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A target group: `chooser` names marks, `destinations` are those of every target that may be chosen."""

    number: int  # which no other group of the load balancer ever had
    chooser: Chooser
    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class ListenerTable:
    """A listener's port in one protocol: `chooser` names numbers of groups."""

    protocol: int  # TCP or UDP
    port: int
    idle_seconds: int
    chooser: Chooser


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything. `known` are all targets whose late packets are answered and whose traffic is counted; connections to
    the TCP ports `proxied` are a proxy's in the node (see `proxy`), over IPv6 those to `proxied_ipv6`.
    """

    address: bytes  # of the node
    listeners: tuple[ListenerTable, ...]
    groups: Mapping[int, GroupTable]
    known: tuple[Destination, ...]
    proxied: tuple[int, ...] = ()
    ipv6_address: bytes = b""  # of the node; b"" without IPv6
    proxied_ipv6: tuple[int, ...] = ()

    def chosen(self, connection: Connection) -> int | None:
        """Return the mark of the target that the kernel takes for a new connection; None where it drops it."""
        for listener in self.listeners:
            if (listener.protocol, listener.port) == (connection.protocol, connection.destination_port):
                group = listener.chooser.choose(connection)
                return None if group is None else self.groups[group].chooser.choose(connection)
        return None


def _register(port: int) -> bytes:
    return port.to_bytes(2, "big") + b"\0\0"
