"""A hash without collisions for a small, known set of keys: the high bits of a key's product with an odd factor.

That is Fibonacci hashing with a factor that is searched for; the eBPF programs work the same number out by one
multiplication, and an array is their map.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

_MASK = (1 << 64) - 1


def hash_of(key: bytes, factor: int, bits: int) -> int:
    """Return the `bits` bits that stand for a key of up to 8 bytes, which are read as they lie in a packet."""
    return (int.from_bytes(key, "little") * factor & _MASK) >> (64 - bits)


def collision_free_factor(keys: Collection[bytes], bits: int, taken: Collection[int] = ()) -> int:
    """Return a 64-bit odd factor with which no two keys have the same hash, and none a hash that is `taken`.

    It is soon found where 2 to the power of `bits` is well above the square of how many keys there are.
    """
    wanted = len(set(keys)) + len(set(taken))
    return next(
        factor for factor in _factors() if len({hash_of(key, factor, bits) for key in keys} | set(taken)) == wanted
    )


def _factors() -> Iterator[int]:
    factor = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio
    while True:
        yield factor
        factor = factor * 0x5851F42D4C957F2D & _MASK  # Knuth's MMIX multiplier: odd, so the product stays odd
