"""The Internet checksum (RFC 1071) and what is built on it.

One's complement addition of 16-bit words is addition modulo 65535, and 65536 = 1 modulo 65535, so the sum of any number
of words is the whole string read as one big number, modulo 65535. CPython does that in C.
"""

from __future__ import annotations

from gwlbemu.wire.protocols import ICMP, ICMPV6, UDP


def total(data: bytes) -> int:
    """Return a number congruent (modulo 65535) to the sum of `data`'s 16-bit words, the last padded with zero."""
    number = int.from_bytes(data, "big")
    return number << 8 if len(data) & 1 else number


def internet(data: bytes) -> int:
    """Return the RFC 1071 checksum of `data`; over data with a right checksum in it, 0."""
    number = total(data)
    return -number % 65535 if number else 0xFFFF


def transport(source: bytes, destination: bytes, protocol: int, segment: bytes) -> int:
    """Return the checksum of a TCP, UDP or ICMPv6 segment over its pseudo-header, and of an ICMP message without one.

    The segment's own checksum field must be zero (then this is what belongs there) or right (then the answer is 0; UDP:
    0xffff). UDP sends a computed 0 as 0xffff (RFC 768). Addresses are 4 or 16 bytes (RFC 9293 3.1, RFC 8200 8.1).
    """
    if protocol == ICMP and len(source) == 4:
        return internet(segment)
    number = total(segment) + total(source) + total(destination) + protocol + len(segment)
    checksum = -number % 65535
    return checksum or 0xFFFF if protocol == UDP else checksum


def is_right(source: bytes, destination: bytes, protocol: int, segment: bytes) -> bool:
    """Tell whether the checksum inside `segment` fits.

    Protocols without one are always right, and so is UDP's 0 over IPv4.
    """
    if protocol == UDP and len(source) == 4 and segment[6:8] == b"\0\0":
        return True
    if protocol == ICMP and len(source) == 4:
        return total(segment) % 65535 == 0
    if protocol not in (6, UDP, ICMPV6):
        return True
    return (total(segment) + total(source) + total(destination) + protocol + len(segment)) % 65535 == 0


def updated(checksum: int, old: int, new: int) -> int:
    """Return `checksum` after a 16-bit word it covers became `new` (RFC 1624 equation 3); never 0xffff."""
    return (checksum + old - new) % 65535
