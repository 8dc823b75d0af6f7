"""Which packets belong to one flow. Guide, Edit target group attributes, "Flow stickiness".

    stickiness                          TCP and UDP                 any other protocol
    five_tuple (stickiness off)         addresses, protocol, ports  addresses, protocol
    source_ip_dest_ip_proto (3-tuple)   addresses, protocol         addresses, protocol
    source_ip_dest_ip (2-tuple)         addresses                   addresses

A key is one number with the two ends sorted, so that both directions of a flow have the same. Numbers, because a
million of them live in a table that is asked for every packet: IPv4 with ports is (protocol << 96 | low << 48 | high),
an end being (address << 16 | port), and `key_of_ends` computes just that. The endpoint is not in the number: each
endpoint has a table of its own (two VPCs with the same addresses must not mix). A fragment has no ports to rely on, so
all fragments of a datagram, the first too, go by addresses and protocol.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE
from gwlbemu.errors import WireError
from gwlbemu.wire.icmp import decode_icmp
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP

_SIZES = {FIVE_TUPLE: 5, THREE_TUPLE: 3, TWO_TUPLE: 2}
_KINDS = {5: 0, 3: 1, 2: 2}
_TUPLES = {kind: size for size, kind in _KINDS.items()}
_V4_END, _V6_END = 48, 144
_V6_MARK = 1 << 320
KEY_LENGTH = 8 + 41
_ENDS = struct.Struct(">IIHH")  # as they stand in an IPv4 packet without options: addresses, then ports
_unpack_ends = _ENDS.unpack


class KeyParts(NamedTuple):
    """A key taken apart, the lower end first. Ports are 0 unless `tuple_size` is 5, `protocol` is 0 when it is 2."""

    tuple_size: int
    protocol: int
    low: bytes
    low_port: int
    high: bytes
    high_port: int


def flow_key(ip: IpPacket, stickiness: str) -> tuple[int, bool]:
    """Return the key of a packet, and whether its source is the higher end."""
    size = _SIZES[stickiness]
    if size == 5 and (ip.protocol not in (TCP, UDP) or ip.is_fragment):
        size = 3
    return _key(ip, size)


def quoted_key(packet: bytes, ip: IpPacket, stickiness: str) -> tuple[int, bool] | None:
    """Return the key of the flow that an ICMP error is about, None for any other packet.

    Its source is that flow's other end.
    """
    if ip.protocol != (ICMP if ip.version == 4 else ICMPV6) or ip.is_fragment:
        return None
    try:
        quoted = decode_icmp(packet, ip).quoted
    except WireError:  # too short to be an error; its protocol number is all that a key needs
        return None
    if quoted is None:
        return None
    value, swapped = flow_key(quoted, stickiness)
    return value, not swapped


def key_of_ends(protocol: int, ends: bytes) -> int:
    """Return the key of a TCP or UDP flow from the twelve bytes of addresses and ports in an IPv4 packet of it."""
    source, destination, port, other_port = _unpack_ends(ends)
    low: int = source << 16 | port
    high: int = destination << 16 | other_port
    if low > high:
        return (protocol << _V4_END | high) << _V4_END | low
    return (protocol << _V4_END | low) << _V4_END | high


def ends_of_key(value: int) -> tuple[int, bytes, bytes] | None:
    """Return the protocol and the ends, one way and the other, that `key_of_ends` makes this key of; else None."""
    protocol = value >> 2 * _V4_END
    if protocol > 0xFF:  # another kind or IPv6
        return None
    mask = (1 << _V4_END) - 1
    low, high = value >> _V4_END & mask, value & mask
    (address, port), (other_address, other_port) = divmod(low, 1 << 16), divmod(high, 1 << 16)
    there = _ENDS.pack(address, other_address, port, other_port)
    return protocol, there, _ENDS.pack(other_address, address, other_port, port)


def key_parts(value: int) -> KeyParts:
    """Take a key apart."""
    width = _V6_END if value & _V6_MARK else _V4_END
    mask = (1 << width) - 1
    low, high, head = value >> width & mask, value & mask, value >> 2 * width & 0xFFFF
    size = width // 8 - 2
    return KeyParts(
        _TUPLES[head >> 8],
        head & 0xFF,
        (low >> 16).to_bytes(size, "big"),
        low & 0xFFFF,
        (high >> 16).to_bytes(size, "big"),
        high & 0xFFFF,
    )


def key_protocol(value: int) -> int:
    """Return the protocol of a key, 0 where flows go by their addresses alone."""
    return value >> 2 * (_V6_END if value & _V6_MARK else _V4_END) & 0xFF


def key_bytes(endpoint: int, value: int) -> bytes:
    """Write endpoint and key as bytes, always the same number of them."""
    return endpoint.to_bytes(8, "big") + value.to_bytes(KEY_LENGTH - 8, "big")


def from_key_bytes(key: bytes) -> tuple[int, int]:
    """Return endpoint and key of what `key_bytes` wrote."""
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")


def _key(ip: IpPacket, size: int) -> tuple[int, bool]:
    source, destination = int.from_bytes(ip.source, "big") << 16, int.from_bytes(ip.destination, "big") << 16
    if size == 5:
        source |= ip.source_port
        destination |= ip.destination_port
    head = _KINDS[size] << 8 | (0 if size == 2 else ip.protocol)
    swapped = source > destination
    low, high = (destination, source) if swapped else (source, destination)
    if ip.version == 4:
        return (head << _V4_END | low) << _V4_END | high, swapped
    return _V6_MARK | (head << _V6_END | low) << _V6_END | high, swapped
