"""Checks of security groups and programs."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import AddrFormatError, IPNetwork

from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import SecurityGroupRule, Topology, Vpc


def instance_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with security groups and their rules, and endpoints that a firewall's rules do not find."""
    endpoints = {name for vpc in topology.vpcs for e in vpc.endpoints for name in (e.name, e.id) if name}
    for index, vpc in enumerate(topology.vpcs):
        yield from _groups(vpc, ("vpcs", index))
        for number, instance in enumerate(vpc.instances):
            here: Path = ("vpcs", index, "instances", number)
            for place, group in enumerate(instance.security_groups):
                if group not in {one.name for one in vpc.security_groups}:
                    yield Problem((*here, "security_groups", place), f"VPC {vpc.name} has no security group {group}")
            firewall = instance.program.firewall if instance.program else None
            for place, rule in enumerate(firewall.rules if firewall else ()):
                if rule.endpoint and rule.endpoint not in endpoints:
                    there = (*here, "program", "firewall", "rules", place, "endpoint")
                    yield Problem(there, f"there is no endpoint {rule.endpoint}")


def _groups(vpc: Vpc, path: Path) -> Iterator[Problem]:
    known = [group.name for group in vpc.security_groups]
    for number, group in enumerate(vpc.security_groups):
        for key, wanted, other in (("ingress", "source", "destination"), ("egress", "destination", "source")):
            rules: tuple[SecurityGroupRule, ...] = getattr(group, key) or ()
            for place, rule in enumerate(rules):
                here = (*path, "security_groups", number, key, place)
                peer: str | None = getattr(rule, wanted)
                if getattr(rule, other) is not None:
                    yield Problem((*here, other), f"expected {wanted} in a rule of {key}")
                if peer is None:
                    yield Problem((*here, wanted), "this key is missing: expected a network or a security group")
                elif peer not in known and not _is_network(peer):
                    yield Problem(
                        (*here, wanted), f"expected a network such as 0.0.0.0/0 or a security group of VPC {vpc.name}"
                    )
                if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
                    yield Problem((*here, "ports"), f"expected ports only with tcp or udp, not with {rule.protocol}")


def _is_network(text: str) -> bool:
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        return False
    return "/" in text and bool(network.ip == network.network)
