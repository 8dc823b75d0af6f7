"""The TTL of an IPv4 packet, the hop limit of an IPv6 packet."""

from __future__ import annotations

from gwlbemu.errors import WireError


def time_to_live(packet: bytes) -> int:
    """Return the TTL or hop limit of a whole IP packet."""
    return packet[8] if packet[0] >> 4 == 4 else packet[7]


def decrement(packet: bytes, by: int = 1) -> bytes:
    """Return the packet with its TTL (IPv4; the header checksum follows, RFC 1624) or hop limit (IPv6) lowered.

    A wrong checksum stays exactly as wrong. Raises WireError when it is less than `by`.
    """
    if time_to_live(packet) < by:
        raise WireError(f"TTL {time_to_live(packet)} cannot be lowered by {by}")
    if packet[0] >> 4 == 6:
        return b"%b%c%b" % (packet[:7], packet[7] - by, packet[8:])
    checksum = ((packet[10] << 8 | packet[11]) + (by << 8)) % 65535
    return b"%b%c%c%b%b" % (packet[:8], packet[8] - by, packet[9], checksum.to_bytes(2, "big"), packet[12:])
