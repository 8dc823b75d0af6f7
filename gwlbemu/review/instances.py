"""Instances that cannot do what they are there for: appliances out of reach, forwarders that may not forward.

Sources: GWLB guide, Target groups (UDP 6081 and the health-check port from the load balancer's subnets: it has no
security group of its own to name) and the MTU of appliances; EC2, source/destination check; contract EP-08, EP-09.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.review.balancing import cross_zone, zones_of_targets
from gwlbemu.review.edit import Edit, adding, setting
from gwlbemu.review.fault import Fault
from gwlbemu.review.finding import listed
from gwlbemu.review.talk import Talk
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.places import balancers_of_type, subnets_by_name
from gwlbemu.topology.file.schema import Instance, SecurityGroup, SecurityGroupRule, Topology, Vpc

APPLIANCE_MTU = 8568  # 8500 of the inner packet and 68 in front of it: GWLB guide, Gateway Load Balancers


def instance_faults(talk: Talk) -> Iterator[Fault]:
    """Yield source/destination checks that drop what is forwarded, security groups that keep out the tunnel, and rules
    of an IDS that may not do what they say.
    """
    topology = talk.topology
    yield from _source_destination_checks(topology)
    yield from _idle_drop_rules(topology)
    found: dict[tuple[Path, str], tuple[Edit, list[str]]] = {}
    groups = {group.name: group for group in topology.target_groups}
    for balancer in balancers_of_type(topology, GATEWAY):
        for group in (groups[name] for name in balancer.target_groups()):
            for target in group.target_ids:
                for text, edit in _closed(talk, balancer, group, target):
                    found.setdefault((edit.path, text), (edit, []))[1].append(target)
    for (path, text), (edit, targets) in found.items():
        cause = frozenset([path, (text,)])
        yield Fault("security-group", "error", text, (path,), cause, subject=listed(targets), edits=(edit,))


def mtu_faults(topology: Topology, mtus: Mapping[str, int]) -> Iterator[Fault]:
    """Yield the appliances whose interface is too narrow; `mtus` is the MTU of each, in bytes, by instance name."""
    for name, (path, _) in instances_by_name(topology).items():
        if name in mtus and mtus[name] < APPLIANCE_MTU:
            text = (
                f"the interface of appliance {name} has an MTU of {mtus[name]}: packets of 8500 bytes and the 68 in"
                f" front of them do not fit, and are lost without a word; its eth0 needs {APPLIANCE_MTU} (EC2: 9001)"
            )
            yield Fault("appliance-mtu", "error", text, (path,))


def instances_by_name(topology: Topology) -> dict[str, tuple[Path, Instance]]:
    """Return every instance of a VPC by its name, with its path in the file."""
    return {
        instance.name: (("vpcs", index, "instances", number), instance)
        for index, vpc in enumerate(topology.vpcs)
        for number, instance in enumerate(vpc.instances)
    }


def _idle_drop_rules(topology: Topology) -> Iterator[Fault]:
    """`drop` of an IDS that only watches alerts, and lets pass."""
    for name, (path, instance) in instances_by_name(topology).items():
        ids = instance.program.ids if instance.program else None
        if ids is None or ids.ips or not any(line.split()[:1] == ["drop"] for line in ids.rules.splitlines()):
            continue
        here = (*path, "program", "ids", "ips")
        text = f"the IDS of {name} has rules that say drop, and no `ips`: it alerts, and lets pass what they match"
        yield Fault("idle-drop-rules", "warning", text, (here,), edits=(setting(here, True, "ips: true"),))


def _source_destination_checks(topology: Topology) -> Iterator[Fault]:
    instances = instances_by_name(topology)
    for vpc in topology.vpcs:
        for table in vpc.route_tables:
            for route in table.routes:
                path, instance = instances.get(route.target, ((), None))
                if instance is not None and instance.source_dest_check:
                    text = (
                        f"route table {table.name} leads {route.destination} to instance {instance.name}, whose"
                        " source/destination check is on: what it should forward is dropped at its interface"
                    )
                    here = (*path, "source_dest_check")
                    edit = setting(here, False, "source_dest_check: false")
                    yield Fault("source-dest-check", "error", text, (here,), edits=(edit,))


def _closed(talk: Talk, balancer: LoadBalancer, group: TargetGroup, target: str) -> Iterator[tuple[str, Edit]]:
    """What a target's security groups keep out, and the rule that lets it in."""
    topology = talk.topology
    path, instance = _instance_at(talk, group, target)
    if instance is None or not instance.security_groups:
        return
    vpc = topology.vpcs[int(path[1])]
    order = [one.name for one in vpc.security_groups]
    groups = [vpc.security_groups[order.index(name)] for name in instance.security_groups]
    here: Path = (*path[:2], "security_groups", order.index(groups[0].name), "ingress")
    zone = zones_of_targets(topology, group)[target]
    for protocol, port, what in _needed(group):
        for subnet, cidr, address in _nodes(talk, balancer, zone):
            if not any(_lets_in(rule, protocol, port, address) for one in groups for rule in one.ingress):
                text = (
                    f"security group {_named(groups)} does not let in {what} ({protocol} {port}) from subnet {subnet}"
                    f" of load balancer {balancer.name}"
                )
                rule = SecurityGroupRule(protocol=protocol, ports=str(port), source=cidr)
                change = f"add {{protocol: {protocol}, ports: {port}, source: {cidr}}}"
                yield text, adding(here, rule, change, here)


def _needed(group: TargetGroup) -> tuple[tuple[Literal["udp", "tcp"], int, str], ...]:
    check = group.checked()
    return ("udp", GENEVE_PORT, "the GENEVE tunnel"), ("tcp", check.port, "health checks")


def _named(groups: list[SecurityGroup]) -> str:
    return " and ".join(group.name for group in groups)


def _instance_at(talk: Talk, group: TargetGroup, target: str) -> tuple[Path, Instance | None]:
    addresses = {one.name: one.address for one in talk.plan.instances if one.vpc == group.vpc}
    for name, (path, instance) in instances_by_name(talk.topology).items():
        if name in addresses and target in (name, addresses[name]):
            return path, instance
    return (), None


def _nodes(talk: Talk, balancer: LoadBalancer, zone: str) -> Iterator[tuple[str, str, str]]:
    """Subnet, its CIDR and the node's address, of every node that sends to a target of `zone`."""
    nodes = {(node.load_balancer, node.zone): node.address for node in talk.plan.gateway_nodes}
    for place in balancer.subnets:
        own, subnet = subnets_by_name(talk.topology)[place.subnet]
        if cross_zone(balancer) or subnet.zone == zone or not _zonal(own, zone):
            yield subnet.name, subnet.cidr, nodes[balancer.name, subnet.zone]


def _zonal(vpc: Vpc, zone: str) -> bool:
    return zone in {subnet.zone for subnet in vpc.subnets}


def _lets_in(rule: SecurityGroupRule, protocol: str, port: int, address: str) -> bool:
    if rule.protocol not in (protocol, "all"):
        return False
    first, _, last = (rule.ports or "0-65535").partition("-")
    if not int(first) <= port <= int(last or first):
        return False
    return "/" in (rule.source or "") and IPAddress(address) in IPNetwork(rule.source)
