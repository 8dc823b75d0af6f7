"""What the path model is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from gwlbemu.topology.plan.values import Path
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST, SYN

# Endpoint, protocol, source, source port, destination, destination port: in the direction of the flow's first packet.
# Ports are 0 where its key has none, and so is the protocol where flows go by their addresses alone.
FlowKey = tuple[str, int, str, int, str, int]
# Protocol, source, source port, destination, destination port, as a connection's client sends.
ConnectionKey = tuple[int, str, int, str, int]


class Bound(NamedTuple):
    """Where the connections of a network load balancer's client go: a target of a group, with its address and port."""

    target_group: str
    target: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as its sender makes it; a plain TCP SYN, UDP datagram, echo request or other packet.

    `source` and `destination` are instance names or addresses; a destination that is a name means the address by which
    the sender reaches that instance (`topology.plan.ends`). It may also be a network load balancer's name, which means
    each of the addresses that DNS would answer, or that of one of its nodes. `protocol` is IANA's number. Ports are
    None where the protocol has none, and a source port of None of TCP or UDP is left open: every choice that depends on
    it is walked. So is a TCP SYN's `sequence` of None, by which network load balancers choose. `size` is the whole IP
    packet in bytes. An ICMP packet is an echo request unless `is_answer`.
    """

    source: str
    destination: str
    protocol: int = TCP
    source_port: int | None = None
    destination_port: int | None = None
    size: int = 60
    ttl: int = 64
    df: bool = True  # don't fragment
    tcp_flags: int = SYN
    is_answer: bool = False
    is_fragment: bool = False  # one of several that a router made of it
    sequence: int | None = None  # of a TCP SYN

    @property
    def has_ports(self) -> bool:
        """Whether the protocol is one whose ports a flow goes by."""
        return self.protocol in (TCP, UDP)

    def answer(self) -> Packet:
        """Return the answer in kind: ends swapped, of the same size, with a fresh TTL; to a SYN a SYN-ACK."""
        flags = SYN | ACK if self.tcp_flags & (SYN | ACK) == SYN else ACK
        return Packet(
            self.destination, self.source, self.protocol, self.destination_port, self.source_port,
            size=self.size, df=self.df, tcp_flags=flags, is_answer=True,
        )  # fmt: skip

    def __str__(self) -> str:
        def end(address: str, port: int | None) -> str:
            if not self.has_ports:
                return address
            shown = "*" if port is None else str(port)
            return f"[{address}]:{shown}" if ":" in address else f"{address}:{shown}"

        kind = protocols.name(self.protocol)
        if self.protocol in (ICMP, ICMPV6):
            kind += " echo reply" if self.is_answer else " echo request"
        elif self.protocol == TCP and self.tcp_flags & RST:
            kind += " RST"
        elif self.protocol == TCP and self.tcp_flags & SYN:
            kind += " SYN-ACK" if self.tcp_flags & ACK else " SYN"
        return f"{kind} {end(self.source, self.source_port)} -> {end(self.destination, self.destination_port)}"


@dataclass(frozen=True, slots=True)
class States:
    """What is so at the moment. Each may be left out: all targets healthy, no flows, nothing broken, no seed.

    `targets` has AWS's state of a target (its id) at a node: healthy, unhealthy, initial, draining, unused,
    unavailable. `flows` has a node's live flows and their targets, `broken` what `fail` did: (kind, name). `seeds` has
    a node's seed, by which it chooses; without one each choice among several targets is open. `returning` names the
    instances whose program is a command of the user's and is known to return every packet; without it, whether they do
    is open. Of network and application load balancers, `members` has the state of a target at a node, by node, target
    group and id, and `without_engine` names the nodes whose HAProxy does not run; of network load balancers,
    `connections` has a node's live ones, and `changed_tables` names the nodes whose tables are not as their keepers
    wrote them.
    """

    targets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    flows: Mapping[str, Mapping[FlowKey, str]] = field(default_factory=dict)
    broken: frozenset[tuple[str, str]] = frozenset()
    seeds: Mapping[str, int] = field(default_factory=dict)
    returning: frozenset[str] = frozenset()
    members: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    connections: Mapping[str, Mapping[ConnectionKey, Bound]] = field(default_factory=dict)
    changed_tables: frozenset[str] = frozenset()
    without_engine: frozenset[str] = frozenset()


class Kind(str, Enum):
    """How a way ends."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    LOOP = "loop"
    AMBIGUOUS = "ambiguous"  # the alternatives end differently


class Cause(str, Enum):
    """Why a way ends before its destination, beside the core's own `Reason`s.

    In capitals the explanation codes of AWS's Reachability Analyzer, where one fits; the others are ours.
    """

    NO_ROUTE = "NO_ROUTE_TO_DESTINATION"
    BLACKHOLE = "BAD_STATE_ROUTE"
    SECURITY_GROUP = "ENI_SG_RULES_MISMATCH"
    SOURCE_DESTINATION_CHECK = "ENI_SOURCE_DEST_CHECK_RESTRICTION"
    NO_PUBLIC_ADDRESS = "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS"
    UNKNOWN_ADDRESS = "NO_POSSIBLE_DESTINATION"  # nobody has it, in the subnet or on the internet
    FIREWALL = "FIREWALL_RULES_RESTRICTION"  # an appliance's rules
    NO_SUCH_SUBNET = "NoSuchSubnet"  # the local route, and no subnet has the address
    NAT_NO_SESSION = "NatNoSession"  # came to a NAT gateway that has no connection of that kind
    NAT_PROTOCOL = "NatProtocol"  # a NAT gateway translates TCP, UDP and ICMP alone
    TOO_BIG = "PacketTooBig"  # with DF set: the router answers with ICMP
    LINK_TOO_BIG = "LinkTooBig"  # a link drops it silently
    TTL = "TtlExpired"
    NOT_RETURNED = "NotReturned"  # an appliance that is no firewall kept it
    NO_APPLIANCE = "NoAppliance"  # a target that runs no program
    OWN_PROGRAM = "OwnProgram"  # a target that runs a program of the user's, which may keep it
    APPLIANCE = "ApplianceFrozen"
    NODE = "NodeFrozen"
    BROKEN = "CablePulled"
    RESET = "Reset"  # a node answered the packet with a RST
    NO_LISTENER = "ELBV2_LISTENERS_MISMATCH"  # of a network or application load balancer: it says nothing
    NO_TARGETS = "ELBV2_LISTENER_HAS_NO_TG"  # the target group has none
    NO_TARGETS_IN_ZONE = "ELBV2_NO_TARGETS_IN_AZ"  # none in the zone, and cross-zone load balancing is off
    CHANGED_TABLES = "ChangedTables"  # a network load balancer's node whose tables are not what its keeper wrote
    HAIRPIN = "Hairpin"  # a client that is its own target, with its own address
    LOOP = "Loop"
    OPEN = "OpenChoice"  # of an ambiguous end


HopKind = Literal[
    "send", "route", "edge", "internet", "transit", "translate", "forward", "fragment", "endpoint", "choice", "target",
    "return", "deliver", "terminate",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hop:
    """What one element did with the packet, and the rule that decided.

    `at` is a resource's name: an instance, a subnet, a gateway, an endpoint, a node or a target. `rule` names the line
    that decided: "route table app-a: 0.0.0.0/0 -> vpce-a"; `path` is where that line stands in the topology file, or
    the table whose implicit local line it was; () where no line of the file decided. `packet` is how it leaves.
    """

    at: str
    kind: HopKind
    rule: str
    packet: Packet
    detail: str = ""
    path: Path = ()


@dataclass(frozen=True, slots=True)
class End:
    """How a way ended: where, why (a `Cause`, or a `Reason` of the core, as text; "" for delivered), in a sentence.

    `path` is the line of the file that ended it, or the table, group or resource that lacks one; () when delivered,
    and where nothing in the file did.
    """

    kind: Kind
    at: str
    reason: str
    sentence: str
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one packet.

    `endpoints` are those it crossed, in their order; `targets` the (node, target) it was sent to, one for each endpoint
    crossed as far as it came; `balanced` are the (node, target) to which network load balancers forwarded it. `packet`
    is how it arrived, or how it was last seen. `choices` names what was left open and how it was decided here ("tgw:
    zone b by hash", "firewall-node-a: fw-a1"). `alternatives` are all ways that the open choices allow, this one first;
    none when nothing was open. When they end differently, `end.kind` is AMBIGUOUS and `hops` are those that they share.
    """

    hops: tuple[Hop, ...]
    end: End
    packet: Packet
    endpoints: tuple[str, ...] = ()
    targets: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    alternatives: tuple[Way, ...] = ()
    balanced: tuple[tuple[str, str], ...] = ()

    @property
    def delivered(self) -> bool:
        """Whether it arrived, whatever the open choices."""
        return self.end.kind is Kind.DELIVERED

    @property
    def is_terminated(self) -> bool:
        """Whether it arrived at a load balancer's node, which ends the connection."""
        return self.delivered and bool(self.hops) and self.hops[-1].kind == "terminate"


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the two directions part: what the way there went through and the answer did not, or the other way round.

    `there` and `back` are the hops that decided, None where a way has none.
    """

    there: Hop | None
    back: Hop | None
    sentence: str

    @property
    def sides(self) -> tuple[tuple[str, Hop], ...]:
        """The hops that decided, each with its direction: there, back."""
        return tuple((word, hop) for word, hop in (("there", self.there), ("back", self.back)) if hop is not None)


@dataclass(frozen=True, slots=True)
class Onward:
    """What a load balancer's node does for a connection that it has ended: it begins another one to a target.

    `rule` says why that target ("listener HTTP:80, rule 10 -> target group api: api-1"), `detail` how it was chosen
    among others, `path` where that stands in the file. `sees` is what the target sees of the client, a line for each
    thing. `exchange` is the first packet of the other connection and its answer; None where there is no target to ask,
    or none is needed. Of an application load balancer, `status` is that of the answer which it gives by itself, 0 where
    the client gets the target's. `sentence` says what the client gets, and `served` whether that is what was wanted.
    """

    node: str
    target_group: str  # "" for none
    target: str  # id; "" for none
    rule: str
    detail: str
    path: Path
    sees: tuple[str, ...]
    exchange: Exchange | None
    status: int
    sentence: str
    served: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """A packet and its answer. `back` is None when the packet did not arrive.

    `inspected` tells whether each of the two crossed an endpoint, `same_targets` whether both met the same appliances,
    in the opposite order. `onward` is what a load balancer's node does with a connection that it has ended; None where
    the packet went to its receiver itself. `alternatives` are the exchanges that open choices allow, each decided, this
    one first.
    """

    there: Way
    back: Way | None
    inspected: tuple[bool, bool]
    same_targets: bool
    parting: Parting | None = None
    alternatives: tuple[Exchange, ...] = ()
    onward: Onward | None = None

    @property
    def answered(self) -> bool:
        """Whether the packet arrived and its answer, too, whatever the open choices."""
        return self.there.delivered and self.back is not None and self.back.delivered

    @property
    def served(self) -> bool:
        """Whether it is answered and, where a load balancer's node ended the connection, what is asked on it, too."""
        if self.alternatives:
            return all(each.served for each in self.alternatives)
        return self.answered and (self.onward is None or self.onward.served)

    @property
    def possible(self) -> tuple[Exchange, ...]:
        """Every exchange that the open choices allow; this one alone when nothing was open."""
        return self.alternatives or (self,)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The way there, and the way back if there is one."""
        return (self.there,) if self.back is None else (self.there, self.back)
