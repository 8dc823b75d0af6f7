"""UDP headers and datagrams: RFC 768."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.checksum import transport
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import UDP

_HEAD = struct.Struct(">HHHH")


class UdpHead(NamedTuple):
    """A UDP header.

    `payload_offset` counts from the start of the IP packet, `payload_length` is bytes; checksum 0 means none.
    """

    source_port: int
    destination_port: int
    checksum: int
    payload_offset: int
    payload_length: int


def decode_udp(packet: bytes, ip: IpPacket) -> UdpHead:
    """Decode the UDP header of a packet that is no fragment. Raises WireError when its length is impossible."""
    there = min(ip.total_length, len(packet)) - ip.header_length
    if there < 8:
        raise WireError(f"{there} bytes are too short for a UDP header")
    source, destination, length, checksum = _HEAD.unpack_from(packet, ip.header_length)
    if not 8 <= length <= there:
        raise WireError(f"UDP length {length}, {there} bytes there")
    return UdpHead(source, destination, checksum, ip.header_length + 8, length - 8)


def build_udp(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: bytes = b"",
    *,
    ttl: int = 64,
    identification: int = 0,
) -> bytes:
    """Return a whole IP packet (the version follows from the addresses) with right checksums.

    Raises WireError when it would be too long.
    """
    length = 8 + len(payload)
    segment = _HEAD.pack(source_port, destination_port, length, 0) + payload
    checksum = transport(source, destination, UDP, segment)
    segment = _HEAD.pack(source_port, destination_port, length, checksum) + payload
    return build_ip(source, destination, UDP, segment, ttl=ttl, identification=identification)
