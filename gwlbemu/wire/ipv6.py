"""The chain of IPv6 extension headers, RFC 8200 section 4."""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.protocols import AH, DESTINATION_OPTIONS, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, ROUTING, SHIM6

_WALKED = {HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6, AH}


class Chain(NamedTuple):
    """Where the chain ends: the upper layer's protocol and offset, and a fragment header's words (else zeros)."""

    protocol: int
    offset: int
    fragment_offset: int
    more_fragments: bool
    identification: int


def walk_extensions(packet: bytes, following: int, end: int) -> Chain:
    """Walk from the fixed header's next header to the upper layer, or to the header of a fragment.

    An atomic fragment (offset 0, no more; RFC 6946) is walked through. Raises WireError when the chain runs past `end`.
    """
    offset, identification = 40, 0
    while following in _WALKED or following == FRAGMENT:
        if offset + 8 > end:
            raise WireError(f"IPv6 extension header {following} runs past the packet's end")
        if following == FRAGMENT:
            word = packet[offset + 2] << 8 | packet[offset + 3]
            identification = int.from_bytes(packet[offset + 4 : offset + 8], "big")
            following, size = packet[offset], 8
            if word & 0xFFF9:
                return Chain(following, offset + 8, word & 0xFFF8, word & 1 != 0, identification)
        else:
            units = packet[offset + 1]
            size = (units + 2) * 4 if following == AH else (units + 1) * 8
            following = packet[offset]
        offset += size
        if offset > end:
            raise WireError(f"an IPv6 extension header runs {offset - end} bytes past the packet's end")
    return Chain(following, offset, 0, False, identification)
