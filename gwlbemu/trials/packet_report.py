"""What became of an injected packet, told from what was seen of it: nothing here sends, asks or waits.

A report is put together from what others saw, never from what should have happened: the nodes' verdicts (endpoint,
target, cookie) and the packets that arrived at the source and at the destination. The IP id (IPv6: the ports and
length) tells the packets apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gwlbemu.errors import WireError
from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.craft import CraftedPacket, summary
from gwlbemu.trials.trace import Match
from gwlbemu.views.appliance_logs import LoggedFlow
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.icmp import decode_icmp
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """One verdict of one node about the packet. `reason` is why it was dropped, the name of a counter."""

    at: float  # seconds of the kernel's monotonic clock
    node: str
    endpoint: str
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str  # the flow cookie, as 0x and eight digits
    reason: str


@dataclass(frozen=True, slots=True)
class PacketReport:
    """What became of one injected packet, number 1 being the first. `hops` are the nodes' verdicts in order of time."""

    number: int
    summary: str
    hops: tuple[NodeVerdict, ...] = ()
    delivered_to: str = ""
    delivered_after: float = 0.0  # seconds
    replies: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()  # a sentence per node that could not be asked
    said: str = ""  # of a packet that its target did not return: what the target's log says about it
    broken: tuple[str, ...] = ()  # what `fail` broke, such as "zone a"; it may be why

    @property
    def outcome(self) -> str:
        """In one word: delivered, rejected (answered by somebody on the way), dropped (by a node), not-returned (by the
        target that had it last) or lost.
        """
        if self.delivered_to:
            return "delivered"
        if self.replies:
            return "rejected"
        if self.hops and self.hops[-1].verdict == "drop":
            return "dropped"
        if self.hops and self.hops[-1].verdict == "to-target":
            return "not-returned"
        return "lost"

    @property
    def why(self) -> str:
        """One sentence for a person."""
        last = self.hops[-1] if self.hops else None
        if self.outcome == "delivered":
            return f"delivered to {self.delivered_to} after {self.delivered_after * 1000:.1f} ms"
        if self.outcome == "rejected":
            return f"answered instead of delivered: {self.replies[0]}"
        if self.outcome == "dropped" and last:
            return f"dropped by {last.node}: {last.reason}"
        if self.outcome == "not-returned" and last:
            return self.said or f"{last.target} did not return it"
        if self.silent:
            return f"{f'left {last.endpoint}; ' if last else ''}no node that answers saw it; {'; '.join(self.silent)}"
        broken = f"perhaps because of what is broken on purpose: {', '.join(self.broken)}" if self.broken else ""
        if last:
            return f"left {last.endpoint} and was not seen again: {broken or 'no route, or a security group'}"
        return f"no node saw it: {broken or 'the route tables lead it past every endpoint'}"


@dataclass(frozen=True, slots=True)
class SeenPacket:
    """An IP packet that arrived at the eth0 of a watched instance."""

    at: float  # seconds of the kernel's monotonic clock
    instance: str
    packet: bytes


def flows_to_trace(plan: Plan, packets: Sequence[CraftedPacket]) -> list[Match]:
    """Return the packets' flows, as they were crafted and as the internet gateways' 1:1 addresses turn them."""
    public = {each.public_address: each.address for each in plan.instances if each.public_address}
    public |= {private: address for address, private in public.items()}
    found: set[Match] = set()
    for packet in packets:
        for one in {packet.source, public.get(packet.source, packet.source)}:
            for other in {packet.destination, public.get(packet.destination, packet.destination)}:
                found.add((packet.protocol, one, other, *packet.ports))
    return sorted(found)


def _identity(packet: bytes) -> tuple[int, int, int, int, int]:
    """What address translation leaves alone: protocol, ports, IP id and length."""
    head = decode_ip(packet)
    return head.protocol, head.source_port, head.destination_port, head.identification, head.total_length


def packet_report(
    crafted: CraftedPacket,
    *,
    number: int,
    sent_at: float,
    sender: Instance,
    seen: Iterable[SeenPacket],
    traced: Iterable[TracedPacket],
    explain: Callable[[str, LoggedFlow], str],
) -> PacketReport:
    """Return what became of a packet that `sender` sent at the instant `sent_at`.

    `traced` is what the nodes did with packets of its flow. `explain(target, flow)` is asked for a sentence when the
    target that had the packet last did not return it.
    """
    mine = _identity(crafted.packet)
    # An answer may happen to carry the same IP id: it comes from neither of the addresses that the sender has.
    from_sender = {crafted.source, sender.address, sender.public_address, sender.ipv6_address}
    own = sorted(
        (step for step in traced if step.identity == mine and step.source in from_sender), key=lambda step: step.at
    )
    delivered_to, delivered_after, replies = "", 0.0, []
    for each in seen:
        try:
            identity = _identity(each.packet)
        except WireError:
            continue
        if each.instance != sender.name and identity == mine:
            delivered_to, delivered_after = each.instance, each.at - sent_at
        elif each.instance == sender.name and each.at >= sent_at and _answers(each.packet, crafted.packet):
            replies.append(summary(each.packet))
    report = PacketReport(
        number,
        crafted.summary,
        tuple(map(_verdict, own)),
        delivered_to,
        delivered_after,
        tuple(replies),
    )
    if report.outcome != "not-returned":
        return report
    last = own[-1]
    flow = LoggedFlow(last.protocol, last.source, last.source_port, last.destination, last.destination_port)
    return replace(report, said=explain(report.hops[-1].target, flow))


def _verdict(step: TracedPacket) -> NodeVerdict:
    return NodeVerdict(step.at, step.node, step.endpoint, step.verdict, step.target, step.cookie, step.reason)


def _answers(packet: bytes, sent: bytes) -> bool:
    """Whether `packet` answers `sent`: ports the other way round, an echo reply, or an ICMP error that quotes it."""
    head, first = decode_ip(packet), decode_ip(sent)
    if head.protocol in (ICMP, ICMPV6):
        icmp = decode_icmp(packet, head)
        if icmp.quoted is not None:
            return (icmp.quoted.identification, icmp.quoted.source_port) == (first.identification, first.source_port)
        return first.protocol == head.protocol and icmp.rest == decode_icmp(sent, first).rest
    ports = (first.destination_port, first.source_port)
    return head.protocol == first.protocol and (head.source_port, head.destination_port) == ports
