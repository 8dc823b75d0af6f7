"""The text of the nftables tables of a node: what the core says it shall hold, in nft's language.

    timeouts     a new connection to a listener gets the listener's idle timeout (after conntrack's hook: before it,
                 the kernel ignores that silently)
    refuse       TCP of no connection is answered by a reset, to a listener and from a target
    pick         a new connection gets the mark of its target, and the target's address
    marks        a packet to a target with its client's address kept leaves by the table of FABRIC_MARK
    postrouting  without: the node's own address and one of about 55,000 ports for each target
    forward      what was translated passes, and is counted; no ICMP but type 3 (NLB guide, Listeners)
    input        answers to the node's own probes, and the ports that a proxy in the node listens at; everything else is
                 met by silence
    proxy_...    where a proxy keeps its client's address: what it sends to the target leaves by the table of
                 FABRIC_MARK, the answers on the fabric are delivered to its socket by that of LOCAL_MARK

A node with an IPv6 address has a second table of that name. All TCP over IPv6 is its proxy's: it translates nothing,
forwards nothing, and answers as the first one does.

A table is written over itself, so that objects which connections hold (timeouts) and which count stay. The maps are
anonymous: nft 1.0.6 cannot list a named one by jhash.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from gwlbemu.core.network.tables import (
    NODE_PORTS,
    NUMBER_MASK,
    PRESERVED,
    SLOTS,
    Chooser,
    GroupTable,
    ListenerTable,
    Tables,
)
from gwlbemu.wire.protocols import TCP, name

TABLE = "nlb"
FABRIC_MARK = 0x100  # of packets: to a target, by the VPC's fabric
LOCAL_MARK = 0x200  # of packets: for a socket here that has another's address
NEW, TO_TARGETS, FROM_TARGETS = "new", "to", "from"  # begin the names of counters: new_tcp, to_tcp, to_7
RESETS_BY_CLIENT, RESETS_BY_TARGET, RESETS_BY_NODE = "client_resets", "target_resets", "node_resets"
_FIXED = (
    *(f"{what}_{protocol}" for what in (NEW, TO_TARGETS, FROM_TARGETS) for protocol in ("tcp", "udp")),
    RESETS_BY_CLIENT, RESETS_BY_TARGET, RESETS_BY_NODE,
)  # fmt: skip

_RESET = f'counter name "{RESETS_BY_NODE}" reject with tcp reset'
_FORWARD = [
    "ct status & dnat == 0 drop",
    "icmp type != destination-unreachable drop",
    f"ct direction reply goto {FROM_TARGETS}_targets",
    f"goto {TO_TARGETS}_targets",
]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The text of the table for IPv4, the names in it that may become superfluous (of `chains` and of `counters`), and
    the text of the one for IPv6, "" for none.
    """

    text: str
    chains: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()
    ipv6: str = ""

    @property
    def families(self) -> tuple[str, ...]:
        """The families that have a table, in nft's words."""
        return ("ip", "ip6") if self.ipv6 else ("ip",)

    def over(self, before: Ruleset) -> str:
        """Return the commands that make it of `before`, in one transaction."""
        lines = [f"{what} table {family} {TABLE}" for family in self.families for what in ("add", "flush")]
        lines += [f"delete chain ip {TABLE} {each}" for each in sorted(before.chains - self.chains)]
        lines += [f"delete counter ip {TABLE} {each}" for each in sorted(before.counters - self.counters)]
        return "\n".join((*lines, self.text, self.ipv6))

    def anew(self) -> str:
        """Return the commands that make it of whatever is there."""
        lines = [f"{what} table {family} {TABLE}" for family in self.families for what in ("add", "delete", "add")]
        return "\n".join((*lines, self.text, self.ipv6))


def ruleset(tables: Tables) -> Ruleset:
    """Return the tables that a node with these tables has."""
    numbers = sorted({each.mark & NUMBER_MASK for each in tables.known})
    counters = [*_FIXED, *(f"{way}_{number}" for number in numbers for way in (TO_TARGETS, FROM_TARGETS))]
    idle = sorted({(each.protocol, each.idle_seconds) for each in tables.listeners})
    chains = {chain: rules for listener in tables.listeners for chain, rules in _chains(tables, listener)}
    lines = [
        *(f"add counter ip {TABLE} {each}" for each in counters),
        *(_timeout(protocol, seconds) for protocol, seconds in idle),
        f"table ip {TABLE} {{",
        # A chain may be named before its rules come, but not before the chain.
        *(f"chain {chain} {{ }}" for chain in chains),
        *(_chain(chain, "", rules) for chain, rules in chains.items()),
        _chain("timeouts", "filter hook prerouting priority -160", _timeouts(tables)),
        _chain("refuse", "filter hook prerouting priority -150", _refuse(tables)),
        _chain("pick", "nat hook prerouting priority -100", _pick(tables)),
        _chain("marks", "filter hook prerouting priority -90", _marks()),
        _chain("postrouting", "nat hook postrouting priority 100", _postrouting(tables)),
        *(_chain(chain, "", rules) for chain, rules in _ways(tables)),
        _chain("forward", "filter hook forward priority 0; policy drop", _FORWARD),
        _chain(
            "input",
            "filter hook input priority 0; policy drop",
            ['iifname "lo" accept', "ct state established,related accept", *_to_proxy(tables)],
        ),
        *_proxy(tables),
        "}",
    ]
    optional = ("proxy_received", "proxy_sent") if tables.proxied else ()
    return Ruleset("\n".join(lines), frozenset((*chains, *optional)), frozenset(counters), _ipv6(tables))


def _ipv6(tables: Tables) -> str:
    if not tables.ipv6_address:
        return ""
    rules = ['iifname "lo" accept', "ct state established,related accept"]
    if tables.proxied_ipv6:
        ports = ", ".join(map(str, sorted(tables.proxied_ipv6)))
        to_proxy = f"ip6 daddr {_text(tables.ipv6_address)} tcp dport {{ {ports} }}"
        rules.append(f"ct state new {to_proxy} accept")
        rules.append(f"tcp flags & rst == 0 {to_proxy} {_RESET}")
    return "\n".join(
        (
            f"add counter ip6 {TABLE} {RESETS_BY_NODE}",
            f"table ip6 {TABLE} {{",
            _chain("forward", "filter hook forward priority 0; policy drop", []),
            _chain("input", "filter hook input priority 0; policy drop", rules),
            "}",
        )
    )


def _chain(chain: str, hook: str, rules: list[str]) -> str:
    return "\n".join((f"chain {chain} {{", *((f"type {hook}",) if hook else ()), *rules, "}"))


def _timeout(protocol: int, seconds: int) -> str:
    states = ("established", "close_wait", "unack", "retrans") if protocol == TCP else ("unreplied", "replied")
    policy = ", ".join(f"{state} : {seconds}" for state in states)
    fields = f"protocol {name(protocol)} ; l3proto ip ; policy = {{ {policy} }} ;"
    return f"add ct timeout ip {TABLE} {_timeout_name(protocol, seconds)} {{ {fields} }}"


def _timeout_name(protocol: int, seconds: int) -> str:
    return f"{name(protocol)}_{seconds}"


def _to_listener(tables: Tables, listener: ListenerTable) -> str:
    return f"ip daddr {_text(tables.address)} {name(listener.protocol)} dport {listener.port}"


def _timeouts(tables: Tables) -> list[str]:
    return [
        f'ct state new {_to_listener(tables, each)} ct timeout set "{_timeout_name(each.protocol, each.idle_seconds)}"'
        for each in tables.listeners
    ]


def _refuse(tables: Tables) -> list[str]:
    late = "tcp flags & rst == 0"
    ports = sorted({each.port for each in tables.listeners if each.protocol == TCP} | {*tables.proxied})
    sockets = sorted({f"{_text(each.address)} . {each.port}" for each in tables.known})
    to_node = f"{late} ip daddr {_text(tables.address)}"
    rules = ["ct state != invalid return"]
    if ports:
        rules.append(f"{to_node} tcp dport {{ {', '.join(map(str, ports))} }} {_RESET}")
    if sockets:
        rules.append(f"{to_node} ip saddr . tcp sport {{ {', '.join(sockets)} }} {_RESET}")
    # From a target whose client's address is kept: to the client.
    return [*rules, f"{late} ip daddr != {_text(tables.address)} meta mark set {FABRIC_MARK:#x} {_RESET}"]


def _pick(tables: Tables) -> list[str]:
    return [
        f'{_to_listener(tables, each)} counter name "{NEW}_{name(each.protocol)}" jump {_listener_chain(each)}'
        for each in tables.listeners
    ]


def _chains(tables: Tables, listener: ListenerTable) -> Iterator[tuple[str, list[str]]]:
    """Yield the chains of a listener's groups and of the listener, each with its rules."""
    protocol = listener.protocol
    used = dict.fromkeys(listener.chooser.slots)
    for number in used:
        yield _group_chain(number, protocol), _group(tables.groups[number], protocol)
    if len(used) > 1:
        ways = ", ".join(
            f"{slots} : jump {_group_chain(number, protocol)}" for slots, number in _runs(listener.chooser)
        )
        rules = [f"{_hash(listener.chooser, protocol)} vmap {{ {ways} }}"]
    else:
        rules = [f"jump {_group_chain(number, protocol)}" for number in used]
    yield _listener_chain(listener), rules


def _listener_chain(listener: ListenerTable) -> str:
    return f"listener_{name(listener.protocol)}_{listener.port}"


def _group_chain(number: int, protocol: int) -> str:
    return f"group_{number}_{name(protocol)}"


def _group(group: GroupTable, protocol: int) -> list[str]:
    if not group.chooser.slots:
        return ["drop"]
    slots = ", ".join(f"{slot} : {mark:#x}" for slot, mark in enumerate(group.chooser.slots))
    places = ", ".join(f"{each.mark:#x} : {_text(each.address)} . {each.port}" for each in group.destinations)
    return [
        f"ct mark set {_hash(group.chooser, protocol)} map {{ {slots} }}",
        f"meta l4proto {name(protocol)} dnat ip to ct mark map {{ {places} }}",
    ]


def _hash(chooser: Chooser, protocol: int) -> str:
    """What `core.network.tables.Connection.key` is, in nft's words."""
    ports = name(protocol)
    key = "ip saddr" if chooser.sticky else f"ip saddr . {ports} sport . ip daddr . {ports} dport"
    if protocol == TCP and not chooser.sticky:
        key += " . tcp sequence"
    return f"jhash {key} mod {SLOTS} seed {chooser.seed:#x}"


def _runs(chooser: Chooser) -> Iterator[tuple[str, int]]:
    """Yield each run of slots of one number as an interval."""
    first = 0
    for slot, number in enumerate(chooser.slots):
        if slot + 1 == len(chooser.slots) or chooser.slots[slot + 1] != number:
            yield (f"{first}-{slot}" if slot > first else str(slot)), number
            first = slot + 1


def _marks() -> list[str]:
    return [f"ct direction original ct mark & {PRESERVED:#x} != 0 meta mark set {FABRIC_MARK:#x}"]


def _postrouting(tables: Tables) -> list[str]:
    source = f"{_text(tables.address)}:{NODE_PORTS[0]}-{NODE_PORTS[-1]}"
    return [f"ct status dnat ct mark & {PRESERVED:#x} == 0 meta l4proto {{ tcp, udp }} snat to {source}"]


def _ways(tables: Tables) -> Iterator[tuple[str, list[str]]]:
    """Yield the chains that count what passes to targets and from them."""
    for way, resets in ((TO_TARGETS, RESETS_BY_CLIENT), (FROM_TARGETS, RESETS_BY_TARGET)):
        counters = ", ".join(f'{each.mark:#x} : "{way}_{each.mark & NUMBER_MASK}"' for each in tables.known)
        by_target = [f"counter name ct mark map {{ {counters} }}"] if counters else []
        tcp = f"{way}_targets_tcp"
        yield tcp, [f'counter name "{way}_tcp"', f'tcp flags & rst != 0 counter name "{resets}"', "accept"]
        yield (
            f"{way}_targets",
            [*by_target, f"meta l4proto tcp goto {tcp}", f'meta l4proto udp counter name "{way}_udp"', "accept"],
        )


def _to_proxy(tables: Tables) -> list[str]:
    ports = ", ".join(map(str, sorted(tables.proxied)))
    return [f"ct state new ip daddr {_text(tables.address)} tcp dport {{ {ports} }} accept"] if ports else []


def _proxy(tables: Tables) -> list[str]:
    if not tables.proxied:
        return []
    to_socket = f'iifname "fabric" meta l4proto tcp socket transparent 1 meta mark set {LOCAL_MARK:#x}'
    as_client = f'oifname != "lo" meta l4proto tcp ip saddr != {_text(tables.address)} meta mark set {FABRIC_MARK:#x}'
    return [
        _chain("proxy_received", "filter hook prerouting priority -80", [to_socket]),
        _chain("proxy_sent", "route hook output priority -150", [as_client]),
    ]


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
