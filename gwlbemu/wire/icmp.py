"""ICMP (RFC 792) and ICMPv6 (RFC 4443): headers, the packet that an error quotes, and errors of our own."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.checksum import transport
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6

ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED = 0, 3, 8, 11
V6_UNREACHABLE, V6_TIME_EXCEEDED, V6_ECHO, V6_ECHO_REPLY = 1, 3, 128, 129
# (type, code): "administratively prohibited", RFC 1812 5.2.7.1 and RFC 4443 3.1
PROHIBITED, V6_PROHIBITED = (3, 13), (1, 1)
ERRORS = frozenset((3, 4, 5, 11, 12))
_LONGEST, _V6_LONGEST = 576, 1280  # the whole error packet: RFC 1812 4.3.2.3, RFC 4443 2.4 (c)
_HEAD = struct.Struct(">BBHI")


class IcmpHead(NamedTuple):
    """An ICMP or ICMPv6 header.

    `rest` is its second 32-bit word; `quoted` is the packet an error is about, None otherwise or if unreadable.
    """

    type: int
    code: int
    checksum: int
    rest: int
    is_error: bool
    quoted: IpPacket | None

    @property
    def identifier(self) -> int:
        """The identifier of an echo (RFC 792); of other messages without meaning."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """The sequence number of an echo (RFC 792); of other messages without meaning."""
        return self.rest & 0xFFFF


def decode_icmp(packet: bytes, ip: IpPacket) -> IcmpHead:
    """Decode the header of an ICMP or ICMPv6 packet that is no later fragment. Raises WireError when it is cut off."""
    end = min(ip.total_length, len(packet))
    if end - ip.header_length < 8:
        raise WireError(f"{end - ip.header_length} bytes are too short for ICMP")
    kind, code, checksum, rest = _HEAD.unpack_from(packet, ip.header_length)
    is_error = kind in ERRORS if ip.protocol == ICMP else kind < 128
    quoted = None
    if is_error:
        try:
            quoted = decode_ip(packet[ip.header_length + 8 : end], quoted=True)
        except WireError:
            quoted = None
    return IcmpHead(kind, code, checksum, rest, is_error, quoted)


def build_icmp_error(
    packet: bytes, kind: int, code: int, source: bytes, *, rest: int = 0, ttl: int = 64
) -> bytes | None:
    """Return the ICMP or ICMPv6 error about `packet` from `source` to its sender.

    `rest` is the message's second word (a next-hop MTU, a pointer). None where an error must not be sent: about an ICMP
    error, a later fragment, a multicast or broadcast destination, or a source that names no single host (RFC 1122
    3.2.2, RFC 4443 2.4 e). Raises WireError when the packet cannot be read.
    """
    ip = decode_ip(packet)
    if ip.fragment_offset or not _one_host(ip.source) or not _may_answer(ip.destination):
        return None
    if ip.protocol == (ICMP if ip.version == 4 else ICMPV6) and decode_icmp(packet, ip).is_error:
        return None
    protocol, room = (ICMP, _LONGEST - 28) if ip.version == 4 else (ICMPV6, _V6_LONGEST - 48)
    message = _HEAD.pack(kind, code, 0, rest) + packet[: min(ip.total_length, room)]
    checksum = transport(source, ip.source, protocol, message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    return build_ip(source, ip.source, protocol, message, ttl=ttl)


def _may_answer(destination: bytes) -> bool:
    if len(destination) == 4:
        return destination[0] < 224
    return destination[0] != 0xFF


def _one_host(source: bytes) -> bool:
    return _may_answer(source) and any(source)
