"""How many hops a pass through an endpoint costs the inner packet: a switch, because AWS does not say.

    ttl_decrement   entering                      leaving                        fits the public captures
    0               0                             0                              no
    1               1 from the first sender       1 towards the first sender     yes
    2 (default)     1                             1                              yes

A packet that has no hop left after a step is dropped without a word to anybody; what AWS does then is not known.
"""

from __future__ import annotations


def entry_step(setting: int, from_first_sender: bool) -> int:
    """Return what is taken from the TTL on the way in."""
    return int(from_first_sender) if setting == 1 else setting >> 1


def exit_step(setting: int, from_first_sender: bool) -> int:
    """Return what is taken from the TTL on the way out; `from_first_sender` is still about who sent the packet."""
    return int(not from_first_sender) if setting == 1 else setting >> 1
