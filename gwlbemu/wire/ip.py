"""The header of an IPv4 or IPv6 packet, with what a flow needs of the layer above: RFC 791, RFC 8200."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.ipv6 import walk_extensions
from gwlbemu.wire.protocols import TCP, UDP

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_PORTS = struct.Struct(">HH")
_SMALLEST = {TCP: 20, UDP: 8}
_new = tuple.__new__


class IpPacket(NamedTuple):
    """One IP packet's header. Lengths and offsets are bytes from the start of the packet.

    `protocol` is the upper layer behind IPv6 extension headers. In a fragment of IPv6 it is the fragment header's next
    header, so that all fragments of a datagram agree. Ports are 0 unless this is TCP or UDP and the ports are in this
    packet. `total_length` may be less than the bytes received (Ethernet padding): the packet is `data[:total_length]`.
    """

    version: int
    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    ttl: int
    dscp: int
    header_length: int  # IPv6: with all extension headers
    total_length: int
    fragment_offset: int  # bytes
    more_fragments: bool
    identification: int  # IPv6: the fragment header's, 0 without one

    @property
    def is_fragment(self) -> bool:
        """Whether this is a part of a datagram, the first, the last or one between."""
        return self.more_fragments or self.fragment_offset != 0


def decode_ip(packet: bytes, *, quoted: bool = False) -> IpPacket:
    """Decode the packet's header; checksums are not judged.

    With `quoted` the packet may end early, as the one inside an ICMP error does: only the IP header and the ports must
    be there. Raises WireError when a length is impossible or TCP's or UDP's own header is cut off in a packet that is
    no fragment.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _decode_ipv4(packet, quoted)
    if version == 6:
        return _decode_ipv6(packet, quoted)
    raise WireError(f"IP version {version}" if packet else "an empty packet")


def _decode_ipv4(packet: bytes, quoted: bool) -> IpPacket:
    length = len(packet)
    if length < 20:
        raise WireError(f"{length} bytes are too short for an IPv4 header")
    first, tos, total_length, identification, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(
        packet
    )
    head = (first & 15) * 4
    if head < 20 or total_length < head or head > length:
        raise WireError(f"IPv4 header length {head}, total length {total_length}, {length} bytes there")
    if total_length > length and not quoted:
        raise WireError(f"IPv4 total length {total_length}, {length} bytes there")
    offset, more = (fragment & 0x1FFF) * 8, fragment & 0x2000 != 0
    ports = (0, 0)
    if protocol in _SMALLEST and not offset:
        ports = _ports(packet, head, total_length, protocol, more or quoted)
    return _new(
        IpPacket,
        (4, protocol, source, destination, *ports, ttl, tos >> 2, head, total_length, offset, more, identification),
    )


def _decode_ipv6(packet: bytes, quoted: bool) -> IpPacket:
    length = len(packet)
    if length < 40:
        raise WireError(f"{length} bytes are too short for an IPv6 header")
    first, payload_length, following, ttl, source, destination = _IPV6.unpack_from(packet)
    total_length = payload_length + 40
    if total_length > length and not quoted:
        raise WireError(f"IPv6 payload length {payload_length}, {length - 40} bytes there")
    if following in _SMALLEST:
        protocol, head, offset, more, identification = following, 40, 0, False, 0
    else:
        protocol, head, offset, more, identification = walk_extensions(packet, following, min(length, total_length))
    ports = (0, 0)
    if protocol in _SMALLEST and not offset:
        ports = _ports(packet, head, total_length, protocol, more or quoted)
    return _new(
        IpPacket,
        (
            6,
            protocol,
            source,
            destination,
            *ports,
            ttl,
            first >> 22 & 63,
            head,
            total_length,
            offset,
            more,
            identification,
        ),
    )


def _ports(packet: bytes, head: int, total_length: int, protocol: int, partial: bool) -> tuple[int, int]:
    end = min(total_length, len(packet))
    if end - head < (4 if partial else _SMALLEST[protocol]):
        if partial:
            return 0, 0
        raise WireError(f"{end - head} bytes are too short for the head of protocol {protocol}")
    source, destination = _PORTS.unpack_from(packet, head)
    return source, destination
