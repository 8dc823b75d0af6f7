"""The structures of gwlb.c as bytes. Packet fields are in network order, everything else is the machine's (little-
endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from gwlbemu.fastpath.fold import distinct_fold, number_of

COUNTERS = (
    "encapsulated",
    "decapsulated",
    "unknown_flow",
    "tcp_flags",
    "unusual",
    "too_long",
    "hops",
    "idle",
    "held",
    "tunnel",
    "failed",
    "paused",
)
KEY4, KEY6 = struct.Struct("<4s4s2s2sI"), struct.Struct("<16s16s2s2sI")
FLOW = struct.Struct("<4sI6s2sIHHIIQQQ")
_SETTINGS = struct.Struct("<4sIIBBBBQQI4x")
_INTERFACE = struct.Struct("<8sI6s6s")
_FROM_HIGH, ENDPOINT_BITS = 1 << 15, 24
LONGEST_IDLE = (1 << 15) - 1


class Key(NamedTuple):
    """A flow as the kernel looks it up: the lower (address, port) first, `id` is the endpoint's 24 bits and the
    protocol.
    """

    low: bytes
    high: bytes
    low_port: int
    high_port: int
    id: int

    def pack(self) -> bytes:
        layout = KEY4 if len(self.low) == 4 else KEY6
        return layout.pack(
            self.low, self.high, self.low_port.to_bytes(2, "big"), self.high_port.to_bytes(2, "big"), self.id
        )


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What holds for the whole node. `key_shape`: 5, 3 or 2; `hops`: emulation.ttl_decrement; `paused`: everything goes
    up; `advanced_ns`: how far the node's clock is ahead of CLOCK_MONOTONIC; `holding`: how many targets are held.
    """

    node_address: bytes
    key_shape: int = 5
    hops: int = 2
    super_packets: bool = False
    paused: bool = False
    advanced_ns: int = 0
    holding: int = 0

    def pack(self, eni: int, eni_tap: int, fold: int) -> bytes:
        return _SETTINGS.pack(
            self.node_address,
            eni,
            eni_tap,
            self.key_shape,
            self.hops,
            self.super_packets,
            self.paused,
            fold,
            self.advanced_ns,
            self.holding,
        )


def pack_interface(endpoint: int, tap: int, mac: bytes, router_mac: bytes) -> bytes:
    return _INTERFACE.pack(endpoint.to_bytes(8, "big"), tap, mac, router_mac)


def pack_flow(
    *,
    target: bytes,
    cookie: int,
    mac: bytes,
    source_port: int,
    slot: int,
    interface: int,
    idle_seconds: float,
    from_high: bool,
    last_ns: int,
) -> bytes:
    """A fresh flow, without traffic. `idle_seconds` is rounded down and cut at nine hours: at worst Python judges a
    packet more.
    """
    idle = min(int(idle_seconds), LONGEST_IDLE) | (_FROM_HIGH if from_high else 0)
    big_cookie = int.from_bytes(cookie.to_bytes(4, "big"), "little")
    return FLOW.pack(
        target, big_cookie, mac, source_port.to_bytes(2, "big"), slot, interface, idle, 0, 0, 0, 0, last_ns
    )


class Traffic(NamedTuple):
    """What the kernel counted of one flow since its entry was written. `last_ns` is CLOCK_MONOTONIC."""

    target: bytes
    slot: int
    idle_seconds: int  # with the direction in its highest bit
    packets: int
    returned_packets: int
    bytes: int
    returned_bytes: int
    last_ns: int


_TRAFFIC = struct.Struct("<4s12xI2xHIIQQQ")
assert _TRAFFIC.size == FLOW.size


def read_traffic(value: bytes) -> Traffic:
    return Traffic._make(_TRAFFIC.unpack(value))


def iterate_traffic(values: bytes) -> list[tuple[bytes, int, int, int, int, int, int, int]]:
    """The same of many values in one block, as plain tuples in Traffic's order."""
    return list(_TRAFFIC.iter_unpack(values))


def endpoint_bits(endpoint: int, fold: int) -> int:
    """The 24 bits that stand for an endpoint id in a key: as in gwlb.c, which multiplies the id as it lies in the
    packet.
    """
    return number_of(endpoint.to_bytes(8, "big"), fold, ENDPOINT_BITS)


def choose_fold(endpoints: tuple[int, ...]) -> int:
    """Return an odd factor with which no two endpoints have the same 24 bits."""
    return distinct_fold([endpoint.to_bytes(8, "big") for endpoint in endpoints], ENDPOINT_BITS)
