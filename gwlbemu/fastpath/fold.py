"""Numbers for names, all different: the high bits of a name's product with an odd factor (Fibonacci hashing)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

_MASK = (1 << 64) - 1


def number_of(name: bytes, fold: int, bits: int) -> int:
    """The number of a name of up to 8 bytes, as the programs work it out from the bytes as they lie in a packet."""
    return (int.from_bytes(name, "little") * fold & _MASK) >> (64 - bits)


def distinct_fold(names: Collection[bytes], bits: int) -> int:
    """Return a factor with which no two names have the same number; 2 to the power of `bits` has to be well above the
    square of how many they are.
    """
    return next(fold for fold in _folds() if len({number_of(name, fold, bits) for name in names}) == len(set(names)))


def _folds() -> Iterator[int]:
    fold = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio
    while True:
        yield fold
        fold = fold * 0x5851F42D4C957F2D & _MASK  # Knuth's MMIX multiplier: odd, so the product stays odd
