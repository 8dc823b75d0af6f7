"""The structures of gwlb.c as bytes. Packet fields are in network order, everything else is the machine's (little-
endian).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from gwlbemu.fastpath.perfect_hash import collision_free_factor, hash_of

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
    "tagged",
)
KEY4, KEY6 = struct.Struct("<4s4s2s2sI"), struct.Struct("<16s16s2s2sI")
FLOW = struct.Struct("<4sI6s2sIHHIIQQQ")
_SETTINGS = struct.Struct("<4sIIBBBBQQI4x")
_INTERFACE = struct.Struct("<8sI6s6sQ")
_TAGGED_AT = 24
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
        """Return `struct key4` or `struct key6`, as the length of the addresses says."""
        layout = KEY4 if len(self.low) == 4 else KEY6
        return layout.pack(
            self.low, self.high, self.low_port.to_bytes(2, "big"), self.high_port.to_bytes(2, "big"), self.id
        )


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What holds for the whole node. `node_address` is 4 bytes; `key_size`: how many of the five values a flow is, 5, 3
    or 2; `ttl_decrement`: the switch of that name; `super_packets`: offloads are on; `paused`: everything goes up;
    `advanced_ns`: how far the node's clock is ahead of CLOCK_MONOTONIC; `held_targets`: how many targets are held.
    """

    node_address: bytes
    key_size: int = 5
    ttl_decrement: int = 2
    super_packets: bool = False
    paused: bool = False
    advanced_ns: int = 0
    held_targets: int = 0

    def pack(self, eni: int, eni_tap: int, factor: int) -> bytes:
        """Return `struct settings`; `eni` and `eni_tap` are interface indices, `factor` is choose_factor's."""
        return _SETTINGS.pack(
            self.node_address,
            eni,
            eni_tap,
            self.key_size,
            self.ttl_decrement,
            self.super_packets,
            self.paused,
            factor,
            self.advanced_ns,
            self.held_targets,
        )


def pack_interface(endpoint: int, tap: int, mac: bytes, router_mac: bytes) -> bytes:
    """Return `struct interface`: the endpoint's 64-bit id, its TAP's interface index, its own MAC and the router's."""
    return _INTERFACE.pack(endpoint.to_bytes(8, "big"), tap, mac, router_mac, 0)


def read_tagged(interface: bytes) -> int:
    """Return how many frames with a VLAN tag a `struct interface` has counted."""
    return int.from_bytes(interface[_TAGGED_AT:], "little")


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
    """Return `struct flow` of a fresh flow, without traffic.

    `target` is its address, `mac` the next hop's, `slot` the mirror's number for the flow, `interface` the index of the
    endpoint's, `last_ns` a time of the node's clock. `idle_seconds` is rounded down and cut at nine hours: at worst
    Python judges a packet more.
    """
    idle = min(int(idle_seconds), LONGEST_IDLE) | (_FROM_HIGH if from_high else 0)
    big_cookie = int.from_bytes(cookie.to_bytes(4, "big"), "little")
    return FLOW.pack(
        target, big_cookie, mac, source_port.to_bytes(2, "big"), slot, interface, idle, 0, 0, 0, 0, last_ns
    )


class EntryTraffic(NamedTuple):
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


def read_traffic(value: bytes) -> EntryTraffic:
    """Return the traffic in a `struct flow`."""
    return EntryTraffic._make(_TRAFFIC.unpack(value))


def iterate_traffic(values: bytes) -> list[tuple[bytes, int, int, int, int, int, int, int]]:
    """Return the traffic in a block of many `struct flow`, as plain tuples in EntryTraffic's order."""
    return list(_TRAFFIC.iter_unpack(values))


def endpoint_bits(endpoint: int, factor: int) -> int:
    """Return the 24 bits that stand for an endpoint id in a key.

    As gwlb.c does, which multiplies the id as it lies in the packet.
    """
    return hash_of(endpoint.to_bytes(8, "big"), factor, ENDPOINT_BITS)


def choose_factor(endpoints: Collection[int], taken: Collection[int] = ()) -> int:
    """Return an odd factor with which no two endpoints have the same 24 bits, and none has bits that are `taken`."""
    return collision_free_factor([endpoint.to_bytes(8, "big") for endpoint in endpoints], ENDPOINT_BITS, taken)
