"""nftables rulesets of the plan, as text for `nft -f -` (nftables 1.0.6: every statement on a line of its own)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netaddr import IPAddress

from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.topology.plan.machine_half import AddressRewrite

_QUOTED_CHECKSUM, _QUOTED_SOURCE, _QUOTED_DESTINATION = 8 + 10, 8 + 12, 8 + 16  # in the IPv4 header behind ICMP's own

ANYWHERE = "0.0.0.0/0"  # the peer of a security group's rule that names none


def fabric_keeps_ttl() -> str:
    """Return the rules by which a subnet leaves the TTL of the GENEVE tunnel as it was.

    A VPC's fabric does not count hops on AWS; a router here does. The outer TTL is 255 on the wire (contract GV-02),
    and an appliance may answer with TTL 2 (gwlbtun does). Other packets lose one hop per subnet that they are routed
    through: nftables cannot add one to a TTL.
    """
    return table(
        "ip fabric",
        chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            [f"udp dport {GENEVE_PORT} ip ttl set 64"],
        ),
        chain(
            "postrouting",
            "filter hook postrouting priority 300; policy accept;",
            [f"udp dport {GENEVE_PORT} ip ttl set 255"],
        ),
    )


def router() -> str:
    """Return the rules by which a router answers no packet that it cannot deliver.

    AWS documents no answer of a VPC's router to a packet without a route, and of a transit gateway that it drops it;
    Linux would send ICMP errors from addresses that no VPC has. That a packet is too big is still said, and that its
    TTL is over.
    """
    return table(
        "inet router",
        chain(
            "output",
            "filter hook output priority 0; policy accept;",
            [
                "icmp type destination-unreachable icmp code { net-unreachable, host-unreachable } drop",
                "icmpv6 type destination-unreachable icmpv6 code { no-route, addr-unreachable } drop",
            ],
        ),
    )


def internet_gateway(public: Mapping[str, str], ipv6_cidr: str | None, unreachable: Iterable[str] = ()) -> str:
    """Stateless one-to-one translation; `public` maps private to public addresses. IPv6 passes untouched, but for what
    is for the `unreachable` addresses, which is dropped.

    Whatever comes from the VPC with another source than those of `public`, or than `ipv6_cidr` has, is dropped before
    anything could answer it. The packet that an ICMP error quotes is translated too, by the rules of `quoted_addresses`
    in its chains.
    """
    rules = [f'iifname "fabric" ip6 saddr != {ipv6_cidr} drop' if ipv6_cidr else 'iifname "fabric" drop']
    if denied := ", ".join(unreachable):
        rules.append(f'iifname "internet" ip6 daddr {{ {denied} }} drop')
    return _ipv4_gateway(public) + table(
        "ip6 gateway", chain("prerouting", "filter hook prerouting priority -300; policy accept;", rules)
    )


def _ipv4_gateway(public: Mapping[str, str]) -> str:
    if not public:
        return table(
            "ip gateway",
            chain("prerouting", "filter hook prerouting priority -300; policy accept;", ['iifname "fabric" drop']),
            chain("forward", "filter hook forward priority 0; policy accept;", ['oifname "internet" drop']),
        )
    private = ", ".join(public)
    inward = ", ".join(f"{there} : {here}" for here, there in public.items())
    outward = ", ".join(f"{here} : {there}" for here, there in public.items())
    quoted = [rewrite.chain for rewrite in quoted_addresses(public)]
    return table(
        "ip gateway",
        *(chain(name, "", []) for name in quoted),
        chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            [
                f'iifname "fabric" ip saddr != {{ {private} }} drop',
                f'iifname "internet" ip daddr set ip daddr map {{ {inward} }}',
                f'iifname "internet" {_quotes("in", _QUOTED_SOURCE, public.values())}',
            ],
        ),
        chain(
            "forward",
            "filter hook forward priority 0; policy accept;",
            [f'oifname "internet" ip saddr != {{ {private} }} drop'],
        ),
        chain(
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
    no connection is for the gateway itself, and that answers nothing: neither a ping nor a SYN. NAT gateways guide:
    only TCP, UDP and ICMP.
    """
    return router() + table(
        "ip nat",
        chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            ["ip protocol != { tcp, udp, icmp } drop"],
        ),
        chain("input", "filter hook input priority 0; policy drop;", []),
        chain(
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
    return router() + table(
        "inet transit_gateway",
        chain("prerouting", "filter hook prerouting priority -150; policy accept;", lines),
    )


def node() -> str:
    """Return the rules of a load balancer's node.

    Its process reads packets before the kernel does: the kernel shall not answer any of them as well.
    """
    return table(
        "inet node",
        chain(
            "prerouting",
            "filter hook prerouting priority -300; policy accept;",
            ['iifname != { "lo", "eni" } drop', "meta l4proto udp drop"],
        ),
    )


def application_node(ports: Iterable[int]) -> str:
    """Return the rules of an application load balancer's node, which has listeners at these TCP ports.

    What is for another port is met by silence, as at a network load balancer: AWS says nothing about it. Without
    connection tracking, which each request would pay for: of TCP what opens a connection is dropped, and whatever the
    kernel would say about a datagram.
    """
    wanted = ", ".join(map(str, sorted(set(ports))))
    return table(
        "inet node",
        chain(
            "input",
            "filter hook input priority 0; policy accept;",
            [f'iifname "eni" tcp flags & (syn | ack) == syn tcp dport != {{ {wanted} }} drop'],
        ),
        chain(
            "output",
            "filter hook output priority 0; policy accept;",
            ["icmp type destination-unreachable drop", "icmpv6 type destination-unreachable drop"],
        ),
    )


def table(name: str, *chains: str) -> str:
    """Return a table of that family and name; `chains` are the texts of its chains, sets and counters."""
    return f"table {name} {{\n{''.join(chains)}}}\n"


def chain(name: str, hook: str, lines: Iterable[str]) -> str:
    """Return a chain, a base chain where `hook` says of what type."""
    head = f"    type {hook}\n" if hook else ""
    return f"  chain {name} {{\n{head}{''.join(f'    {line}{chr(10)}' for line in lines)}  }}\n"


def counted_drop(counter: str, device: str) -> str:
    """Return the statements that count a packet by a port's named counter and drop it."""
    return f"counter name {counter}_{device} drop"
