"""Packets that can be told apart wherever they are seen, and their answers, whatever translated them on the way.

Of TCP and UDP each probe has a source port that no other probe has; an echo request has a mark and a number in its
payload, and a length that no other probe of its batch has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from gwlbemu.errors import WireError
from gwlbemu.topology.plan.values import Instance
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.checksum import internet
from gwlbemu.wire.icmp import ECHO, ECHO_REPLY, V6_ECHO, V6_ECHO_REPLY, decode_icmp
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST, SYN, build_tcp

MSS = b"\x02\x04\x05\xb4"  # makes a SYN longer than the RST by which its sender's kernel answers a SYN-ACK
_ECHO = struct.Struct(">BBHHH")
_NUMBER = struct.Struct(">H")
MARK_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send; ports are 0 for an echo request. `mark` (8 bytes) is the same for all probes of a run.

    `served_by` are the targets, with their ports, of the network load balancer to which it is sent, or the nodes of a
    load balancer that end the connection.
    """

    number: int
    mark: bytes
    sender: Instance
    receiver: Instance | None  # None: the destination is nobody's
    source: str
    destination: str
    protocol: int  # ICMPv6 for an echo request over IPv6
    source_port: int = 0
    destination_port: int = 0
    served_by: tuple[tuple[Instance, int], ...] = ()

    @property
    def receivers(self) -> tuple[tuple[Instance, int], ...]:
        """The instances that may get it, each with the port at which."""
        return self.served_by or (((self.receiver, self.destination_port),) if self.receiver else ())

    @property
    def is_ipv6(self) -> bool:
        """Whether it is an IPv6 packet."""
        return ":" in self.destination

    @property
    def payload(self) -> bytes:
        """What a datagram or an echo request carries."""
        return self.mark + _NUMBER.pack(self.number) + bytes(self.number)

    @property
    def length(self) -> int:
        """Bytes of the whole IP packet."""
        return (40 if self.is_ipv6 else 20) + (24 if self.protocol == TCP else 8 + len(self.payload))

    def segment(self) -> bytes:
        """Return the packet without its IP header; of UDP what the socket is given."""
        if self.protocol == TCP:
            ends = ip_address(self.source).packed, ip_address(self.destination).packed
            packet = build_tcp(*ends, self.source_port, self.destination_port, options=MSS, flags=SYN)
            return packet[decode_ip(packet).header_length :]
        if self.protocol == UDP:
            return self.payload
        kind = V6_ECHO if self.protocol == ICMPV6 else ECHO
        echo = _ECHO.pack(kind, 0, 0, 0x4000 + self.number, 1) + self.payload
        if self.protocol == ICMPV6:  # the kernel fills in the checksum
            return echo
        return echo[:2] + internet(echo).to_bytes(2, "big") + echo[4:]


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which probe a packet is, or is the answer to; `error` has type and code of an ICMP error that quotes it."""

    number: int
    is_answer: bool
    error: tuple[int, int] | None = None


class Probes:
    """The probes of one batch, by what they are known by."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self.by_number = {each.number: each for each in probes}
        self._by_ports = {
            (each.protocol, each.source_port, port): each.number
            for each in self.by_number.values()
            for port in (each.destination_port, *(port for _, port in each.served_by))
            if each.source_port
        }
        self._by_length = {
            (each.protocol, each.length): each for each in self.by_number.values() if not each.source_port
        }

    def recognise(self, packet: bytes) -> tuple[IpPacket, Recognised] | None:
        """Return what a whole IP packet is; None for one that has nothing to do with a probe."""
        try:
            ip = decode_ip(packet)
            found = self._recognise(packet[: ip.total_length], ip)
        except (WireError, struct.error, IndexError):
            return None
        return None if found is None else (ip, found)

    def event(self, event: TracedPacket) -> Recognised | None:
        """Return the same of a verdict of a node."""
        if event.protocol in (TCP, UDP):
            found = self._by(event.protocol, event.source_port, event.destination_port)
            if found and not found.is_answer and event.length != self.by_number[found.number].length:
                return None  # the RST by which the sender ends a connection
            return found
        probe = self._by_length.get((event.protocol, event.length))
        if probe is None:
            return None
        sender = probe.sender.addresses
        receiver = {probe.destination, *(probe.receiver.addresses if probe.receiver else ())}
        if event.source in receiver and event.destination not in receiver - sender:
            return Recognised(probe.number, is_answer=True)
        return Recognised(probe.number, is_answer=False) if event.destination in receiver else None

    def _recognise(self, packet: bytes, ip: IpPacket) -> Recognised | None:
        if ip.protocol == TCP:
            found = self._by(TCP, ip.source_port, ip.destination_port)
            flags = packet[ip.header_length + 13]
            fits = flags & ACK and flags & (SYN | RST) if found and found.is_answer else flags & (SYN | ACK) == SYN
            return found if fits else None
        if ip.protocol == UDP:
            return self._by(UDP, ip.source_port, ip.destination_port)
        if ip.protocol not in (ICMP, ICMPV6):
            return None
        head = decode_icmp(packet, ip)
        if head.is_error:
            found = self._quoted(packet[ip.header_length + 8 :], head.quoted) if head.quoted else None
            return Recognised(found.number, found.is_answer, (head.type, head.code)) if found else None
        return self._echo(head.type, packet[ip.header_length + 8 :])

    def _quoted(self, packet: bytes, ip: IpPacket) -> Recognised | None:
        if ip.protocol in (TCP, UDP):
            return self._by(ip.protocol, ip.source_port, ip.destination_port)
        return self._echo(packet[ip.header_length], packet[ip.header_length + 8 :])

    def _echo(self, kind: int, payload: bytes) -> Recognised | None:
        if kind not in (ECHO, ECHO_REPLY, V6_ECHO, V6_ECHO_REPLY):
            return None
        probe = self.by_number.get(_NUMBER.unpack_from(payload, MARK_LENGTH)[0])
        if probe is None or not payload.startswith(probe.mark):
            return None
        return Recognised(probe.number, kind in (ECHO_REPLY, V6_ECHO_REPLY))

    def _by(self, protocol: int, source_port: int, destination_port: int) -> Recognised | None:
        number = self._by_ports.get((protocol, source_port, destination_port))
        if number is not None:
            return Recognised(number, is_answer=False)
        number = self._by_ports.get((protocol, destination_port, source_port))
        return None if number is None else Recognised(number, is_answer=True)
