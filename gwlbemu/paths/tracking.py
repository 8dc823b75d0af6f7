"""Connections as the kernel tracks them, for the length of one walk: security groups and NAT gateways go by them."""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.values import Packet
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP
from gwlbemu.wire.tcp import ACK, RST, SYN

Tuple = tuple[int, str, int | None, str, int | None]


def tuple_of(packet: Packet) -> Tuple:
    """Return protocol, source, source port, destination, destination port; without ports where a packet has none.

    An echo request and its reply have the message's type there: a request that comes from the other end is no answer.
    """
    if packet.protocol in (ICMP, ICMPV6):
        return packet.protocol, packet.source, packet.is_answer, packet.destination, not packet.is_answer
    if not packet.has_ports:
        return packet.protocol, packet.source, None, packet.destination, None
    return packet.protocol, packet.source, packet.source_port, packet.destination, packet.destination_port


def turned(one: Tuple) -> Tuple:
    """Return the tuple of the other direction."""
    protocol, source, source_port, destination, destination_port = one
    return protocol, destination, destination_port, source, source_port


def may_begin(packet: Packet) -> bool:
    """Tell whether the kernel begins to track a connection with this packet.

    A TCP connection may be picked up in its middle (nf_conntrack_tcp_loose), but not by a SYN-ACK or a RST; an echo
    reply begins nothing. Such a packet is invalid: it is not translated.
    """
    if packet.protocol == TCP:
        return packet.tcp_flags & (SYN | ACK) != SYN | ACK and not packet.tcp_flags & RST
    return not (packet.protocol in (ICMP, ICMPV6) and packet.is_answer)


class Tracking:
    """The connections that one namespace knows, and what it translates their sources to."""

    def __init__(self) -> None:
        self._answers: dict[Tuple, Tuple] = {}  # what an answer looks like -> the first direction as it came
        self._sources: dict[Tuple, str] = {}  # the first direction as it came -> the source that it leaves with

    def note(self, packet: Packet, source: str = "") -> None:
        """Remember the connection of a packet as it came; `source` is the address that it leaves with."""
        first = tuple_of(packet)
        self._sources[first] = source or packet.source
        leaves = tuple_of(replace(packet, source=source) if source else packet)
        self._answers[turned(leaves)] = first

    def is_answer(self, packet: Packet) -> bool:
        """Tell whether a packet answers a connection that is known."""
        return tuple_of(packet) in self._answers

    def is_translated_answer(self, packet: Packet) -> bool:
        """Tell whether a packet, with the destination that `untranslated` gave it, answers a known connection."""
        first = turned(tuple_of(packet))
        return first in self._sources

    def untranslated(self, packet: Packet) -> Packet:
        """Return an answer with the destination that the connection began from."""
        first = self._answers.get(tuple_of(packet))
        return packet if first is None else replace(packet, destination=first[1])

    def source_of(self, packet: Packet) -> str:
        """Return the source with which the first direction of a known connection leaves; "" for any other packet."""
        return self._sources.get(tuple_of(packet), "")
