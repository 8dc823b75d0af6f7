"""The kernel's hash of a connection, so that it can be said without a kernel which slot nftables takes.

nft's `jhash KEY mod N seed S` is net/netfilter/nft_hash.c over include/linux/jhash.h (Bob Jenkins, lookup3): the hash
of the concatenated key, each field at the beginning of 4-byte registers, scaled down by `reciprocal_scale`.
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def jhash(key: bytes, seed: int) -> int:
    """Return the 32-bit hash of `key`, which is not empty, as a little-endian kernel computes it."""
    a = b = c = (0xDEADBEEF + len(key) + seed) & _MASK
    while len(key) > 12:
        x, y, z = struct.unpack_from("<III", key)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        key = key[12:]
    x, y, z = struct.unpack("<III", key.ljust(12, b"\0"))
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def slot(key: bytes, seed: int, slots: int) -> int:
    """Return the slot, from 0 to `slots` - 1, that nft's `jhash ... mod slots seed SEED` gives to `key`."""
    return jhash(key, seed) * slots >> 32


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for first, second, third in ((4, 6, 8), (16, 19, 4)):
        a = ((a - c) & _MASK) ^ _rotate(c, first)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotate(a, second)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotate(b, third)
        b = (b + a) & _MASK
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    return ((c ^ b) - _rotate(b, 24)) & _MASK
