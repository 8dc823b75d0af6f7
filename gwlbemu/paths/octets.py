"""A packet of the model as bytes, for those who judge bytes: the core and the bundled appliances."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

from gwlbemu.paths.values import Packet
from gwlbemu.wire.build import build_ipv4, build_ipv6
from gwlbemu.wire.protocols import FRAGMENT, ICMP, ICMPV6, TCP, UDP

OPEN_PORT = 49152  # stands for a port that is left open
_SMALLEST = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}
_ECHO = {(ICMP, False): 8, (ICMP, True): 0, (ICMPV6, False): 128, (ICMPV6, True): 129}


def encode(packet: Packet) -> bytes:
    """Return the packet as bytes, padded to its size; checksums above IP are left 0."""
    source, destination = ip_address(packet.source).packed, ip_address(packet.destination).packed
    head = 20 if len(source) == 4 else 40
    length = max(packet.size - head, _SMALLEST.get(packet.protocol, 0))
    payload = _head(packet, length).ljust(length, b"\0")
    if len(source) == 4:
        return build_ipv4(
            source, destination, packet.protocol, payload,
            ttl=packet.ttl, dont_fragment=packet.df, more_fragments=packet.is_fragment,
        )  # fmt: skip
    if packet.is_fragment:
        payload = struct.pack(">BxHI", packet.protocol, 1, 1) + payload
        return build_ipv6(source, destination, FRAGMENT, payload, hop_limit=packet.ttl)
    return build_ipv6(source, destination, packet.protocol, payload, hop_limit=packet.ttl)


def with_ttl_of(packet: Packet, data: bytes) -> Packet:
    """Return the packet with the TTL or hop limit of these bytes of it."""
    return replace(packet, ttl=data[8] if data[0] >> 4 == 4 else data[7])


def _head(packet: Packet, length: int) -> bytes:
    ports = [OPEN_PORT if port is None else port for port in (packet.source_port, packet.destination_port)]
    if packet.protocol == TCP:
        return struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, packet.tcp_flags, 65535, 0, 0)
    if packet.protocol == UDP:
        return struct.pack(">HHHH", *ports, length, 0)
    if packet.protocol in (ICMP, ICMPV6):
        return struct.pack(">BBHHH", _ECHO[packet.protocol, packet.is_answer], 0, 0, 1, 1)
    return b""
