"""The resolver: at which addresses every subnet's router has it, and what it is asked there.

VPC guide, DNS attributes for your VPC, and Amazon DNS server: it is at the base of the VPC's network plus two, at
169.254.169.253 and fd00:ec2::253; it needs no route, no security group filters it, and nobody outside the VPC reaches
it. So it stands in each subnet's router, before any route table. On the internet it is at the latter two alone, since
AWS has none there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import Subnet, Topology, Vpc
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import INTERNET, Layout
from gwlbemu.topology.plan.machine_half import Neighbour
from gwlbemu.topology.plan.rulesets import chain, table

ADDRESS, IPV6_ADDRESS = "169.254.169.253", "fd00:ec2::253"
DNS_PORT = 53


def resolver_addresses(vpc: Vpc | None, *, ipv6: bool) -> tuple[str, ...]:
    """Return where the resolver is for clients in a VPC, or on the internet (None); the usual one first."""
    own = (str(IPNetwork(vpc.cidr)[2]),) if vpc else ()
    return (*own, ADDRESS, *((IPV6_ADDRESS,) if ipv6 else ()))


def with_full_length(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return addresses with prefix lengths, each a network of its own."""
    return tuple(f"{address}/{128 if ':' in address else 32}" for address in addresses)


def resolver_neighbour(vpc: Vpc, subnet: Subnet, device: str = "eth0") -> tuple[Neighbour, ...]:
    """Return what an instance or a node has to know where the VPC's base plus two lies in its subnet: who that is."""
    address = resolver_addresses(vpc, ipv6=False)[0]
    inside = address in IPNetwork(subnet.cidr)
    return (Neighbour(device, address, names.mac(subnet.name, "subnet")),) if inside else ()


def resolver_rules(addresses: Iterable[str], device: str) -> str:
    """Return the rules of a router: at these addresses it takes questions by `device`, and nothing else."""
    families = {"ip": [each for each in addresses if "." in each], "ip6": [each for each in addresses if ":" in each]}
    return table(
        "inet resolver",
        chain("asked", "", [f'iifname "{device}" meta l4proto {{ tcp, udp }} th dport {DNS_PORT} accept', "drop"]),
        chain(
            "input",
            "filter hook input priority 0; policy accept;",
            [f"{family} daddr {{ {', '.join(own)} }} jump asked" for family, own in families.items() if own],
        ),
    )


def resolver_matches(addresses: Iterable[str], family: str, side: str, port: str) -> Iterator[str]:
    """Yield what matches questions (side daddr, port dport) or answers (saddr, sport) of a family, ip or ip6."""
    own = [each for each in addresses if (":" in each) == (family == "ip6")]
    if own:
        yield f"meta l4proto {{ tcp, udp }} th {port} {DNS_PORT} {family} {side} {{ {', '.join(own)} }}"


def resolver_places(topology: Topology, layout: Layout) -> tuple[plan.ResolverPlace, ...]:
    """Return where clients ask: every subnet, then the internet."""
    found = [
        plan.ResolverPlace(
            namespace=layout.namespace(subnet.name),
            device="subnet",
            addresses=resolver_addresses(vpc, ipv6=bool(subnet.ipv6_cidr)),
            vpc=vpc.name,
            subnet=subnet.name,
            zone=subnet.zone,
        )
        for vpc in topology.vpcs
        for subnet in vpc.subnets
    ]
    if topology.internet:
        addresses = resolver_addresses(None, ipv6=bool(topology.internet.ipv6_cidr))
        found.append(plan.ResolverPlace(layout.namespace(INTERNET), INTERNET, addresses, "", INTERNET, ""))
    return tuple(found)
