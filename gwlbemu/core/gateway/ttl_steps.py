"""By how much passing an endpoint lowers the inner packet's TTL or hop limit: a switch, because AWS does not say.

    ttl_decrement   entering                      leaving                        fits the public captures
    0               0                             0                              no
    1               1 from the first sender       1 towards the first sender     yes
    2 (default)     1                             1                              yes

A packet whose TTL would reach zero is dropped without an answer to anybody; what AWS does then is not known.
"""

from __future__ import annotations


def entry_step(ttl_decrement: int, from_first_sender: bool) -> int:
    """Return what is taken from the TTL of a packet from an endpoint.

    `from_first_sender` tells whether the sender of the flow's first packet sent this one.
    """
    return int(from_first_sender) if ttl_decrement == 1 else ttl_decrement >> 1


def exit_step(ttl_decrement: int, from_first_sender: bool) -> int:
    """Return what is taken from the TTL of a packet to an endpoint; `from_first_sender` as on the way in."""
    return int(not from_first_sender) if ttl_decrement == 1 else ttl_decrement >> 1
