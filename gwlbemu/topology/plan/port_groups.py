"""Security groups as nftables rules at the bridge port of an instance: stateful, for packets and for their fragments.

The kernel's connection tracking needs the IP stack, which a bridged frame does not enter. So flows are kept here: sets
of (own address, peer's address, own port, peer's port), as the instance sends, filled and asked from both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.topology.file.schema import SecurityGroup, SecurityGroupRule
from gwlbemu.topology.plan.machine_half import InstancePort, OpenRule
from gwlbemu.topology.plan.resolver import resolver_matches
from gwlbemu.topology.plan.rulesets import chain, counted_drop

_FLOWS = 100_000  # of each protocol and family; beyond it a new flow's answers are dropped, counted as `group`
# Idle timeouts in seconds. EC2 guide, "Connection tracking": TCP 350 (Nitro v6), UDP streams 180.
_SECONDS = {"tcp": 350, "udp": 180, "echo": 30, "other": 600}
BLOCKED = ("tcp", "udp", "icmp")  # protocols of which a load balancer's port counts what begins and is refused
_DATAGRAMS, _REASSEMBLY = 10_000, 30  # those of which the first fragment was let through; seconds


@dataclass(frozen=True, slots=True)
class Groups:
    """The security groups of one interface; of each group, by its name, the addresses of those in it.

    `marks` are the packet marks of the network load balancer's nodes in each group: what they send has their mark, and
    the client's address. `resolver` has the addresses of the VPC's resolver, which no group filters. With `counted`, of
    a load balancer, the port counts by protocol what begins a flow and is refused.
    """

    groups: tuple[SecurityGroup, ...]
    members: Mapping[str, tuple[str, ...]]
    marks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    resolver: tuple[str, ...] = ()
    counted: bool = False

    def ingress(self, side: str = "saddr", port: str = "dport") -> list[str]:
        """Return what the ingress rules match; `side` and `port` say where peer and port are in the packet."""
        return [
            line
            for group in self.groups
            for rule in group.ingress
            for line in _rule(rule, rule.source, self.members, side, port)
        ]

    def marked_ingress(self) -> list[str]:
        """Return what the ingress rules match of packets by which a network load balancer keeps its clients' addresses.

        Whose source is the load balancer's group means these, too (NLB guide, Security groups).
        """
        return [
            f"ip version 4 meta mark {{ {', '.join(map(str, marks))} }} {_what(rule, 'dport')}".rstrip()
            for group in self.groups
            for rule in group.ingress
            if (marks := self.marks.get(rule.source or ""))
        ]

    def egress(self) -> list[str] | None:
        """Return what the egress rules match; None: everything may leave, since one of the groups has none (AWS)."""
        if any(group.egress is None for group in self.groups):
            return None
        return [
            line
            for group in self.groups
            for rule in group.egress or ()
            for line in _rule(rule, rule.destination, self.members, "daddr", "dport")
        ]

    def open_rules(self) -> tuple[OpenRule, ...]:
        """Return what the rules of a port let in and answers to it out without looking at what was before.

        Nothing where egress is bound: then answers need a record. A rule of TCP and UDP over IPv4 for each protocol and
        network; others are not told.
        """
        if self.egress() is not None:
            return ()
        rules = [rule for group in self.groups for rule in group.ingress]
        return tuple(
            OpenRule(network, protocol, *_port_range(rule.ports))
            for rule in rules
            for protocol in ("tcp", "udp")
            if rule.protocol in (protocol, "all")
            for family, networks in _peers(rule.source, self.members)
            if family == "ip"
            for network in networks
        )


def _port_range(ports: str | None) -> tuple[int, int]:
    first, _, last = (ports or "0-65535").partition("-")
    return int(first), int(last or first)


@dataclass(frozen=True, slots=True)
class _Headers:
    """How nft finds things in packets of one family."""

    family: str
    version: int
    address_type: str
    quoted_addresses: tuple[str, str]  # source and destination of the packet that an ICMP error quotes
    errors: str
    icmp: str
    l4proto: str  # of ICMP
    later: str  # not the first fragment
    first: str  # the first fragment of several
    datagram: str  # what the fragments of one have in common
    malformed: tuple[str, ...]  # the transport header does not fit, or is overwritten by a fragment (RFC 3128)


def _lengths(least: int) -> str:
    """Header length in words and total length, for a transport header of at least so many bytes."""
    return ", ".join(f"{words} . {4 * words + least}-65535" for words in range(5, 16))


_V4 = _Headers(
    family="ip",
    version=4,
    address_type="ipv4_addr",
    quoted_addresses=("@th,160,32", "@th,192,32"),
    errors="icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    icmp="icmp",
    l4proto="icmp",
    later="ip frag-off & 0x1fff != 0",
    first="ip frag-off & 0x3fff == 0x2000",
    datagram="ip saddr . ip daddr . ip protocol . ip id",
    malformed=(
        "ip protocol tcp ip frag-off & 0x1fff == 1",
        f"ip protocol tcp ip frag-off & 0x1fff == 0 ip hdrlength . ip length != {{ {_lengths(20)} }}",
        f"ip protocol {{ udp, icmp }} ip frag-off & 0x1fff == 0 ip hdrlength . ip length != {{ {_lengths(8)} }}",
    ),
)
_V6 = _Headers(
    family="ip6",
    version=6,
    address_type="ipv6_addr",
    quoted_addresses=("@th,128,128", "@th,256,128"),
    errors="icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
    icmp="icmpv6",
    l4proto="ipv6-icmp",
    later="frag frag-off != 0",
    first="frag frag-off 0 frag more-fragments 1",
    datagram="ip6 saddr . ip6 daddr . frag id",
    malformed=(
        "frag nexthdr tcp frag frag-off 1",
        "ip6 nexthdr tcp ip6 length < 20",
        "ip6 nexthdr { udp, ipv6-icmp } ip6 length < 8",
    ),
)
_OTHERS = "meta l4proto != { tcp, udp, icmp, ipv6-icmp }"


def blocked_counter(way: str, protocol: str, device: str) -> str:
    """Return the name of the counter of what groups have refused to begin; `protocol` is of BLOCKED."""
    return f"{way}_blocked_{protocol}_{device}"


def group_chains(port: InstancePort, groups: Groups) -> Iterator[str]:
    """Yield sets and chains; `sent_groupsV_DEVICE` and `received_groupsV_DEVICE` judge a packet of IP version V."""
    for headers in (_V4, _V6):
        yield from _Family(port, headers, groups).text()


@dataclass(frozen=True, slots=True)
class _Family:
    """The rules of one port for one family."""

    port: InstancePort
    at: _Headers
    groups: Groups

    def text(self) -> Iterator[str]:
        addresses = f"{self.at.address_type} . {self.at.address_type}"
        ports = f"type {addresses} . inet_service . inet_service"
        kinds = {"tcp": ports, "udp": ports, "other": f"type {addresses} . inet_proto"}
        kinds["echo"] = f"typeof {self._flow('sent', (f'{self.at.icmp} id',))}"
        for kind, key in kinds.items():
            yield _set(self._name(kind), key, _FLOWS, _SECONDS[kind])
        for way in ("sent", "received"):
            yield _set(self._name(f"{way}_fragments"), f"typeof {self.at.datagram}", _DATAGRAMS, _REASSEMBLY)
            yield chain(self._name(f"{way}_pass"), "", [self._fragments("update", way), "accept"])
            yield chain(self._name(f"{way}_keep"), "", self._keep(way))
        yield chain(self._name("sent_groups"), "", self._sent())
        yield chain(self._name("received_groups"), "", self._received())

    def _name(self, what: str) -> str:
        return f"{what}{self.at.version}_{self.port.device}"

    def _own(self, lines: Iterable[str]) -> list[str]:
        return [line for line in lines if line.startswith(f"{self.at.family} ")]

    def _sent(self) -> Iterator[str]:
        egress = self.groups.egress()
        if egress is None:
            yield f"{self.at.later} accept"
            yield f"udp dport {GENEVE_PORT} accept"  # what answers it goes to port 6081, too: nothing is a reply to it
            # What the ingress rules let in anyway needs no record; so a server keeps none of its clients.
            yield from (f"{line} accept" for line in self._own(self.groups.ingress("daddr", "sport")))
            yield f"goto {self._name('sent_keep')}"
            return
        yield from self._judged("sent", egress, "keep")

    def _received(self) -> Iterator[str]:
        rules = self.groups.ingress() + self.groups.marked_ingress()
        yield from self._judged("received", rules, "pass" if self.groups.egress() is None else "keep")

    def _judged(self, way: str, rules: Iterable[str], then: str) -> Iterator[str]:
        drop = counted_drop(f"{way}_group", self.port.device)
        yield from (f"{each} {drop}" for each in self.at.malformed)
        yield f"{self.at.later} {self.at.datagram} @{self._name(f'{way}_fragments')} accept"
        yield from (f"{line} goto {self._name(f'{way}_{then}')}" for line in self._own(rules))
        yield from self._known(way)
        peer = ("daddr", "dport") if way == "sent" else ("saddr", "sport")
        yield from (f"{line} accept" for line in resolver_matches(self.groups.resolver, self.at.family, *peer))
        if self.groups.counted:
            yield from self._counts(way)
        yield self._fragments("delete", way)  # those of a datagram that is refused have none to follow
        yield drop

    def _counts(self, way: str) -> Iterator[str]:
        icmp = f"meta l4proto {self.at.l4proto}"
        begins = {"tcp": "tcp flags & (syn | ack) == syn", "udp": "meta l4proto udp", "icmp": icmp}
        for protocol in BLOCKED:
            yield f"{begins[protocol]} counter name {blocked_counter(way, protocol, self.port.device)}"

    def _fragments(self, what: str, way: str) -> str:
        return f"{self.at.first} {what} @{self._name(f'{way}_fragments')} {{ {self.at.datagram} }}"

    def _flow(self, way: str, last: tuple[str, ...] = ("th sport", "th dport")) -> str:
        """A packet's key in a set of flows: as the instance sends it."""
        family = self.at.family
        halves = (f"{family} saddr", f"{family} daddr"), last
        return " . ".join(part for half in halves for part in (half if way == "sent" else reversed(half)))

    def _keep(self, way: str) -> Iterator[str]:
        """Remember a packet's flow, or that it is alive."""
        for protocol in ("tcp", "udp"):
            yield f"meta l4proto {protocol} update @{self._name(protocol)} {{ {self._flow(way)} }}"
        echo = self._flow(way, (f"{self.at.icmp} id",))
        yield f"{self.at.icmp} type echo-request update @{self._name('echo')} {{ {echo} }}"
        yield f"{_OTHERS} update @{self._name('other')} {{ {self._flow(way, ('meta l4proto',))} }}"
        yield f"goto {self._name(f'{way}_pass')}"

    def _known(self, way: str) -> Iterator[str]:
        """Let through what belongs to a flow that is remembered, and errors that quote a packet of the other way."""
        keep, go_on = f"goto {self._name(f'{way}_keep')}", f"goto {self._name(f'{way}_pass')}"
        icmp, port = self.at.icmp, self.port
        for protocol in ("tcp", "udp"):
            yield f"meta l4proto {protocol} {self._flow(way)} @{self._name(protocol)} {keep}"
        yield f"{icmp} type echo-reply {self._flow(way, (f'{icmp} id',))} @{self._name('echo')} {go_on}"
        yield f"{_OTHERS} {self._flow(way, ('meta l4proto',))} @{self._name('other')} {keep}"
        if way == "sent":  # GENEVE that comes back from an appliance has the ports that it came with
            yield f"udp dport {GENEVE_PORT} {self._flow(way, ('th dport', 'th sport'))} @{self._name('udp')} {go_on}"
        # That the quoted packet is the instance's own has to do. nft 1.0.6 cannot look for its addresses and ports in a
        # set of flows (raw fields have no type in a concatenation), and what `_sent` lets out without a record, whose
        # errors have to come in, stands in none.
        own = port.address if self.at.version == 4 else port.ipv6_address
        quotes = self.at.quoted_addresses[way == "sent"]
        if not port.source_dest_check:
            yield f"{self.at.errors} {go_on}"
        elif own:
            yield f"{self.at.errors} {quotes} {int(IPAddress(own)):#x} {go_on}"


def _set(name: str, key: str, size: int, seconds: int) -> str:
    return f"  set {name} {{ {key}; flags dynamic,timeout; size {size}; timeout {seconds}s; }}\n"


def _rule(
    rule: SecurityGroupRule, peer: str | None, members: Mapping[str, tuple[str, ...]], side: str, port: str
) -> list[str]:
    return [
        f"{family} {side} {{ {', '.join(networks)} }} {_what(rule, port)}".rstrip()
        for family, networks in _peers(peer, members)
    ]


def _what(rule: SecurityGroupRule, port: str) -> str:
    ports = f"{rule.protocol} {port} {rule.ports}" if rule.ports else ""
    protocol = {"all": "", "icmp": "meta l4proto icmp", "icmpv6": "meta l4proto ipv6-icmp"}.get(
        rule.protocol, f"meta l4proto {rule.protocol}"
    )
    return f"{protocol} {ports}".strip()


def _peers(peer: str | None, members: Mapping[str, tuple[str, ...]]) -> list[tuple[str, list[str]]]:
    addresses = list(members.get(peer or "", ())) if peer in members else [peer or "0.0.0.0/0"]
    split: dict[str, list[str]] = {}
    for address in addresses:
        split.setdefault("ip6" if IPNetwork(address).version == 6 else "ip", []).append(address)
    return list(split.items())
