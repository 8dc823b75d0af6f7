"""What a packet is known by wherever it is seen: what routers, NAT and load balancers leave alone."""

from __future__ import annotations

from gwlbemu.wire.ip import IpPacket

Identity = tuple[int, int, int, int, int]
_FLOW_LABEL = 0xFFFFF  # RFC 8200 section 3


def identity(packet: bytes, ip: IpPacket) -> Identity:
    """Return protocol, ports, identification and total length of a packet whose head is `ip`.

    The identification of IPv6 is its flow label, or the fragment header's where there is one.
    """
    number = ip.identification
    if ip.version == 6 and not number:
        number = int.from_bytes(packet[:4], "big") & _FLOW_LABEL
    return ip.protocol, ip.source_port, ip.destination_port, number, ip.total_length
