"""Where the resources of a topology file are: which subnet, which zone."""

from __future__ import annotations

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.topology.file.balancing import LoadBalancer
from gwlbemu.topology.file.schema import Subnet, Topology, Vpc


def subnets_by_name(topology: Topology) -> dict[str, tuple[Vpc, Subnet]]:
    """Return every subnet by its name, with the VPC that it is in."""
    return {subnet.name: (vpc, subnet) for vpc in topology.vpcs for subnet in vpc.subnets}


def balancers_of_type(topology: Topology, kind: str) -> list[LoadBalancer]:
    """Return the load balancers of one type, in the file's order."""
    return [balancer for balancer in topology.load_balancers if balancer.type == kind]


def target_zone(vpc: Vpc, address: str) -> str:
    """Return the zone of a target's address: that of its subnet, or `all` outside the VPC."""
    return next((s.zone for s in vpc.subnets if IPAddress(address) in IPNetwork(s.cidr)), EVERY_ZONE)
