"""Numbers that look random and are not: which target, which cookie, which source port. All of it is a keyed hash of the
flow's key.

Targets are chosen by highest random weight (rendezvous hashing): a flow has one weight per lane, a target keeps its
lane for as long as it is registered, and the heaviest eligible lane wins. So losing a target moves its own flows and no
others, and a new target takes flows from all alike. The weights are one stretch of SHAKE-128 output, so more lanes
never change the weights of those before. AWS does not document its hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

_WEIGHT = 4  # bytes


class Seed:
    """A seed of any size, as hash key and as the beginning of a SHAKE-128 whose copies go on with a flow's key."""

    __slots__ = ("key", "shake")

    def __init__(self, seed: int) -> None:
        self.key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        self.shake = hashlib.shake_128(self.key)


@lru_cache
def _unpacker(lanes: int) -> Callable[[bytes], tuple[int, ...]]:
    return struct.Struct(f">{lanes}I").unpack


def weights(seed: Seed, key: bytes, lanes: int) -> tuple[int, ...]:
    """Return the weight of each of the first `lanes` lanes for a flow."""
    shake = seed.shake.copy()
    shake.update(key)
    return _unpacker(lanes)(shake.digest(lanes * _WEIGHT))


def heaviest(weight_of: Sequence[int], lanes: Sequence[int]) -> int:
    """Return the lane out of `lanes` (ascending, not empty) that weighs most."""
    if len(lanes) == len(weight_of):
        return weight_of.index(max(weight_of))
    return max(lanes, key=weight_of.__getitem__)


def cookie(seed: Seed, key: bytes, generation: int) -> int:
    """Return a flow's 32-bit cookie; `generation` counts how often the flow moved."""
    return int.from_bytes(
        hashlib.blake2b(key + generation.to_bytes(4, "big"), key=seed.key, digest_size=4).digest(), "big"
    )


def source_port(seed: Seed, key: bytes, policy: str) -> int:
    """Return a flow's outer UDP source port.

    `aws` as in public captures, `rfc8926` as RFC 8926 section 3.3 recommends.
    """
    number = int.from_bytes(hashlib.blake2b(key, key=seed.key, digest_size=2, person=b"source port").digest(), "big")
    return 60000 + number % 2 if policy == "aws" else 49152 + number % 16384
