"""Packets that can be told apart wherever they are seen, and their answers, whatever translated them on the way.

A probe's number is in TCP's sequence number (in an answer's acknowledgement number), and in the payload of everything
else. No two probes of one protocol have the same source port, and none of ICMP and GRE the same length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from random import Random

from gwlbemu.errors import WireError
from gwlbemu.paths.answer import Answers
from gwlbemu.paths.ends import node_as_instance
from gwlbemu.paths.values import Packet
from gwlbemu.topology.plan.ends import destination_address
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.values import ApplicationNode, Instance, NetworkNode, Plan
from gwlbemu.wire import protocols
from gwlbemu.wire.icmp import decode_icmp
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import GRE, ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST, SYN, build_tcp, decode_tcp

FIRST_SEQUENCE = 0x5EED0000
MAGIC = b"diffprobe"
ASKED, ANSWERED = b"?", b"!"
GRE_HEAD = b"\0\0\x88\xb5"  # no options; the ethertype for local experiments (IEEE 802)
WEB, SSH, DNS, IKE = 80, 22, 53, 4500
PORTS = (DNS, IKE)  # of UDP, that the observer answers at
MSS = b"\x02\x04\x05\xb4"  # makes a SYN longer than the RST by which its sender's kernel will answer a SYN-ACK
_NUMBER = struct.Struct(">H")
MOST_PAIRS, MOST_STRAYS, MOST_FRONTS, MOST_BEGUN = 10, 3, 14, 14
ODD_SHARE = 0.3  # of the pairs have an echo request of an odd TTL, or size
PADDINGS = (1450, 1600, 8400, 8480)


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send: from an instance, or a load balancer's node, to an address. Ports are 0 for a protocol
    without.
    """

    number: int
    sender: Instance
    source: str
    destination: str
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    ttl: int = 64
    padding: int = 0  # bytes; the number of the probe is added, so that no two have the same length

    @property
    def is_ipv6(self) -> bool:
        """Whether it is an IPv6 packet."""
        return ":" in self.destination

    def payload(self, mark: bytes) -> bytes:
        """Return what a datagram of the probe carries; `mark` is ASKED or ANSWERED."""
        return MAGIC + _NUMBER.pack(self.number) + mark + bytes(self.padding + self.number)

    def segment(self) -> bytes:
        """Return the packet without its IP header."""
        if self.protocol == TCP:
            ends = ip_address(self.source).packed, ip_address(self.destination).packed
            number = FIRST_SEQUENCE + self.number
            packet = build_tcp(*ends, self.source_port, self.destination_port, sequence=number, options=MSS)
            return packet[decode_ip(packet).header_length :]
        if self.protocol == GRE:
            return GRE_HEAD + self.payload(ASKED)
        if self.protocol == UDP:
            return self.payload(ASKED)  # sent by a UDP socket
        kind = 128 if self.protocol == ICMPV6 else 8
        echo = struct.pack(">BBHHH", kind, 0, 0, 0x4000 + self.number, 1) + self.payload(ASKED)
        number = -sum(struct.unpack(f">{(len(echo) + 1) // 2}H", echo + b"\0" * (len(echo) % 2))) % 65535
        return echo if self.protocol == ICMPV6 else echo[:2] + number.to_bytes(2, "big") + echo[4:]  # v6: the kernel

    def packet(self) -> Packet:
        """Return the same as the path model has it."""
        length = len(self.segment()) + (8 if self.protocol == UDP else 0) + (40 if self.is_ipv6 else 20)
        packet = Packet(self.sender.name, self.destination, self.protocol, size=length, ttl=self.ttl)
        if self.protocol not in (TCP, UDP):
            return packet
        if self.protocol == TCP:
            packet = replace(packet, sequence=FIRST_SEQUENCE + self.number)
        return replace(packet, source_port=self.source_port, destination_port=self.destination_port)

    def __str__(self) -> str:
        ports = f" port {self.source_port} -> {self.destination_port}" if self.source_port else ""
        name = protocols.name(self.protocol)
        odd = (f" ttl {self.ttl}" if self.ttl != 64 else "") + (f" and {self.padding} bytes" if self.padding else "")
        return f"#{self.number} {name} {self.sender.name} {self.source} -> {self.destination}{ports}{odd}"


def answers(plan: Plan) -> Answers:
    """Return how the answer of a host to a packet differs from one in kind: a closed port's RST."""
    nodes = {node.name for node in plan.addressed_nodes}

    def answer(receiver: str, arrived: Packet) -> Packet | None:
        if arrived.protocol != TCP or arrived.destination_port == WEB or receiver in nodes:
            return None
        return replace(arrived.answer(), tcp_flags=RST | ACK)

    return answer


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which probe a packet is, or is the answer to; `error` has type and code of an ICMP error that quotes it."""

    number: int
    is_answer: bool
    error: tuple[int, int] | None = None


def recognise(packet: bytes) -> tuple[IpPacket, Recognised] | None:
    """Return what a whole IP packet is; None for one that has nothing to do with a probe."""
    try:
        ip = decode_ip(packet)
        found = _recognise(packet[: ip.total_length], ip)
    except (WireError, struct.error):
        return None
    return None if found is None else (ip, found)


def _recognise(packet: bytes, ip: IpPacket) -> Recognised | None:
    if ip.protocol == TCP:
        return _of_tcp(packet, ip)
    rest = packet[ip.header_length :]
    if ip.protocol in (ICMP, ICMPV6):
        head = decode_icmp(packet, ip)
        if head.is_error:
            quoted = _quoted(rest[8:])
            return quoted and Recognised(quoted.number, quoted.is_answer, (head.type, head.code))
        found = of_payload(rest[8:])
        return found and Recognised(found.number, head.type in (0, 129))
    return of_payload(rest[4:] if ip.protocol == GRE else rest[8:])


def of_payload(payload: bytes) -> Recognised | None:
    """Return what a datagram with this payload is."""
    if not payload.startswith(MAGIC):
        return None
    at = len(MAGIC)
    return Recognised(_NUMBER.unpack_from(payload, at)[0], payload[at + 2 : at + 3] == ANSWERED)


def answer_to(payload: bytes) -> bytes:
    """Return the payload of the answer to a datagram with this payload."""
    at = len(MAGIC) + _NUMBER.size
    return payload[:at] + ANSWERED + payload[at + 1 :]


def _of_tcp(packet: bytes, ip: IpPacket) -> Recognised | None:
    tcp = decode_tcp(packet, ip)
    number = tcp.sequence - FIRST_SEQUENCE
    if tcp.flags == SYN and 0 <= number < 0x1000:
        return Recognised(number, is_answer=False)
    number = tcp.acknowledgement - FIRST_SEQUENCE - 1
    return Recognised(number, is_answer=True) if tcp.flags & ACK and 0 <= number < 0x1000 else None


def _quoted(packet: bytes) -> Recognised | None:
    ip = decode_ip(packet, quoted=True)
    if ip.protocol != TCP:
        return _recognise(packet, ip)
    sequence, acknowledgement = struct.unpack_from(">II", packet, ip.header_length + 4)
    number = sequence - FIRST_SEQUENCE
    if 0 <= number < 0x1000:
        return Recognised(number, is_answer=False)
    return Recognised(acknowledgement - FIRST_SEQUENCE - 1, is_answer=True)


class _Draw:
    """The probes of one topology in the making.

    A network knows earlier packets: connections in security groups and NAT gateways, flows in load balancers. So that
    each probe stands for itself, two instances have one GRE between them, and where stickiness makes one flow of
    several protocols one packet altogether.
    """

    def __init__(self, plan: Plan, random: Random) -> None:
        self._random = random
        self._sticky = any(
            group.protocol == "GENEVE" and group.attributes.get("stickiness.enabled") == "true"
            for group in plan.target_groups
        )
        self._ports = random.sample(range(32768, 60000), 500)
        self._met: set[tuple[bool, frozenset[str]]] = set()
        self._outside_with_gre: set[str] = set()  # a NAT gateway's kernel has one GRE connection with each of them
        self.found: list[Probe] = []

    def pair(self, sender: Instance, destination: str, receiver: str, outside: bool) -> None:
        """Add the packets of a pair; `outside` for a receiver on the internet."""
        random, six = self._random, ":" in destination
        ends = (six, frozenset((sender.name, receiver)))
        first = ends not in self._met
        self._met.add(ends)
        icmp = ICMPV6 if six else ICMP
        kinds = [(TCP, random.choice((WEB, WEB, SSH))), (UDP, random.choice((DNS, DNS, IKE))), (icmp, 0)]
        if first and receiver not in self._outside_with_gre:
            kinds.append((GRE, 0))
            if outside and not six:
                self._outside_with_gre.add(receiver)
        if self._sticky:
            kinds = [random.choice(kinds)] if first else []
        for protocol, port in kinds:
            self._add(sender, destination, protocol, port)
        # Who sent first decides at which end of a node a TTL is over.
        if first and not self._sticky and random.random() < ODD_SHARE:
            self._add(sender, destination, icmp, ttl=random.randint(1, 9))
        if not self._sticky and random.random() < ODD_SHARE:
            self._add(sender, destination, icmp, padding=random.choice(PADDINGS))

    def balanced(self, sender: Instance, node: NetworkNode | ApplicationNode, listeners: Sequence[Listener]) -> None:
        """Add packets to a node of a network or application load balancer: to its listeners, and to a port that has
        none.
        """
        public = node.public_address and (not sender.vpc or (sender.public_address and self._random.random() < 0.2))
        address = node.public_address if public else node.address
        kinds = [
            (protocol, listener.port or 0)
            for listener in listeners
            for protocol, words in ((TCP, ("TCP", "HTTP")), (UDP, ("UDP",)))
            if set(words) & set(listener.protocol.split("_"))
        ]
        if self._sticky:
            self._met.add((False, frozenset((sender.address, node.address))))
            self._add(sender, address, *self._random.choice(kinds))
            return
        for protocol, port in [*kinds, *self._random.sample(kinds, 1)]:
            self._add(sender, address, protocol, port)
        if sender.ipv6_address and node.ipv6_address:
            for protocol, port in [*kinds, (TCP, SSH), (ICMPV6, 0)]:
                self._add(sender, node.ipv6_address, protocol, port)
        other = self._random.choice(((TCP, SSH), (UDP, IKE), (ICMP, 0)))
        if other not in kinds:
            self._add(sender, address, *other)
        if self._random.random() < ODD_SHARE:
            self._add(sender, address, *self._random.choice(kinds), ttl=self._random.randint(1, 9))

    def begun(self, node: Instance, address: str, port: int) -> None:
        """Add a packet as an application load balancer's node begins a connection to a target."""
        if self._sticky and (False, frozenset((node.address, address))) in self._met:
            return
        self._met.add((False, frozenset((node.address, address))))
        self._add(node, address, TCP, port)

    def stray(self, sender: Instance, destination: str) -> None:
        """Add a packet to an address that is no instance's."""
        protocol, port = self._random.choice(((TCP, WEB), (UDP, DNS), (ICMP, 0)))
        self._add(sender, destination, protocol, port)

    def _add(
        self, sender: Instance, destination: str, protocol: int, port: int = 0, ttl: int = 64, padding: int = 0
    ) -> None:
        number = len(self.found) + 1
        source = sender.ipv6_address if ":" in destination else sender.address
        own = self._ports[number] if port else 0
        self.found.append(Probe(number, sender, source, destination, protocol, own, port, ttl, padding))


def probes(plan: Plan, seed: int) -> tuple[Probe, ...]:
    """Return what is sent through a lab: TCP, UDP, ICMP and GRE between MOST_PAIRS of its pairs, and a few strays."""
    random = Random(f"probes {seed}")
    draw = _Draw(plan, random)
    plain = [one for one in plan.instances if not one.appliance]
    pairs = [(one, other) for one in plain for other in plain if one is not other]
    random.shuffle(pairs)
    for sender, receiver in pairs[:MOST_PAIRS]:
        destination = destination_address(sender, receiver)
        if destination != sender.address:
            draw.pair(sender, destination, receiver.name, outside=not receiver.vpc)
        if sender.ipv6_address and receiver.ipv6_address:
            draw.pair(sender, receiver.ipv6_address, receiver.name, outside=not receiver.vpc)
    strays = ["203.0.113.200", "10.0.250.9", *(one.address.rpartition(".")[0] + ".200" for one in plain)]
    strays += [one.public_address for one in plan.nat_gateways]
    fronts = [(one, node) for one in plain for node in plan.addressed_nodes]
    random.shuffle(fronts)
    listeners = {each.name: each.listeners for each in plan.load_balancers}
    for sender, door in fronts[:MOST_FRONTS]:
        draw.balanced(sender, door, listeners[door.load_balancer])
    begun = [
        (node_as_instance(plan, node), target.address, target.port)
        for node in plan.application_nodes
        for target in plan.in_scope(node)
    ]
    random.shuffle(begun)
    for node, address, port in begun[:MOST_BEGUN]:
        draw.begun(node, address, port)
    for _ in range(MOST_STRAYS):
        draw.stray(random.choice(plain), random.choice(strays))
    return tuple(draw.found)
