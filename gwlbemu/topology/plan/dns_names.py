"""The names of a lab in DNS, and the addresses that each stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.topology import names
from gwlbemu.topology.plan.values import Instance, LoadBalancer, Plan


def instance_names(instances: Iterable[Instance]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the names of instances: the name, the VPC in which it is answered ("": wherever no other is), addresses.

    The private name of an instance is answered in its own VPC. The public one, of an instance on the internet or with a
    public address, is answered everywhere, inside its own VPC with the private address (VPC guide, DNS hostnames).
    """
    for one in instances:
        own = tuple(address for address in (one.address, one.ipv6_address) if address)
        if one.vpc:
            yield names.private_dns_name(one.name, one.vpc), one.vpc, own
            if one.public_address:
                ipv6 = (one.ipv6_address,) if one.ipv6_address else ()
                yield names.public_dns_name(one.name), one.vpc, own
                yield names.public_dns_name(one.name), "", (one.public_address, *ipv6)
        else:
            yield names.public_dns_name(one.name), "", own


def balancer_addresses(plan: Plan, load_balancer: str) -> dict[str, tuple[str, ...]]:
    """Return the addresses that the name of a load balancer has, by zone: the public ones of one that faces the
    internet, whoever asks.
    """
    return {
        node.zone: tuple(each for each in (node.public_address or node.address, node.ipv6_address) if each)
        for node in plan.addressed_nodes
        if node.load_balancer == load_balancer
    }


def resource_named(plan: Plan, name: str) -> str:
    """Return what a DNS name stands for: the name of a load balancer, of its node for a zonal name, or of an instance;
    any other text as it is.
    """
    known = {each: each for each in (one.name for one in plan.instances)}
    for one in plan.instances:
        if one.vpc:
            known.setdefault(names.private_dns_name(one.name, one.vpc), one.name)
        if not one.vpc or one.public_address:
            known.setdefault(names.public_dns_name(one.name), one.name)
    for balancer in plan.load_balancers:
        if regional := dns_name(balancer):
            known.setdefault(regional, balancer.name)
            for zone in balancer.zones:
                known.setdefault(f"{zone}.{regional}".lower(), names.node(balancer.name, zone))
    return known.get(name, known.get(name.lower().rstrip("."), name))


def dns_name(balancer: LoadBalancer) -> str:
    """Return the DNS name of a load balancer (DNSName in the ELBv2 API); "" for a gateway load balancer's, which AWS
    gives none.
    """
    return "" if balancer.type == GATEWAY else names.load_balancer_dns_name(balancer.name)
