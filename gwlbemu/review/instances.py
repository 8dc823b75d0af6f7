"""Instances that cannot do what they are there for: appliances out of reach, forwarders that may not forward.

Sources: GWLB guide, Target groups (UDP 6081 and the health-check port from the load balancer's subnets: it has no
security group of its own to name) and the MTU of appliances; EC2, source/destination check; contract EP-08, EP-09.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.gateway.settings import GENEVE_PORT
from gwlbemu.review.balancing import cross_zone, zones_of_targets
from gwlbemu.review.finding import Finding, listed
from gwlbemu.review.walk import Network
from gwlbemu.topology import names
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Instance, SecurityGroup, SecurityGroupRule, Topology, Vpc

APPLIANCE_MTU = 8568  # 8500 of the inner packet and 68 in front of it: GWLB guide, Gateway Load Balancers


def instance_findings(topology: Topology) -> Iterator[Finding]:
    """Yield source/destination checks that drop what is forwarded, and security groups that keep out the tunnel."""
    yield from _source_destination_checks(topology)
    network = Network.of(topology)
    found: dict[tuple[Path, str, str], list[str]] = {}
    groups = {group.name: group for group in topology.target_groups}
    for balancer in topology.load_balancers:
        for group in (groups[name] for name in balancer.target_groups()):
            for target in group.targets:
                for path, text, change in _closed(network, balancer, group, target):
                    found.setdefault((path, text, change), []).append(target)
    for (path, text, change), targets in found.items():
        yield Finding("security-group", "error", f"{listed(targets)}: {text}", path, change)


def mtu_findings(topology: Topology, mtus: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the appliances whose interface is too narrow; `mtus` is the MTU of each, in bytes, by instance name."""
    for name, (path, _) in instances_by_name(topology).items():
        if name in mtus and mtus[name] < APPLIANCE_MTU:
            text = (
                f"the interface of appliance {name} has an MTU of {mtus[name]}: packets of 8500 bytes and the 68 in"
                " front of them do not fit, and are lost without a word"
            )
            yield Finding("appliance-mtu", "error", text, path, f"MTU {APPLIANCE_MTU} or more on its eth0 (EC2: 9001)")


def instances_by_name(topology: Topology) -> dict[str, tuple[Path, Instance]]:
    """Return every instance of a VPC by its name, with its path in the file."""
    return {
        instance.name: (("vpcs", index, "instances", number), instance)
        for index, vpc in enumerate(topology.vpcs)
        for number, instance in enumerate(vpc.instances)
    }


def _source_destination_checks(topology: Topology) -> Iterator[Finding]:
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
                    yield Finding("source-dest-check", "error", text, here, "source_dest_check: false")


def _closed(
    network: Network, balancer: LoadBalancer, group: TargetGroup, target: str
) -> Iterator[tuple[Path, str, str]]:
    """What a target's security groups keep out: where, what, and the rule that lets it in."""
    instance, index = _instance_at(network, group, target)
    if instance is None or not instance.security_groups:
        return
    vpc = network.topology.vpcs[index]
    order = [one.name for one in vpc.security_groups]
    groups = [vpc.security_groups[order.index(name)] for name in instance.security_groups]
    path: Path = ("vpcs", index, "security_groups", order.index(groups[0].name), "ingress")
    zone = zones_of_targets(network.topology, group)[target]
    health = ("tcp", group.health_check.port, "health checks")
    for protocol, port, what in (("udp", GENEVE_PORT, "the GENEVE tunnel"), health):
        for subnet, cidr, address in _nodes(network, balancer, zone):
            if not any(_lets_in(rule, protocol, port, address) for one in groups for rule in one.ingress):
                text = (
                    f"security group {_named(groups)} does not let in {what} ({protocol} {port}) from subnet {subnet}"
                    f" of load balancer {balancer.name}"
                )
                yield path, text, f"add {{protocol: {protocol}, ports: {port}, source: {cidr}}}"


def _named(groups: list[SecurityGroup]) -> str:
    return " and ".join(group.name for group in groups)


def _instance_at(network: Network, group: TargetGroup, target: str) -> tuple[Instance | None, int]:
    for index, vpc in enumerate(network.topology.vpcs):
        for instance in vpc.instances if vpc.name == group.vpc else ():
            if target in (instance.name, network.address(instance.name, 4)):
                return instance, index
    return None, -1


def _nodes(network: Network, balancer: LoadBalancer, zone: str) -> Iterator[tuple[str, str, str]]:
    """Subnet, its CIDR and the node's address, of every node that sends to a target of `zone`."""
    for place in balancer.subnets:
        own, subnet = next((v, s) for v in network.topology.vpcs for s in v.subnets if s.name == place.subnet)
        if cross_zone(balancer) or subnet.zone == zone or not _zonal(own, zone):
            interface = network.layout.interface(subnet.name, names.node(balancer.name, subnet.zone))
            yield subnet.name, subnet.cidr, interface.address


def _zonal(vpc: Vpc, zone: str) -> bool:
    return zone in {subnet.zone for subnet in vpc.subnets}


def _lets_in(rule: SecurityGroupRule, protocol: str, port: int, address: str) -> bool:
    if rule.protocol not in (protocol, "all"):
        return False
    first, _, last = (rule.ports or "0-65535").partition("-")
    if not int(first) <= port <= int(last or first):
        return False
    return "/" in (rule.source or "") and IPAddress(address) in IPNetwork(rule.source)
