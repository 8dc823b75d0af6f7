"""Find the network layer behind a captured frame's link header. Link types: the tcpdump.org registry."""

from __future__ import annotations

from typing import NamedTuple

ETHERNET, RAW, COOKED, IPV4, IPV6, COOKED2, NULL, LOOP = 1, 101, 113, 228, 229, 276, 0, 108
_RAW_TYPES = frozenset((RAW, IPV4, IPV6, 12, 14))  # 12 and 14: DLT_RAW, which some systems have written
KNOWN = _RAW_TYPES | {ETHERNET, COOKED, COOKED2, NULL, LOOP}
_VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
_LONGEST_LENGTH = 0x5DC  # a smaller "ethertype" is a length, IEEE 802.3
_SNAP = b"\xaa\xaa\x03\x00\x00\x00"  # RFC 1042
_NAMES = {0x0806: "arp", 0x88CC: "lldp", 0x8863: "pppoe", 0x8864: "pppoe", 0x8847: "mpls"}
TYPE_IPV4, TYPE_IPV6 = 0x0800, 0x86DD


class Linked(NamedTuple):
    """`ethertype` of what follows the link header, and its bytes; ethertype 0 when the link type is unknown or the
    frame is cut. `vlans` are the VLAN ids of the tags, outermost first.
    """

    ethertype: int
    payload: bytes
    vlans: tuple[int, ...] = ()


def unlink(link_type: int, frame: bytes) -> Linked:
    """Take the link header off. Ethernet (with VLAN tags), raw IP, Linux cooked v1 and v2, BSD loopback."""
    if link_type == ETHERNET:
        if frame[12:14] == b"\x08\x00":
            return Linked(TYPE_IPV4, frame[14:])
        return _tagged(frame, 12)
    if link_type in _RAW_TYPES:
        return _by_version(frame)
    if link_type == COOKED:
        return _tagged(frame, 14)
    if link_type == COOKED2 and len(frame) >= 20:
        return _tagged(frame[:2] + frame[20:], 0)
    if link_type in (NULL, LOOP):
        return _by_version(frame[4:])
    return Linked(0, b"")


def ethertype_name(ethertype: int) -> str:
    """Return a word for something that is not IP."""
    return _NAMES.get(ethertype, f"ethertype 0x{ethertype:04x}" if ethertype >= 0x600 else "no network layer")


def _tagged(frame: bytes, at: int) -> Linked:
    """Read the ethertype at `at`, behind VLAN tags or in a SNAP header."""
    vlans: list[int] = []
    while at + 2 <= len(frame):
        ethertype = frame[at] << 8 | frame[at + 1]
        at += 2
        if ethertype in _VLAN_TAGS:
            if at + 4 <= len(frame):
                vlans.append((frame[at] << 8 | frame[at + 1]) & 0xFFF)
            at += 2
        elif ethertype <= _LONGEST_LENGTH and frame[at : at + 6] == _SNAP:
            return Linked(int.from_bytes(frame[at + 6 : at + 8], "big"), frame[at + 8 : at + ethertype], tuple(vlans))
        else:
            return Linked(ethertype, frame[at:], tuple(vlans))
    return Linked(0, b"", tuple(vlans))


def _by_version(packet: bytes) -> Linked:
    version = packet[0] >> 4 if packet else 0
    return Linked({4: TYPE_IPV4, 6: TYPE_IPV6}.get(version, 0), packet)
