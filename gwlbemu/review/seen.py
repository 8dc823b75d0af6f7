"""What was read from a running lab, for the findings that only it can give: plain values, nothing concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Targets = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Carried:
    """Packets of one protocol between an endpoint and a target. `unanswered`: the last ones, nothing came since."""

    load_balancer: str
    node: str
    target: str  # as it is registered
    endpoint: str
    protocol: int  # IANA's number, 0: any
    packets_to: int
    packets_from: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class RefusedReturns:
    """Packets that a target returned and the node did not take. `endpoint` "" and `protocol` None: unreadable."""

    load_balancer: str
    node: str
    target: str
    endpoint: str
    protocol: int | None
    reason: str
    packets: int
    wrong: str  # what did not fit in the last one, a sentence; "" if unknown
    late: bool = False  # their flows had ended before their time, and not by the target


@dataclass(frozen=True, slots=True)
class IcmpAnswers:
    """ICMP errors that a node was sent about its GENEVE packets."""

    node: str
    sender: str  # an address
    destination: str  # the address that the packets were for
    port: int
    words: str  # such as "port unreachable"
    packets: int


@dataclass(frozen=True, slots=True)
class OnPurpose:
    """What `gwlbemu fail KIND NAME` broke; `heal` is the command line that puts it back."""

    kind: str
    name: str
    heal: str


@dataclass(frozen=True, slots=True)
class InstanceSeen:
    """One instance from inside.

    `said` are the counters of a bundled appliance, as far as they are understood; None: it was not asked or is silent.
    `not_understood` tells what is unknown of them, and why, where it runs and was asked.
    """

    program: str = ""  # running | frozen | dead | ended; "" for an instance without one
    last_words: str = ""  # of a program that does not run any more
    lost: tuple[tuple[str, int], ...] = ()  # (which sockets, packets for which their buffers had no room)
    tcp_listening: frozenset[int] | None = None  # None: it could not be looked at
    udp_bound: frozenset[int] | None = None
    accept_overflows: int = 0
    xdp: str = ""  # mode of an XDP program at its interface: xdp | xdpgeneric
    said: Mapping[str, int] | None = None
    not_understood: str = ""

    @property
    def stands_still(self) -> bool:
        """Whether it has a program that does nothing any more."""
        return self.program in ("dead", "frozen")


@dataclass(frozen=True, slots=True)
class PortDrops:
    """Packets that the port of an instance dropped for one reason, since the lab came up."""

    instance: str
    direction: str  # sent | received, by the instance
    reason: str  # a key of `port_rules.REASONS`
    packets: int


@dataclass(frozen=True, slots=True)
class WrongChecksums:
    """Packets that the kernel of a part of the lab dropped for a checksum of `layer` (IP header, TCP, UDP)."""

    kind: str  # subnet, instance, internet gateway ...
    name: str
    layer: str
    packets: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that was read. `targets` has by node what it says of its targets, None where it does not answer.

    `too_long` are by node the packets that were longer than a Gateway Load Balancer carries. `tables` says of a network
    load balancer's node whether the kernel has what its keeper wrote: intact, missing or altered; `proxies` whether its
    proxy is "running", or in words why it is not; "" where it needs none.
    """

    targets: Mapping[str, Targets | None]
    processes: Mapping[str, str] = field(default_factory=dict)  # running | frozen | dead | ended, by name
    carried: tuple[Carried, ...] = ()
    refused: tuple[RefusedReturns, ...] = ()
    icmp: tuple[IcmpAnswers, ...] = ()
    broken: tuple[OnPurpose, ...] = ()
    instances: Mapping[str, InstanceSeen] = field(default_factory=dict)
    port_drops: tuple[PortDrops, ...] = ()
    wrong_checksums: tuple[WrongChecksums, ...] = ()
    too_long: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)

    def instance(self, name: str) -> InstanceSeen:
        """Return what was seen of an instance; of one that was not looked at, nothing."""
        return self.instances.get(name, InstanceSeen())

    def on_purpose(self, name: str, zone: str) -> OnPurpose | None:
        """Return what is broken on purpose about an instance or a node in a zone; None for nothing."""
        return next((each for each in self.broken if each.name == (zone if each.kind == "zone" else name)), None)
