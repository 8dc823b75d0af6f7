"""Which of the packets that were seen, on a wire or by a node, are an injected one, and which its answer.

A packet is known by what translation leaves alone (`wire.identity`), an answer by what it answers: ports the other way
round, an echo reply, an ICMP error that quotes the packet. A router may make fragments of a packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gwlbemu.errors import WireError
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.craft import CraftedPacket
from gwlbemu.trials.trace import Match
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.icmp import decode_icmp
from gwlbemu.wire.identity import Identity, identity
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP
from gwlbemu.wire.tcp import RST, decode_tcp


@dataclass(frozen=True, slots=True)
class SeenPacket:
    """An IP packet at the eth0 of a watched instance: it arrived there or, `outgoing`, was sent."""

    at: float  # seconds of the kernel's monotonic clock
    instance: str
    packet: bytes
    outgoing: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What one packet is known by, and which addresses it may come from: the sender's, and those of NAT gateways.

    `ports` are those that a network load balancer may put in place of each other.
    """

    identity: Identity
    sources: frozenset[str]
    may_be_cut: bool  # DF is clear: a router may make fragments of it
    ports: frozenset[int] = frozenset()

    def matches(self, step: TracedPacket) -> bool:
        """Return whether a verdict is about the packet, or a fragment of it."""
        return step.source in self.sources and self.is_of(step.identity)

    def is_of(self, other: Identity) -> bool:
        """Return whether another identity is the packet's, or that of a fragment of it."""
        if self.is_whole(other):
            return True
        protocol, *ports, number, length = self.identity
        return (
            self.may_be_cut
            and (protocol, number) == (other[0], other[3])
            and other[4] < length
            and list(other[1:3]) in (ports, [0, 0])
        )

    def is_whole(self, other: Identity) -> bool:
        """Return whether another identity is that of the packet as a whole."""
        sides = zip(self.identity[1:3], other[1:3], strict=True)
        return (self.identity[0], *self.identity[3:]) == (other[0], *other[3:]) and all(
            one == two or {one, two} <= self.ports for one, two in sides
        )


def mark_of(packet: bytes, sources: Iterable[str], ports: frozenset[int] = frozenset()) -> Mark:
    """Return what a packet is known by. Raises WireError for bytes that are no packet."""
    ip = decode_ip(packet, quoted=True)
    return Mark(identity(packet, ip), frozenset(sources), ip.version == 4 and not packet[6] & 0x40, ports)


def nat_addresses(plan: Plan) -> frozenset[str]:
    """Return the addresses that NAT gateways may give packets, private and public."""
    return frozenset(each for gateway in plan.nat_gateways for each in (gateway.address, gateway.public_address))


def balanced_ports(plan: Plan) -> frozenset[int]:
    """Return the ports of network load balancers' listeners and targets, which they put in place of each other."""
    names = {node.load_balancer for node in plan.network_nodes}
    listeners = {each.port or 0 for one in plan.load_balancers if one.name in names for each in one.listeners}
    return frozenset(
        listeners | {each.port for name in names for group in plan.groups_of(name) for each in group.targets}
    )


def sender_addresses(plan: Plan, packet: CraftedPacket) -> set[str]:
    """Return the source of a packet under every address that an internet or NAT gateway may have given it."""
    public = {each.public_address: each.address for each in plan.instances if each.public_address}
    public |= {private: address for address, private in public.items()}
    own = {packet.source, public.get(packet.source, packet.source)}
    return own | (nat_addresses(plan) if ":" not in packet.source else frozenset())


def flows_to_trace(plan: Plan, packets: Sequence[CraftedPacket]) -> list[Match]:
    """Return the packets' flows, under every address that internet gateways (1:1) and NAT gateways may give them; with
    them the ICMP errors between the same ends, and fragments.
    """
    ends = (*plan.instances, *plan.addressed_nodes)
    public = {each.public_address: each.address for each in ends if each.public_address}
    public |= {private: address for address, private in public.items()}
    found: set[Match] = set()
    for packet in packets:
        error = ICMPV6 if ":" in packet.source else ICMP
        for one in sender_addresses(plan, packet):
            for other in {packet.destination, public.get(packet.destination, packet.destination)} - {one}:
                found.add((packet.protocol, one, other, *packet.ports))
                found.add((packet.protocol, one, other, 0, 0))
                found.add((error, one, other, 0, 0))
    return sorted(found)


def arrival(seen: Iterable[SeenPacket], mark: Mark) -> tuple[SeenPacket, int] | None:
    """Return the packet as it arrived, and in how many fragments (0: whole); None when it did not, or not all of it."""
    pieces: list[tuple[SeenPacket, IpPacket]] = []
    for each in seen:
        ip = _head(each.packet)
        if ip is None or each.outgoing:
            continue
        if mark.is_whole(identity(each.packet, ip)):
            return each, 0
        if mark.is_of(identity(each.packet, ip)) and ip.is_fragment:
            pieces.append((each, ip))
    by_offset = {ip.fragment_offset: (each, ip) for each, ip in pieces}
    end = 0
    while end in by_offset:
        each, ip = by_offset[end]
        end += ip.total_length - ip.header_length
        if not ip.more_fragments:
            return each, len(by_offset)
    return None


def answers(packet: bytes, asked: bytes) -> bool:
    """Whether `packet` answers `asked`: ports the other way round, an echo reply, or an ICMP error that quotes it."""
    head, first = _head(packet), _head(asked)
    if head is None or first is None:
        return False
    if head.protocol in (ICMP, ICMPV6) and not head.fragment_offset:
        try:
            icmp = decode_icmp(packet, head)
            if icmp.quoted is not None:
                quoted = icmp.quoted
                return (quoted.protocol, quoted.identification, quoted.source_port) == (
                    first.protocol, first.identification, first.source_port
                )  # fmt: skip
            return first.protocol == head.protocol and icmp.rest == decode_icmp(asked, first).rest
        except WireError:
            return False
    ports = (first.destination_port, first.source_port)
    return head.protocol == first.protocol and (head.source_port, head.destination_port) == ports


def is_in_kind(packet: bytes) -> bool:
    """Whether an answer says that somebody took the packet: no RST and no ICMP error."""
    head = _head(packet)
    if head is None:
        return False
    try:
        if head.protocol in (ICMP, ICMPV6):
            return not decode_icmp(packet, head).is_error
        return head.protocol != TCP or not decode_tcp(packet, head).flags & RST
    except WireError:
        return False


def answers_at(seen: Iterable[SeenPacket], instance: str, asked: SeenPacket) -> Iterator[SeenPacket]:
    """Yield what an instance sent in answer to a packet that had arrived there, in order of time."""
    first = _head(asked.packet)
    for each in sorted(seen, key=lambda one: one.at):
        head = _head(each.packet) if each.outgoing and each.instance == instance and each.at >= asked.at else None
        if head and first and head.destination == first.source and answers(each.packet, asked.packet):
            yield each


def _head(packet: bytes) -> IpPacket | None:
    try:
        return decode_ip(packet, quoted=True)
    except WireError:
        return None
