"""Lower the MSS option of a TCP SYN to what an endpoint's 8500 bytes can carry. Off by default.

PrivateLink's quotas page says that endpoints do this; whether Gateway Load Balancer endpoints do is not known.
"""

from __future__ import annotations

from gwlbemu.core.gateway.settings import LONGEST_PACKET
from gwlbemu.wire.checksum import updated
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.tcp import SYN, TcpHead

_END, _NOTHING, _MSS = 0, 1, 2  # option kinds, RFC 9293 section 3.2


def clamp(packet: bytes, ip: IpPacket, tcp: TcpHead) -> bytes:
    """Return the packet with its MSS option lowered if it is a SYN that offers more; anything else unchanged."""
    most = LONGEST_PACKET - (40 if ip.version == 4 else 60)
    if not tcp.flags & SYN:
        return packet
    at, end = ip.header_length + 20, tcp.payload_offset
    while at < end and packet[at] != _END:
        if packet[at] == _NOTHING:
            at += 1
            continue
        if at + 1 >= end or packet[at + 1] < 2 or at + packet[at + 1] > end:
            return packet  # options that make no sense are left alone
        if packet[at] == _MSS and packet[at + 1] == 4:
            return _lowered(packet, ip.header_length, at + 2, most)
        at += packet[at + 1]
    return packet


def _lowered(packet: bytes, segment: int, at: int, most: int) -> bytes:
    offered = int.from_bytes(packet[at : at + 2], "big")
    if offered <= most:
        return packet
    changed = bytearray(packet)
    changed[at : at + 2] = most.to_bytes(2, "big")
    # A value at an odd offset of the segment counts with its bytes swapped in a 16-bit sum.
    old, new = (offered, most) if (at - segment) % 2 == 0 else (_swapped(offered), _swapped(most))
    checksum = updated(int.from_bytes(packet[segment + 16 : segment + 18], "big"), old, new)
    changed[segment + 16 : segment + 18] = checksum.to_bytes(2, "big")
    return bytes(changed)


def _swapped(number: int) -> int:
    return (number & 0xFF) << 8 | number >> 8
