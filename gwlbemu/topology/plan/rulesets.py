"""nftables rulesets of the plan, as text for `nft -f -` (nftables 1.0.6: every statement on a line of its own)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.topology.file.schema import SecurityGroup, SecurityGroupRule
from gwlbemu.topology.plan.values import AddressRewrite

_QUOTED_CHECKSUM, _QUOTED_SOURCE, _QUOTED_DESTINATION = 8 + 10, 8 + 12, 8 + 16  # in the IPv4 header behind ICMP's own

ANYWHERE = "0.0.0.0/0"  # the peer of a security group's rule that names none


def fabric_keeps_ttl() -> str:
    """Return the rules by which a subnet leaves the TTL of the GENEVE tunnel as it was.

    A VPC's fabric does not count hops on AWS; a router here does. The outer TTL is 255 on the wire (contract GV-02),
    and an appliance may answer with TTL 2 (gwlbtun does). Other packets lose one hop per subnet that they are routed
    through: nftables cannot add one to a TTL.
    """
    return _table(
        "ip fabric",
        _chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            [f"udp dport {GENEVE_PORT} ip ttl set 64"],
        ),
        _chain(
            "postrouting",
            "filter hook postrouting priority 300; policy accept;",
            [f"udp dport {GENEVE_PORT} ip ttl set 255"],
        ),
    )


def internet_gateway(public: Mapping[str, str]) -> str:
    """Stateless one-to-one translation; `public` maps private to public addresses. IPv6 passes untouched.

    The packet that an ICMP error quotes is translated too, by the rules of `quoted_addresses` in its chains.
    """
    if not public:
        return _table(
            "ip gateway",
            _chain("forward", "filter hook forward priority 0; policy accept;", ['oifname "internet" drop']),
        )
    private = ", ".join(public)
    inward = ", ".join(f"{there} : {here}" for here, there in public.items())
    outward = ", ".join(f"{here} : {there}" for here, there in public.items())
    quoted = [rewrite.chain for rewrite in quoted_addresses(public)]
    return _table(
        "ip gateway",
        *(_chain(name, "", []) for name in quoted),
        _chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            [
                f'iifname "internet" ip daddr set ip daddr map {{ {inward} }}',
                f'iifname "internet" {_quotes("in", _QUOTED_SOURCE, public.values())}',
            ],
        ),
        _chain(
            "forward",
            "filter hook forward priority 0; policy accept;",
            [f'oifname "internet" ip saddr != {{ {private} }} drop'],
        ),
        _chain(
            "postrouting",
            "filter hook postrouting priority 300; policy accept;",
            [
                f'oifname "internet" ip saddr set ip saddr map {{ {outward} }}',
                f'oifname "internet" {_quotes("out", _QUOTED_DESTINATION, public)}',
            ],
        ),
    )


def quoted_addresses(public: Mapping[str, str]) -> tuple[AddressRewrite, ...]:
    """What an internet gateway's chains for quoted packets do.

    RFC 5508 section 4.2: a translator translates the packet inside an ICMP error as well, or its receiver does not know
    it. Of the checksums only the quoted header's own must be mended: with it the header sums up to what it was, so the
    ICMP checksum over it stays right. A quoted TCP or UDP checksum stays as it is; who reads an error does not look.
    """
    rows = (
        row
        for here, there in public.items()
        for row in (("in", there, _QUOTED_SOURCE, here), ("out", here, _QUOTED_DESTINATION, there))
    )
    return tuple(
        AddressRewrite("gateway", _quote_chain(way, seen), offset, address, _QUOTED_CHECKSUM)
        for way, seen, offset, address in rows
    )


def _quotes(way: str, offset: int, addresses: Iterable[str]) -> str:
    """A rule that sends an ICMP error with one of the addresses at `offset` of its quoted packet to its chain."""
    jumps = ", ".join(f"{int(IPAddress(seen)):#x} : jump {_quote_chain(way, seen)}" for seen in addresses)
    errors = "{ destination-unreachable, time-exceeded, parameter-problem }"
    return f"icmp type {errors} @th,{offset * 8},32 vmap {{ {jumps} }}"


def _quote_chain(way: str, address: str) -> str:
    return f"quoted_{way}_{address}"


def nat_gateway(address: str) -> str:
    """Return the rules of a NAT gateway with this address.

    What is forwarded leaves with the gateway's own address; answers come back by connection tracking. What belongs to
    no connection is for the gateway itself, and that answers nothing: neither a ping nor a SYN.
    """
    return _table(
        "ip nat",
        _chain("input", "filter hook input priority 0; policy drop;", []),
        _chain(
            "postrouting",
            "nat hook postrouting priority 100; policy accept;",
            [f'oifname "eth0" ip saddr != {address} snat to {address}'],
        ),
    )


def transit_gateway(buckets: int, mtu: int) -> str:
    """Mark each packet with its bucket (from 1) of a hash that both directions of a flow share; clamp the MSS.

    Transit Gateway quotas: MSS clamping is applied to all packets (40 bytes of IPv4 and TCP header, 60 with IPv6).
    """
    lines = [f"meta mark set symhash mod {buckets} offset 1"] if buckets > 1 else []
    lines.append(f"meta nfproto ipv4 tcp flags & syn == syn tcp option maxseg size set {mtu - 40}")
    lines.append(f"meta nfproto ipv6 tcp flags & syn == syn tcp option maxseg size set {mtu - 60}")
    return _table(
        "inet transit_gateway",
        _chain("prerouting", "filter hook prerouting priority -150; policy accept;", lines),
    )


def node() -> str:
    """Return the rules of a load balancer's node.

    Its process reads packets before the kernel does: the kernel shall not answer any of them as well.
    """
    return _table(
        "inet node",
        _chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            ['iifname != { "lo", "eni" } drop', "meta l4proto udp drop"],
        ),
    )


def source_destination_check(address: str, ipv6_address: str) -> str:
    """Return the rules of an interface that takes and sends only packets with its own address (contract EP-09).

    `ipv6_address` is "" for none.
    """
    there = [f'iifname "eth0" ip daddr != {{ {address}, 224.0.0.0/4, 255.255.255.255 }} drop']
    back = [f'oifname "eth0" ip saddr != {address} drop']
    own = f"{ipv6_address}, " if ipv6_address else ""
    there.append(f'iifname "eth0" ip6 daddr != {{ {own}fe80::/10, ff00::/8 }} drop')
    back.append(f'oifname "eth0" ip6 saddr != {{ {own}fe80::/10, :: }} drop')
    return _table(
        "inet source_destination_check",
        _chain("prerouting", "filter hook prerouting priority -300; policy accept;", there),
        _chain("postrouting", "filter hook postrouting priority 300; policy accept;", back),
    )


def security_groups(groups: Iterable[SecurityGroup], members: Mapping[str, tuple[str, ...]]) -> str:
    """The groups of one instance: stateful, what no rule allows is dropped.

    `members` maps a group's name to the addresses of its instances, for rules that name a group as source.
    """
    groups = tuple(groups)
    ingress = [
        line for group in groups for rule in group.ingress for line in _rule(rule, rule.source, "saddr", members)
    ]
    egress = ["accept"]
    if all(group.egress is not None for group in groups):
        egress = [
            line
            for group in groups
            for rule in group.egress or ()
            for line in _rule(rule, rule.destination, "daddr", members)
        ]
    tracked = ["ct state established,related accept"]
    return _table(
        "inet security_groups",
        _chain("allowed_in", "", [*ingress, "drop"]),
        _chain("allowed_out", "", [*egress, "drop"] if egress != ["accept"] else egress),
        _chain(
            "input", "filter hook input priority 0; policy drop;", ['iifname "lo" accept', *tracked, "jump allowed_in"]
        ),
        _chain(
            "output",
            "filter hook output priority 0; policy drop;",
            ['oifname "lo" accept', *tracked, "jump allowed_out"],
        ),
        _chain("forward", "filter hook forward priority 0; policy accept;", [*tracked, "jump allowed_in"]),
    )


def security_groups_at_port(
    device: str, groups: Iterable[SecurityGroup], members: Mapping[str, tuple[str, ...]]
) -> str:
    """The part of an instance's groups that one packet tells, at the bridge port `device` that leads to the instance.

    Who reads raw packets inside the instance, as an appliance does, sees them before `security_groups` there. So what
    no ingress rule allows and what cannot be a reply is dropped before: GENEVE (what answers it goes to port 6081 too,
    so nothing that comes there is a reply), TCP connections that begin, echo requests. Kernel 5.16 (netdev egress).
    """
    lines = [line for group in groups for rule in group.ingress for line in _rule(rule, rule.source, "saddr", members)]
    lines += [
        f"udp dport {GENEVE_PORT} drop",
        "tcp flags & (syn | ack) == syn drop",
        "icmp type echo-request drop",
        "icmpv6 type echo-request drop",
    ]
    hook = f'filter hook egress device "{device}" priority 0; policy accept;'
    return _table("netdev security_groups", _chain(f"to_{device}", hook, lines))


def _rule(rule: SecurityGroupRule, peer: str | None, side: str, members: Mapping[str, tuple[str, ...]]) -> list[str]:
    ports = f" {rule.protocol} dport {rule.ports}" if rule.ports else ""
    what = {"all": "", "icmp": "meta l4proto icmp ", "icmpv6": "meta l4proto ipv6-icmp "}.get(
        rule.protocol, f"meta l4proto {rule.protocol} "
    )
    lines = []
    for family, networks in _peers(peer, members):
        where = f"{family} {side} {{ {', '.join(networks)} }}"
        lines.append(" ".join(f"{where} {what}{ports} accept".split()))
    return lines


def _peers(peer: str | None, members: Mapping[str, tuple[str, ...]]) -> list[tuple[str, list[str]]]:
    addresses = list(members.get(peer or "", ())) if peer in members else [peer or ANYWHERE]
    split: dict[str, list[str]] = {}
    for address in addresses:
        split.setdefault("ip6" if IPNetwork(address).version == 6 else "ip", []).append(address)
    return list(split.items())


def _table(name: str, *chains: str) -> str:
    return f"table {name} {{\n{''.join(chains)}}}\n"


def _chain(name: str, hook: str, lines: Iterable[str]) -> str:
    head = f"    type {hook}\n" if hook else ""
    return f"  chain {name} {{\n{head}{''.join(f'    {line}{chr(10)}' for line in lines)}  }}\n"
