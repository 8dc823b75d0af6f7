"""Classic BPF programs that decide, before a frame is queued, whether a packet port wants it.

What a program leaves out is not lost: the kernel's own stack still gets it (ARP, the health checks' TCP). What it lets
in is judged by the core, so the programs are as generous as they can be.
"""

from __future__ import annotations

from typing import NamedTuple


class Instruction(NamedTuple):
    """struct sock_filter of <linux/filter.h>."""

    code: int
    true: int
    false: int
    k: int


LOAD_BYTE, LOAD_HALF, LOAD_WORD = 0x30, 0x28, 0x20  # BPF_LD | BPF_B, BPF_H, BPF_W | BPF_ABS
JUMP_EQUAL, JUMP_ANY_BIT = 0x15, 0x45  # BPF_JMP | BPF_JEQ, BPF_JSET | BPF_K
LOAD_INDEX_IPV4, LOAD_HALF_INDEXED = 0xB1, 0x48  # BPF_LDX | BPF_MSH; BPF_LD | BPF_H | BPF_IND
RETURN = 0x06
PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE: 0 is PACKET_HOST, sent to our own MAC
# SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT. The kernel takes the outermost tag off before any socket sees the frame, which
# then looks like one without.
VLAN_TAG_PRESENT = 0xFFFFF030
WHOLE = 0xFFFF_FFFF

SocketFilter = tuple[Instruction, ...]


def ip_to_us() -> SocketFilter:
    """Return a filter for every IPv4 and IPv6 frame sent to this interface's own MAC: what a router would be given."""
    return (
        Instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        Instruction(JUMP_EQUAL, 0, 6, 0),
        Instruction(LOAD_WORD, 0, 0, PACKET_TYPE),
        Instruction(JUMP_EQUAL, 0, 4, 0),
        Instruction(LOAD_HALF, 0, 0, 12),
        Instruction(JUMP_EQUAL, 1, 0, 0x0800),
        Instruction(JUMP_EQUAL, 0, 1, 0x86DD),
        Instruction(RETURN, 0, 0, WHOLE),
        Instruction(RETURN, 0, 0, 0),
    )


def udp_to_us() -> SocketFilter:
    """Return a filter for IPv4 UDP datagrams and their fragments to this interface's own MAC, at any address and port.

    A GENEVE packet with a wrong destination address or port is dropped by the balancer and counted (GV-10), so it must
    get there; UDP checksums are not looked at.
    """
    return (
        Instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        Instruction(JUMP_EQUAL, 0, 7, 0),
        Instruction(LOAD_WORD, 0, 0, PACKET_TYPE),
        Instruction(JUMP_EQUAL, 0, 5, 0),
        Instruction(LOAD_HALF, 0, 0, 12),
        Instruction(JUMP_EQUAL, 0, 3, 0x0800),
        Instruction(LOAD_BYTE, 0, 0, 23),
        Instruction(JUMP_EQUAL, 0, 1, 17),
        Instruction(RETURN, 0, 0, WHOLE),
        Instruction(RETURN, 0, 0, 0),
    )


def udp_port_to_us(port: int) -> SocketFilter:
    """Return a filter like `udp_to_us` for destination `port` only, and later fragments: others use UDP as well."""
    return (
        Instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        Instruction(JUMP_EQUAL, 0, 12, 0),
        Instruction(LOAD_WORD, 0, 0, PACKET_TYPE),
        Instruction(JUMP_EQUAL, 0, 10, 0),
        Instruction(LOAD_HALF, 0, 0, 12),
        Instruction(JUMP_EQUAL, 0, 8, 0x0800),
        Instruction(LOAD_BYTE, 0, 0, 23),
        Instruction(JUMP_EQUAL, 0, 6, 17),
        Instruction(LOAD_HALF, 0, 0, 20),
        Instruction(JUMP_ANY_BIT, 3, 0, 0x1FFF),
        Instruction(LOAD_INDEX_IPV4, 0, 0, 14),
        Instruction(LOAD_HALF_INDEXED, 0, 0, 16),
        Instruction(JUMP_EQUAL, 0, 1, port),
        Instruction(RETURN, 0, 0, WHOLE),
        Instruction(RETURN, 0, 0, 0),
    )


def untagged() -> SocketFilter:
    """Return a filter for every frame without a VLAN tag."""
    return (
        Instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        Instruction(JUMP_EQUAL, 0, 1, 0),
        Instruction(RETURN, 0, 0, WHOLE),
        Instruction(RETURN, 0, 0, 0),
    )


def tagged() -> SocketFilter:
    """Return a filter for the frames that have a VLAN tag, whoever they are for; one byte of each is enough."""
    return (
        Instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        Instruction(JUMP_EQUAL, 1, 0, 0),
        Instruction(RETURN, 0, 0, 1),
        Instruction(RETURN, 0, 0, 0),
    )


def nothing() -> SocketFilter:
    """Return a filter that refuses every packet: for a socket that only holds a port."""
    return (Instruction(RETURN, 0, 0, 0),)
