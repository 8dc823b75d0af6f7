"""Packets in words: addresses, flows, what a packet is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from gwlbemu.capture.dissect import Layer
from gwlbemu.errors import WireError
from gwlbemu.wire.icmp import IcmpHead, decode_icmp
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP, name
from gwlbemu.wire.tcp import TcpHead, decode_tcp, flags_text

_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded", 12: "bad parameter"}
_ICMPV6 = {1: "unreachable", 2: "too big", 3: "time exceeded", 4: "bad parameter"}
_ICMPV6 |= {128: "echo request", 129: "echo reply", 133: "router solicitation", 134: "router advertisement"}
_ICMPV6 |= {135: "neighbour solicitation", 136: "neighbour advertisement"}


def address_text(address: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 address (16 bytes) as text; any other length raises ValueError."""
    return str(IPv4Address(address)) if len(address) == 4 else str(IPv6Address(address))


def end_text(address: bytes, port: int) -> str:
    """Return one end of a flow; port 0 is left out, IPv6 with a port is bracketed."""
    text = address_text(address)
    if not port:
        return text
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"


def flow_text(ip: IpPacket) -> str:
    """Return `tcp 198.51.100.10:40000 > 10.0.1.10:80`."""
    return f"{name(ip.protocol)} {ends_text(ip)}"


def ends_text(ip: IpPacket) -> str:
    """Return `198.51.100.10:40000 > 10.0.1.10:80`."""
    return f"{end_text(ip.source, ip.source_port)} > {end_text(ip.destination, ip.destination_port)}"


def tcp_head(layer: Layer) -> TcpHead | None:
    """Return the TCP head of a packet that has a readable one."""
    if layer.ip.protocol != TCP or layer.ip.fragment_offset:
        return None
    try:
        return decode_tcp(layer.data, layer.ip)
    except WireError:
        return None


def icmp_head(layer: Layer) -> IcmpHead | None:
    """Return the ICMP or ICMPv6 head of a packet that has a readable one."""
    if layer.ip.protocol != (ICMP if layer.ip.version == 4 else ICMPV6) or layer.ip.fragment_offset:
        return None
    try:
        return decode_icmp(layer.data, layer.ip)
    except WireError:
        return None


def packet_text(layer: Layer) -> str:
    """Return a packet in one line: protocol, ends, what it does, length of its payload, TTL."""
    ip = layer.ip
    parts = [flow_text(ip)]
    length = ip.total_length - ip.header_length
    tcp, icmp = tcp_head(layer), icmp_head(layer)
    if tcp is not None:
        parts.append(f"[{flags_text(tcp.flags)}] seq {tcp.sequence}")
        if "." in flags_text(tcp.flags):
            parts.append(f"ack {tcp.acknowledgement}")
        length = tcp.payload_length
    elif icmp is not None:
        parts.append(_icmp_text(icmp, ip.version))
        length -= 8
    elif ip.protocol == UDP and not ip.fragment_offset:
        length -= 8
    if ip.is_fragment:
        more = "+" if ip.more_fragments else ""
        parts.append(f"fragment {ip.identification:#x}@{ip.fragment_offset}{more}")
    parts.append(f"len {max(length, 0)} ttl {ip.ttl}")
    if ip.dscp:
        parts.append(f"dscp {ip.dscp}")
    return " ".join(parts)


def _icmp_text(head: IcmpHead, version: int) -> str:
    kind = (_ICMP if version == 4 else _ICMPV6).get(head.type, f"type {head.type}")
    if head.is_error:
        quoted = f" about {flow_text(head.quoted)}" if head.quoted else ""
        return f"{kind} code {head.code}{quoted}"
    if kind.startswith("echo"):
        return f"{kind} id {head.identifier} seq {head.sequence}"
    return kind
