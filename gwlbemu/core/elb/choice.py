"""Which target a connection goes to: rendezvous hashing (highest random weight), by a keyed hash of a connection's key.

A connection has one weight per member of the target group, and the eligible member with the greatest weight wins. A
member keeps the index of its weight for as long as it is in the group. So losing a target moves its own connections and
no others, and a new target takes some from all alike. The weights are one stretch of SHAKE-128 output, so more members
never change the weights of those before. The same seed chooses alike in each run. AWS does not document its hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

_WEIGHT = 4  # bytes


class Seed:
    """A seed of any size, as the key of a keyed hash (`key`, 16 bytes) and as the beginning of a SHAKE-128 (`shake`)
    whose copies go on with a connection's key.
    """

    __slots__ = ("key", "shake")

    def __init__(self, seed: int) -> None:
        self.key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        self.shake = hashlib.shake_128(self.key)


@lru_cache
def _unpacker(count: int) -> Callable[[bytes], tuple[int, ...]]:
    return struct.Struct(f">{count}I").unpack


def weights(seed: Seed, key: bytes, count: int) -> tuple[int, ...]:
    """Return the first `count` weights of the connection with this key, each 32 bits."""
    shake = seed.shake.copy()
    shake.update(key)
    return _unpacker(count)(shake.digest(count * _WEIGHT))


def heaviest(weights_: Sequence[int], indexes: Sequence[int]) -> int:
    """Return the index out of `indexes` (ascending, not empty) whose weight is the greatest."""
    if len(indexes) == len(weights_):
        return weights_.index(max(weights_))
    return max(indexes, key=weights_.__getitem__)
