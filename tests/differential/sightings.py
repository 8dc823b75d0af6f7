"""Packets as they are seen on the interfaces of a lab, and what that comes to."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from gwlbemu.paths.values import FlowKey
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.ip import IpPacket
from tests.differential.probes import Probe, Recognised

Which = tuple[int, bool]  # a probe's number, and whether its answer is meant
Key = tuple[str, str, int, int, int, str, str, int]  # node, direction, protocol, ports, addresses, length


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet at an interface. `tunnel` has the outer addresses of one inside GENEVE."""

    at: int  # nanoseconds
    resource: str
    role: str
    device: str
    outgoing: bool
    ip: IpPacket
    what: Recognised
    tunnel: tuple[str, str] | None = None

    def __str__(self) -> str:
        way = "out" if self.outgoing else "in"
        tunnel = f" in GENEVE {self.tunnel[0]} -> {self.tunnel[1]}" if self.tunnel else ""
        error = f" ICMP error {self.what.error} about it" if self.what.error else ""
        ends = f"{address_text(self.ip.source)} -> {address_text(self.ip.destination)} ttl {self.ip.ttl}"
        return f"{self.resource}/{self.device} {way} {ends}{tunnel}{error}"


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of one packet.

    `delivered_to` is the instance that got it, "" for none. Otherwise `resource` (of `role`) is where it was seen last,
    and `sign` what was seen of the reason: a node's own word, "icmp TYPE/CODE", "loop", "not sent", "not its address"
    (an instance got somebody else's packet), or "silent".
    """

    delivered_to: str
    resource: str
    role: str
    sign: str
    lowest: frozenset[str]  # the resources at which it was seen with its lowest TTL
    looks: tuple[str, str, int]  # source, destination and TTL with which it arrived
    endpoints: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]
    routers: tuple[str, ...]
    sightings: tuple[Sighting, ...]

    def __str__(self) -> str:
        end = f"delivered to {self.delivered_to}" if self.delivered_to else f"{self.sign} at {self.resource}"
        met = " ".join(
            f"{endpoint}=>{target}" for endpoint, (_, target) in zip(self.endpoints, self.targets, strict=False)
        )
        return f"{end}; by {', '.join(self.routers)}; inspected {met or 'nowhere'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A probe, and what became of it and of its answer (None: it did not arrive, and nobody else answered)."""

    probe: Probe
    there: Observed
    back: Observed | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of all probes of a lab.

    `without_route` has, for each router, how many packets its kernel had no route for, by its own count, and `errors`
    how many of those may have been ICMP errors; nothing where network load balancers probe their targets meanwhile.
    `targets` and `members` are the states of targets when the probes were sent, `flows` those that health checks behind
    gateway load balancers had made (see `paths.values.States`).
    """

    outcomes: tuple[Outcome, ...]
    without_route: dict[str, int]
    errors: dict[str, int]
    targets: dict[tuple[str, str], str] = field(default_factory=dict)
    members: dict[tuple[str, str, str], str] = field(default_factory=dict)
    flows: dict[str, dict[FlowKey, str]] = field(default_factory=dict)


def key_at_node(one: Sighting) -> Key | None:
    """Return what a node's trace will call the packet that it got; None for a packet elsewhere."""
    if one.role != "node" or one.outgoing:
        return None
    ip = one.ip
    ends = address_text(ip.source), address_text(ip.destination)
    direction = "back" if one.tunnel else "out"
    return one.resource, direction, ip.protocol, ip.source_port, ip.destination_port, *ends, ip.total_length


def key_of(event: TracedPacket) -> Key:
    """Return the same of a verdict."""
    ports = event.source_port, event.destination_port
    return event.node, event.direction, event.protocol, *ports, event.source, event.destination, event.length


def address_text(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
