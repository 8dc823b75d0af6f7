"""Craft test packets with scapy: `--tcp 80 --flags S --payload x`, or any scapy expression.

scapy is imported here and nowhere near the packet path.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from gwlbemu.errors import SettingError, WireError
from gwlbemu.wire.ip import decode_ip


@dataclass(frozen=True, slots=True)
class PacketSpec:
    """What the user asked for. `protocol` is tcp, udp, icmp or expression: a scapy packet, or the text of one.

    `port` is the destination port, `flags` are letters out of FSRPAUEC (TCP).
    """

    protocol: str
    port: int = 0
    flags: str = "S"
    payload: bytes = b""
    expression: object = ""


@dataclass(frozen=True, slots=True)
class CraftedPacket:
    """One IP packet to send and what its head says; `summary` is scapy's line about it, ports are 0 without any.

    `protocol` is the upper layer behind IPv6 extension headers, as `wire.ip` reads it.
    """

    packet: bytes
    summary: str
    source: str
    destination: str
    protocol: int
    ports: tuple[int, int]  # source, destination


def craft(
    spec: PacketSpec, source: str, destination: str, *, ip_id: int, source_port: int, ipv6_source: str = ""
) -> CraftedPacket:
    """Build one inner IP packet. Raises SettingError when scapy does not understand the expression or the flags.

    `ipv6_source` is the source of an expression with an IPv6 layer that names none itself.
    """
    from scapy.error import Scapy_Exception
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
    from scapy.packet import Raw

    six = ":" in destination
    if spec.protocol == "expression":
        packet = _evaluate(spec.expression)
        layer = packet.getlayer(IP) or packet.getlayer(IPv6)
        if layer is None:
            raise SettingError(
                f"inject: {spec.expression!r} has no IP or IPv6 layer; example: IP(dst='203.0.113.10')/TCP(dport=80)"
            )
        if "src" not in layer.fields:
            if isinstance(layer, IPv6) and not ipv6_source:
                raise SettingError("inject: the sender has no IPv6 address: give the IPv6 layer a src of its own")
            layer.src = ipv6_source if isinstance(layer, IPv6) else source
        if isinstance(layer, IP) and "id" not in layer.fields:
            layer.id = ip_id
        if isinstance(layer, IPv6) and "fl" not in layer.fields:
            layer.fl = ip_id
        packet = layer
    else:
        head = (
            IPv6(src=source, dst=destination, fl=ip_id)
            if six
            else IP(src=source, dst=destination, id=ip_id, flags="DF")
        )
        try:
            if spec.protocol == "tcp":
                packet = head / TCP(sport=source_port, dport=spec.port, flags=spec.flags, seq=1000)
            elif spec.protocol == "udp":
                packet = head / UDP(sport=source_port, dport=spec.port)
            elif six:
                packet = head / ICMPv6EchoRequest(id=source_port, seq=ip_id)
            else:
                packet = head / ICMP(type=8, id=source_port, seq=ip_id)
            if spec.payload:
                packet = packet / Raw(spec.payload)
        except (Scapy_Exception, ValueError, KeyError) as error:
            raise SettingError(f"inject: flags {spec.flags!r}: expected letters out of FSRPAUEC") from error
    try:
        data = bytes(packet)
    except Exception as error:  # scapy raises struct.error, TypeError, ... for values that do not fit their field
        reason = str(error).partition("\n")[0].rstrip(":")  # the rest is about scapy itself
        raise SettingError(f"inject: scapy cannot build {packet.summary()}: {reason}") from error
    again = IPv6(data) if data[0] >> 4 == 6 else IP(data)
    try:
        ip = decode_ip(data, quoted=True)
    except WireError:  # broken on purpose: what it is meant to be is in the expression
        return CraftedPacket(data, str(again.summary()), str(again.src), str(again.dst), 0, (0, 0))
    ports = (ip.source_port, ip.destination_port)
    return CraftedPacket(data, str(again.summary()), str(again.src), str(again.dst), ip.protocol, ports)


def summary(packet: bytes) -> str:
    """Return one line about an IP packet, in scapy's words."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    return str((IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)).summary())


def _evaluate(expression: object):  # type: ignore[no-untyped-def]  # a scapy packet; scapy is untyped
    import scapy.all
    from scapy.packet import Packet
    from scapy.plist import PacketList

    if isinstance(expression, Packet):
        return expression.copy()
    packet = expression
    if isinstance(expression, str):
        try:
            packet = eval(
                expression, {name: getattr(scapy.all, name) for name in dir(scapy.all)}
            )  # the user's own shell, the user's own words
        except Exception as error:
            raise SettingError(f"inject: {expression!r} is not a scapy expression: {error}") from error
    if isinstance(packet, list | tuple | PacketList):
        raise SettingError(
            f"inject: expected one packet, got {len(packet)} in a list: inject them one after the other; of fragments, "
            "give IP an id and take [0], [1], ...: fragment(IP(dst='203.0.113.10', id=7)/UDP()/(b'x' * 3000))[0]"
        )
    if not isinstance(packet, Packet):
        raise SettingError(f"inject: {expression!r}: expected a scapy packet, got {reprlib.repr(packet)}")
    return packet
