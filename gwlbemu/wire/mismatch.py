"""What is wrong with some bytes, for people: which field, what it holds, and what belongs there."""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.checksum import internet, is_right, transport
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6, NAMES, TCP, UDP

_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}  # in the segment


class Mismatch(NamedTuple):
    """A field that is not as it has to be. Without `got` and `expected`, `field` is a whole sentence."""

    field: str
    got: str = ""
    expected: str = ""

    def __str__(self) -> str:
        return f"{self.field} {self.got}, expected {self.expected}" if self.expected else self.field


def mismatch_of(error: WireError, of: str = "") -> Mismatch:
    """Return what an error says about bytes that could not be read; `of` is put before it: what they are."""
    return Mismatch(of + (error.field or str(error)), error.got, error.expected)


def wrong_checksum(packet: bytes, of: str = "") -> Mismatch | None:
    """Return the first checksum in an IP packet that does not fit, the header's or the segment's; None when all do.

    `of` is put before the field's name: "inner ". A fragment's segment is not judged. None for what is no IP packet.
    """
    try:
        ip = decode_ip(packet)
    except WireError:
        return None
    if ip.version == 4:
        head = packet[: (packet[0] & 15) * 4]
        if internet(head):
            return _checksum(f"{of}IP", head[10:12], internet(head[:10] + bytes(2) + head[12:]))
    segment, at = packet[ip.header_length : ip.total_length], _CHECKSUM_AT.get(ip.protocol)
    if at is None or ip.is_fragment or len(segment) < at + 2:
        return None
    if is_right(ip.source, ip.destination, ip.protocol, segment):
        return None
    right = transport(ip.source, ip.destination, ip.protocol, segment[:at] + bytes(2) + segment[at + 2 :])
    return _checksum(of + NAMES[ip.protocol].upper(), segment[at : at + 2], right)


def _checksum(name: str, there: bytes, right: int) -> Mismatch:
    return Mismatch(f"{name} checksum", f"0x{there.hex()}", f"0x{right:04x}")
