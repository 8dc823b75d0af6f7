"""An inner packet as a firewall or an IDS looks at it: its IP head and what the layer above says."""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.wire.icmp import IcmpHead, decode_icmp
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import TcpHead, decode_tcp
from gwlbemu.wire.udp import decode_udp

FlowKey = tuple[int, int, bytes, int, bytes, int]  # endpoint, protocol, then both ends in order


class Inner(NamedTuple):
    """One inner packet. A fragment has no `tcp` and no `icmp`; its payload is all that follows its IP head."""

    packet: bytes
    ip: IpPacket
    payload_at: int
    tcp: TcpHead | None = None
    icmp: IcmpHead | None = None

    @property
    def payload(self) -> bytes:
        """The bytes behind the last head, without padding."""
        return self.packet[self.payload_at : self.ip.total_length]


def read(packet: bytes) -> Inner:
    """Decode an inner packet; WireError when it is cut or contradicts itself."""
    ip = decode_ip(packet)
    if ip.is_fragment:
        return Inner(packet, ip, ip.header_length)
    if ip.protocol == TCP:
        tcp = decode_tcp(packet, ip)
        return Inner(packet, ip, tcp.payload_offset, tcp=tcp)
    if ip.protocol == UDP:
        return Inner(packet, ip, decode_udp(packet, ip).payload_offset)
    if ip.protocol in (ICMP, ICMPV6):
        return Inner(packet, ip, ip.header_length + 8, icmp=decode_icmp(packet, ip))
    return Inner(packet, ip, ip.header_length)


def ports(ip: IpPacket) -> tuple[int, int] | None:
    """Return source and destination port; None where the packet has none or does not show them (a later fragment)."""
    if ip.protocol in (TCP, UDP) and not ip.fragment_offset:
        return ip.source_port, ip.destination_port
    return None


def flow_key(endpoint: int, ip: IpPacket) -> FlowKey:
    """Return the key that both directions of a flow share; the endpoint is part of it because addresses may overlap."""
    source, destination = (ip.source, ip.source_port), (ip.destination, ip.destination_port)
    low, high = (source, destination) if source <= destination else (destination, source)
    return endpoint, ip.protocol, *low, *high
