"""What marks a flow in the tunnel: its cookie and its outer source port, keyed hashes of the flow's key.

They look random, as AWS's do, and the same seed gives the same ones in each run. AWS does not document its hash.
"""

from __future__ import annotations

import hashlib
from array import array

from gwlbemu.core.elb.choice import Seed

_SLOTS = 65521  # a prime: of a million flows, some fifteen count together


def flow_cookie(seed: Seed, key: bytes, number: int) -> int:
    """Return a 32-bit cookie (GENEVE option 3) of the flow with this key, another one for each `number`."""
    return int.from_bytes(hashlib.blake2b(key + number.to_bytes(4, "big"), key=seed.key, digest_size=4).digest(), "big")


class CookieNumbers:
    """Numbers for `flow_cookie`: the first flow of a key gets 0, the next flow of that key another one.

    Keys are counted by slots, so that memory has a bound and the same flows in the same order get the same cookies.
    """

    def __init__(self) -> None:
        self._next = array("H", bytes(2 * _SLOTS))

    def take(self, endpoint: int, key: int) -> int:
        """Return a number that this key has not had lately: of 65536 in a row no two are the same."""
        slot = (endpoint + key) % _SLOTS
        number = self._next[slot]
        self._next[slot] = (number + 1) & 0xFFFF
        return number


def outer_source_port(seed: Seed, key: bytes, policy: str) -> int:
    """Return a flow's outer UDP source port.

    `policy` is the switch `source_port`: `aws` as in public captures, `rfc8926` as RFC 8926 section 3.3 recommends.
    """
    number = int.from_bytes(hashlib.blake2b(key, key=seed.key, digest_size=2, person=b"source port").digest(), "big")
    return 60000 + number % 2 if policy == "aws" else 49152 + number % 16384
