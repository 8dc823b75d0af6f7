"""Whole IP packets from their parts, with right checksums."""

from __future__ import annotations

import struct

from gwlbemu.errors import WireError
from gwlbemu.wire.checksum import internet

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_DONT_FRAGMENT = 0x4000


def build_ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    identification: int = 0,
    dscp: int = 0,
    dont_fragment: bool = True,
    more_fragments: bool = False,
    fragment_offset: int = 0,
) -> bytes:
    """Return an IPv4 packet without options; `fragment_offset` is bytes, a multiple of 8.

    Raises WireError when it would be too long.
    """
    length = 20 + len(payload)
    if length > 0xFFFF:
        raise WireError(f"{length} bytes are too long for an IPv4 packet")
    word = fragment_offset // 8 | more_fragments << 13
    if dont_fragment and not word:
        word = _DONT_FRAGMENT
    head = _IPV4.pack(0x45, dscp << 2, length, identification, word, ttl, protocol, 0, source, destination)
    return head[:10] + internet(head).to_bytes(2, "big") + head[12:] + payload


def build_ipv6(
    source: bytes,
    destination: bytes,
    next_header: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    dscp: int = 0,
    flow_label: int = 0,
) -> bytes:
    """Return an IPv6 packet; extension headers, if any, are the start of `payload`.

    Raises WireError when it would be too long.
    """
    if len(payload) > 0xFFFF:
        raise WireError(f"{len(payload)} bytes are too long for an IPv6 payload")
    return (
        struct.pack(">IHBB", 6 << 28 | dscp << 22 | flow_label, len(payload), next_header, hop_limit)
        + source
        + destination
        + payload
    )


def build_ip(
    source: bytes, destination: bytes, protocol: int, payload: bytes, *, ttl: int = 64, identification: int = 0
) -> bytes:
    """Return an IPv4 or IPv6 packet, as the length of the addresses says.

    `identification` is IPv4's alone. Raises WireError when it would be too long.
    """
    if len(source) == 4:
        return build_ipv4(source, destination, protocol, payload, ttl=ttl, identification=identification)
    return build_ipv6(source, destination, protocol, payload, hop_limit=ttl)
