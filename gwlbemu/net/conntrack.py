"""The kernel's tracked connections of a namespace: read them, end them by mark, let their time pass (ctnetlink).

Everything happens in the network namespace of the calling thread. A dump is read in pieces, so that a caller with a
hundred thousand connections can do other things in between.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gwlbemu.net.nfnetlink import ACK, CONNTRACK, DUMP, NfNetlink, attribute, attributes, request

_NEW, _GET, _DELETE, _GET_STATS_CPU = 0, 1, 2, 4  # nfnetlink_conntrack.h: IPCTNL_MSG_CT_...
_TUPLE_ORIG, _TUPLE_REPLY, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 4, 7, 8  # CTA_...
_COUNTERS_ORIG, _COUNTERS_REPLY, _ID, _TIMESTAMP, _MARK_MASK = 9, 10, 12, 20, 21
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_SOURCE, _IP_DESTINATION = {4: 1, 16: 3}, {4: 2, 16: 4}  # by the length of an address
_KIND = 0x3FFF  # of an attribute's type: without flags
_head, _u32, _u64 = (struct.Struct(layout).unpack_from for layout in ("=HH", ">I", ">Q"))
_INSERT_FAILED = 9  # CTA_STATS_...
# TCP's states (nf_conntrack_tcp.h), in lower case as `conntrack -L` has them in upper case.
_TCP_STATES = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close",
    "syn_sent2",
)  # fmt: skip


class Half(NamedTuple):
    """One direction of a connection; addresses are 4 or 16 bytes."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int


class Entry:
    """A tracked connection: the kernel's bytes, taken apart where something is asked for."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """When it began (nanoseconds since 1970, 0 where that is not kept), the kernel's id, its mark, its protocol.

        A hundred thousand are sorted by it: one walk, and nothing else is taken out.
        """
        data = self._data
        began = number = mark = at = 0
        end = len(data)
        while at < end:
            length, kind = _head(data, at)
            kind &= _KIND
            if kind == _MARK:
                (mark,) = _u32(data, at + 4)
            elif kind == _ID:
                (number,) = _u32(data, at + 4)
            elif kind == _TIMESTAMP:
                (began,) = _u64(data, at + 8)
                break
            at += (length + 3) & ~3
        return began, number, mark, self.protocol

    @property
    def mark(self) -> int:
        """The connection's mark."""
        return self._number(_MARK)

    @property
    def timeout(self) -> int:
        """In how many seconds it is forgotten unless a packet comes."""
        return self._number(_TIMEOUT)

    @property
    def protocol(self) -> int:
        """The IP protocol."""
        # The kernel writes the original tuple first, in it the addresses, and behind them the protocol's number.
        offset: int = _head(self._data, 4)[0]
        return self._data[12 + offset]

    @property
    def original(self) -> Half:
        """Source and destination of who began."""
        return _half(self._value(_TUPLE_ORIG))

    @property
    def reply(self) -> Half:
        """Source and destination of the answers."""
        return _half(self._value(_TUPLE_REPLY))

    @property
    def state(self) -> str:
        """TCP's state as netfilter sees it (`established`); of others `replied` or `unreplied`."""
        if self.protocol == socket.IPPROTO_TCP:
            state = attributes(attributes(self._value(_PROTOINFO)).get(1, b"")).get(1, b"\0")[0]
            return _TCP_STATES[state] if state < len(_TCP_STATES) else str(state)
        return "replied" if self.counters[2] else "unreplied"

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """Packets and bytes of the original direction, packets and bytes of the answers."""
        found = []
        for kind in (_COUNTERS_ORIG, _COUNTERS_REPLY):
            counted = attributes(self._value(kind))
            found += [int.from_bytes(counted.get(each, b""), "big") for each in (1, 2)]
        return found[0], found[1], found[2], found[3]

    @property
    def tuple_original(self) -> bytes:
        """What the kernel finds it by, as an attribute."""
        return self._data[: (_head(self._data, 0)[0] + 3) & ~3]

    @property
    def family(self) -> int:
        """The address family."""
        return socket.AF_INET if _head(self._data, 8)[0] == 8 else socket.AF_INET6

    def _value(self, kind: int) -> bytes:
        """The value of an attribute, b"" without it."""
        data, at, end = self._data, 0, len(self._data)
        while at < end:
            length, found = _head(data, at)
            if found & _KIND == kind:
                return data[at + 4 : at + length]
            at += (length + 3) & ~3
        return b""

    def _number(self, kind: int) -> int:
        return int.from_bytes(self._value(kind), "big")


def entries() -> Iterator[list[Entry]]:
    """Yield every tracked connection, some hundred at a time. Read it to the end or close it."""
    with NfNetlink() as kernel:
        for found in kernel.dump(request(CONNTRACK, _GET, DUMP, family=socket.AF_UNSPEC)):
            yield [Entry(each) for each in found]


def insert_failures() -> int:
    """Return how many connections could not be tracked, as another had their tuple (no port was left)."""
    with NfNetlink() as kernel:
        found = [attributes(each) for chunk in kernel.dump(request(CONNTRACK, _GET_STATS_CPU, DUMP)) for each in chunk]
    return sum(int.from_bytes(each.get(_INSERT_FAILED, b""), "big") for each in found)


def delete(mark: int, mask: int, families: Iterable[int] = (socket.AF_INET, socket.AF_INET6)) -> None:
    """Forget every connection whose mark, under `mask`, is `mark`: one request for each address family."""
    filters = attribute(_MARK, struct.pack(">I", mark)) + attribute(_MARK_MASK, struct.pack(">I", mask))
    with NfNetlink() as kernel:
        for family in families:
            kernel.ask(request(CONNTRACK, _DELETE, ACK, filters, family))


def shorten(found: Iterable[Entry], seconds: float) -> int:
    """Take `seconds` from the time that each of the connections has left; return how many are forgotten by that."""
    ended, others = [], []
    for entry in found:
        left = entry.timeout - seconds
        if left <= 0:
            ended.append(_forget(entry))
        else:
            timeout = attribute(_TIMEOUT, struct.pack(">I", round(left)))
            others.append(request(CONNTRACK, _NEW, ACK, entry.tuple_original + timeout, entry.family))
    with NfNetlink() as kernel:
        kernel.change(others)
        return kernel.change(ended)


def change_marks(found: Iterable[tuple[Entry, int]]) -> None:
    """Give each of the connections another mark; forget those whose mark shall be 0."""
    changes = [
        request(CONNTRACK, _NEW, ACK, entry.tuple_original + attribute(_MARK, struct.pack(">I", mark)), entry.family)
        if mark
        else _forget(entry)
        for entry, mark in found
    ]
    with NfNetlink() as kernel:
        kernel.change(changes)


def _forget(entry: Entry) -> bytes:
    identity = attribute(_ID, entry.identity[1].to_bytes(4, "big"))
    return request(CONNTRACK, _DELETE, ACK, entry.tuple_original + identity, entry.family)


def _half(data: bytes) -> Half:
    both = attributes(data)
    address, protocol = attributes(both[_TUPLE_IP]), attributes(both[_TUPLE_PROTO])
    size = 4 if _IP_SOURCE[4] in address else 16
    return Half(
        address[_IP_SOURCE[size]],
        int.from_bytes(protocol.get(2, b""), "big"),
        address[_IP_DESTINATION[size]],
        int.from_bytes(protocol.get(3, b""), "big"),
    )
