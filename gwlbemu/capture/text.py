"""Packets in words: addresses, flows, what a packet is."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gwlbemu.capture.dissect import Layer
from gwlbemu.errors import WireError
from gwlbemu.wire.icmp import IcmpHead, decode_icmp
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP, name
from gwlbemu.wire.tcp import ACK, TcpHead, decode_tcp, flags_text

_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded", 12: "bad parameter"}
_ICMPV6 = {1: "unreachable", 2: "too big", 3: "time exceeded", 4: "bad parameter"}
_ICMPV6 |= {128: "echo request", 129: "echo reply", 133: "router solicitation", 134: "router advertisement"}
_ICMPV6 |= {135: "neighbour solicitation", 136: "neighbour advertisement"}


@lru_cache(1 << 12)
def address_text(address: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 address (16 bytes) as text; any other length raises ValueError."""
    return str(IPv4Address(address)) if len(address) == 4 else str(IPv6Address(address))


def end_text(address: bytes, port: int | None) -> str:
    """Return one end of a flow; IPv6 with a port is bracketed."""
    text = address_text(address)
    if port is None:
        return text
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"


def flow_text(ip: IpPacket, *, ports: bool | None = None) -> str:
    """Return `tcp 198.51.100.10:40000 > 10.0.1.10:80`; `ports` as in `ends_text`."""
    return f"{name(ip.protocol)} {ends_text(ip, ports=ports)}"


def ends_text(ip: IpPacket, *, ports: bool | None = None) -> str:
    """Return `198.51.100.10:40000 > 10.0.1.10:80`.

    `ports` tells whether the packet has its ports in it; without that they are shown unless both are 0, which is how a
    head without ports reads.
    """
    shown = bool(ip.source_port or ip.destination_port) if ports is None else ports
    source, destination = (ip.source_port, ip.destination_port) if shown else (None, None)
    return f"{end_text(ip.source, source)} > {end_text(ip.destination, destination)}"


def has_ports(layer: Layer) -> bool:
    """Return whether a packet is TCP or UDP with its ports in it, be they 0."""
    ip = layer.ip
    return ip.protocol in (TCP, UDP) and not ip.fragment_offset and len(layer.data) >= ip.header_length + 4


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


def packet_text(layer: Layer, *, verbose: bool = False) -> str:
    """Return a packet in one line: protocol, ends, what it does, length of its payload, TTL; `verbose`: DF and id."""
    ip = layer.ip
    length = ip.total_length - ip.header_length
    tcp, icmp = tcp_head(layer), icmp_head(layer)
    doing = ""
    if tcp is not None:
        doing, length = tcp_text(tcp.flags, tcp.sequence, tcp.acknowledgement), tcp.payload_length
    elif icmp is not None:
        doing, length = f" {_icmp_text(icmp, ip.version)}", length - 8
    elif ip.protocol == UDP and not ip.fragment_offset:
        length -= 8
    if ip.is_fragment:
        doing += f" fragment {ip.identification:#x}@{ip.fragment_offset}{'+' * ip.more_fragments}"
    identification = f" id {ip.identification:#x}" if verbose else ""
    return f"{head_text(layer)}{doing} len {max(length, 0)}{tail_text(layer, verbose=verbose)}{identification}"


def head_text(layer: Layer) -> str:
    """Return what the texts of all packets of one flow begin with: protocol and ends."""
    return flow_text(layer.ip, ports=has_ports(layer))


def tcp_text(flags: int, sequence: int, acknowledgement: int) -> str:
    """Return what a TCP segment does, with a space in front."""
    if flags & ACK:
        return f" [{flags_text(flags)}] seq {sequence} ack {acknowledgement}"
    return f" [{flags_text(flags)}] seq {sequence}"


def tail_text(layer: Layer, *, verbose: bool = False) -> str:
    """Return what a packet's text ends with: TTL, DSCP, whatever is unusual; `verbose`: DF."""
    ip = layer.ip
    dscp = f" dscp {ip.dscp}" if ip.dscp else ""
    jumbo = " jumbo (length field 0)" if layer.jumbo else ""
    return f" ttl {ip.ttl}{dscp}{jumbo}{' df' if verbose and layer.dont_fragment else ''}"


def _icmp_text(head: IcmpHead, version: int) -> str:
    kind = (_ICMP if version == 4 else _ICMPV6).get(head.type, f"type {head.type}")
    if head.is_error:
        quoted = f" about {flow_text(head.quoted)}" if head.quoted else ""
        return f"{kind} code {head.code}{quoted}"
    if kind.startswith("echo"):
        return f"{kind} id {head.identifier} seq {head.sequence}"
    return kind
