"""What marks a flow in the tunnel: its cookie and its outer source port, keyed hashes of the flow's key.

They look random, as AWS's do, and the same seed gives the same ones in each run. AWS does not document its hash.
"""

from __future__ import annotations

import hashlib

from gwlbemu.core.elb.choice import Seed


def flow_cookie(seed: Seed, key: bytes, moves: int) -> int:
    """Return a flow's 32-bit cookie (GENEVE option 3); `moves` is how often the flow has moved to another target."""
    return int.from_bytes(hashlib.blake2b(key + moves.to_bytes(4, "big"), key=seed.key, digest_size=4).digest(), "big")


def outer_source_port(seed: Seed, key: bytes, policy: str) -> int:
    """Return a flow's outer UDP source port.

    `policy` is the switch `source_port`: `aws` as in public captures, `rfc8926` as RFC 8926 section 3.3 recommends.
    """
    number = int.from_bytes(hashlib.blake2b(key, key=seed.key, digest_size=2, person=b"source port").digest(), "big")
    return 60000 + number % 2 if policy == "aws" else 49152 + number % 16384
