"""Security groups: which rule lets a packet pass. The same rules as the plan's nftables text, read as values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.paths.machine import covers
from gwlbemu.paths.values import Packet
from gwlbemu.topology.plan.values import Path, SecurityGroup, SecurityGroupRule
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import ACK, SYN

_NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6}
EVERYTHING = "no egress rules: everything may leave"


class Allowed(NamedTuple):
    """The rule that lets a connection pass, for people, and its place in the file."""

    rule: str
    path: Path


def allowed_in(groups: Iterable[SecurityGroup], packet: Packet, balancers: Collection[str] = ()) -> Allowed | None:
    """Return the ingress rule that lets a new connection in; None when no rule does.

    `balancers` are the groups of the network load balancer that sends the packet, with its client's address.
    """
    for group in groups:
        for rule in group.ingress:
            if _matches(rule, packet, packet.source) or (rule.peer in balancers and _means(rule, packet)):
                return Allowed(f"security group {group.name}: {text(rule)} from {rule.peer}", rule.path)
    return None


def allowed_out(groups: Iterable[SecurityGroup], packet: Packet) -> Allowed | None:
    """Return the egress rule that lets a new connection out; None when no rule does.

    A group without egress rules lets everything out.
    """
    for group in groups:
        if group.egress is None:
            return Allowed(f"security group {group.name}: {EVERYTHING}", group.path)
        for rule in group.egress:
            if _matches(rule, packet, packet.destination):
                return Allowed(f"security group {group.name}: {text(rule)} to {rule.peer}", rule.path)
    return None


def begins(packet: Packet) -> bool:
    """Tell whether a packet cannot be an answer, as one packet shows: what the bridge port in front drops by itself."""
    if packet.protocol == TCP:
        return packet.tcp_flags & (SYN | ACK) == SYN
    if packet.protocol == UDP:
        return packet.destination_port == GENEVE_PORT
    return packet.protocol in (ICMP, ICMPV6) and not packet.is_answer


def text(rule: SecurityGroupRule) -> str:
    """Return what a rule allows, without its peer: "tcp 80"."""
    protocol = f"protocol {rule.protocol}" if rule.protocol.isdecimal() else rule.protocol
    return " ".join(filter(None, (protocol, rule.ports)))


def _matches(rule: SecurityGroupRule, packet: Packet, peer: str) -> bool:
    return _means(rule, packet) and any(covers(network, peer) for network in rule.networks)


def _means(rule: SecurityGroupRule, packet: Packet) -> bool:
    """Tell whether a rule is about such packets, whoever sends them."""
    if rule.protocol != "all" and (_NUMBERS.get(rule.protocol) or int(rule.protocol)) != packet.protocol:
        return False
    if not rule.ports or rule.protocol not in ("tcp", "udp"):
        return True
    first, _, last = rule.ports.partition("-")
    return packet.destination_port is None or int(first) <= packet.destination_port <= int(last or first)
