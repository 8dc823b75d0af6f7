"""Checks of security groups and programs."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import AddrFormatError, IPAddress, IPNetwork

from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.programs import FirewallRule
from gwlbemu.topology.file.schema import SecurityGroupRule, Topology, Vpc

_WITH_PORTS = {"tcp", "udp", "6", "17"}


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
                yield from _firewall_rule(rule, endpoints, (*here, "program", "firewall", "rules", place))


def _firewall_rule(rule: FirewallRule, endpoints: set[str], path: Path) -> Iterator[Problem]:
    """What the firewall itself would refuse when the lab comes up, and endpoints that are not there."""
    if rule.endpoint and rule.endpoint not in endpoints:
        yield Problem((*path, "endpoint"), f"there is no endpoint {rule.endpoint}")
    for key in ("protocol", "source", "destination", "ports", "source_ports"):
        if getattr(rule, key) == ():
            yield Problem((*path, key), "expected at least one entry")
    for key in ("source", "destination"):
        for text in getattr(rule, key) or ():
            if text != "any" and not _is_network(text if "/" in text else f"{text}/{_whole(text)}"):
                yield Problem((*path, key), f"expected an address or a network without host bits, got {text}")
    for key in ("ports", "source_ports"):
        if getattr(rule, key) and not (rule.protocol and set(rule.protocol) <= _WITH_PORTS):
            yield Problem(
                (*path, key), "expected ports only with protocol tcp or udp; without them, every port is meant"
            )


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
                    yield Problem((*here, wanted), _expected_peer(vpc, peer))
                if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
                    yield Problem((*here, "ports"), f"expected ports only with tcp or udp, not with {_named(rule)}")


def _named(rule: SecurityGroupRule) -> str:
    """The protocol of a rule with ports, and what it would be without them."""
    return "all, which is every port of every protocol" if rule.protocol == "all" else rule.protocol


def _expected_peer(vpc: Vpc, peer: str) -> str:
    """What to write instead of `peer`: what it says, and never more than that."""
    wanted = f"expected a network such as 10.0.1.0/24 or a security group of VPC {vpc.name}"
    if whole := _whole(peer.partition("/")[0]):
        host = f"{peer.partition('/')[0]}/{whole}"
        if "/" not in peer:
            return f"{wanted}; the one address would be {host}"
        if _is_network(host):
            return f"{wanted}; {peer} has host bits, the one address would be {host}"
    return wanted


def _whole(address: str) -> int:
    """The prefix length of one address; 0 for what is none."""
    try:
        return 128 if IPAddress(address).version == 6 else 32
    except (AddrFormatError, ValueError):
        return 0


def _is_network(text: str) -> bool:
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        return False
    return "/" in text and bool(network.ip == network.network)
