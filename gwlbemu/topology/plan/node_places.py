"""Where the load balancers that clients know by an address have their nodes, and which public addresses these have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from gwlbemu.core.elb.balancer_types import APPLICATION, NETWORK
from gwlbemu.topology import names
from gwlbemu.topology.file.balancing import LoadBalancer, LoadBalancerSubnet
from gwlbemu.topology.file.places import balancers_of_type, subnets_by_name
from gwlbemu.topology.file.schema import Subnet, Topology, Vpc

# Of these an internet-facing application load balancer gets its public addresses, the highest first: networks that are
# nobody's (RFC 5737, RFC 2544). On AWS they are Amazon's, and nobody may choose them.
_ASSIGNED = ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "198.18.0.0/15")


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a network or an application load balancer has a node.

    `number`, from 1 and its own in the lab, marks what a network load balancer's node sends; 0 for an application load
    balancer's. `public_address` is "" of an internal load balancer.
    """

    number: int
    node: str  # name
    balancer: LoadBalancer
    vpc: Vpc
    subnet: Subnet
    public_address: str


def addressed_places(topology: Topology) -> tuple[NodePlace, ...]:
    """Return the place of every node of the network load balancers, then of the application load balancers."""
    return (*network_places(topology), *application_places(topology))


def network_places(topology: Topology) -> tuple[NodePlace, ...]:
    """Return the place of every network load balancer's node, in the file's order."""
    return tuple(
        _place(topology, number, balancer, mapping, mapping.public_address or "")
        for number, (balancer, mapping) in enumerate(_mappings(topology, NETWORK), start=1)
    )


def application_places(topology: Topology) -> tuple[NodePlace, ...]:
    """Return the place of every application load balancer's node, in the file's order."""
    free = _free_public_addresses(topology)
    return tuple(
        _place(topology, 0, balancer, mapping, next(free) if balancer.is_internet_facing else "")
        for balancer, mapping in _mappings(topology, APPLICATION)
    )


def _mappings(topology: Topology, kind: str) -> list[tuple[LoadBalancer, LoadBalancerSubnet]]:
    return [(balancer, mapping) for balancer in balancers_of_type(topology, kind) for mapping in balancer.subnets]


def _place(
    topology: Topology, number: int, balancer: LoadBalancer, mapping: LoadBalancerSubnet, public_address: str
) -> NodePlace:
    vpc, subnet = subnets_by_name(topology)[mapping.subnet]
    return NodePlace(number, names.node(balancer.name, subnet.zone), balancer, vpc, subnet, public_address)


def _free_public_addresses(topology: Topology) -> Iterator[str]:
    """Yield public addresses that nobody has, in no network of the lab."""
    taken = {one.public_address for vpc in topology.vpcs for one in vpc.instances}
    taken |= {one.public_address for vpc in topology.vpcs for one in vpc.nat_gateways}
    taken |= {mapping.public_address for balancer in topology.load_balancers for mapping in balancer.subnets}
    inside = [IPNetwork(vpc.cidr) for vpc in topology.vpcs]
    inside += [IPNetwork(topology.internet.cidr)] if topology.internet else []
    for cidr in _ASSIGNED:
        network = IPNetwork(cidr)
        for offset in range(network.size - 2, 0, -1):
            address = str(network[offset])
            if address not in taken and not any(IPAddress(address) in each for each in inside):
                yield address
