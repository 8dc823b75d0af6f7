"""Find the network layer behind a captured frame's link header. Link types: the tcpdump.org registry."""

from __future__ import annotations

from typing import NamedTuple

ETHERNET, RAW, COOKED, IPV4, IPV6, COOKED2, NULL, LOOP = 1, 101, 113, 228, 229, 276, 0, 108
_RAW_TYPES = frozenset((RAW, IPV4, IPV6, 12, 14))
_VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
_NAMES = {0x0806: "arp", 0x88CC: "lldp", 0x8863: "pppoe", 0x8864: "pppoe"}
TYPE_IPV4, TYPE_IPV6 = 0x0800, 0x86DD


class Linked(NamedTuple):
    """`ethertype` of what follows the link header and its bytes; ethertype 0 when the link type is unknown or the frame
    is cut.
    """

    ethertype: int
    payload: bytes


def unlink(link_type: int, frame: bytes) -> Linked:
    """Take the link header off. Ethernet (with VLAN tags), raw IP, Linux cooked v1 and v2, BSD loopback."""
    if link_type == ETHERNET:
        return _ethernet(frame)
    if link_type in _RAW_TYPES:
        return _by_version(frame)
    if link_type == COOKED and len(frame) >= 16:
        return Linked(int.from_bytes(frame[14:16], "big"), frame[16:])
    if link_type == COOKED2 and len(frame) >= 20:
        return Linked(int.from_bytes(frame[0:2], "big"), frame[20:])
    if link_type in (NULL, LOOP):
        return _by_version(frame[4:])
    return Linked(0, b"")


def ethertype_name(ethertype: int) -> str:
    """Return a word for something that is not IP."""
    return _NAMES.get(ethertype, f"ethertype 0x{ethertype:04x}" if ethertype >= 0x600 else "no network layer")


def _ethernet(frame: bytes) -> Linked:
    at = 12
    while at + 2 <= len(frame):
        ethertype = frame[at] << 8 | frame[at + 1]
        at += 2
        if ethertype not in _VLAN_TAGS:
            return Linked(ethertype, frame[at:])
        at += 2
    return Linked(0, b"")


def _by_version(packet: bytes) -> Linked:
    version = packet[0] >> 4 if packet else 0
    return Linked({4: TYPE_IPV4, 6: TYPE_IPV6}.get(version, 0), packet)
