"""What only a network load balancer has: nodes in which the kernel translates.

A node has two interfaces. By its ENI come clients, and goes whatever it sends from its own address, as the route table
of its subnet says. By `fabric` go packets that keep their client's address, straight to the router of the target's
subnet, and their answers come back (see `returns`): what rules of the node mark with PRESERVED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import hosts
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings
from gwlbemu.topology.plan.machine_half import KernelRoute, Link
from gwlbemu.topology.plan.node_places import NodePlace, network_places
from gwlbemu.topology.plan.vpcs import fabric_addresses, fabric_neighbours

# The packet mark, inside a node, of what goes to a target with its client's address; and where it goes.
PRESERVED, PRESERVED_TABLE = 0x100, 100
# The packet mark of an answer on the fabric to a proxy in the node, which has its client's address; and where it goes.
TO_PROXY, TO_PROXY_TABLE = 0x200, 200


def network_nodes(topology: Topology, layout: Layout) -> tuple[plan.NetworkNode, ...]:
    """Return the nodes of every network load balancer, one per subnet that it has, in the file's order."""
    return tuple(
        plan.NetworkNode(**layout.node_values(place), number=place.number) for place in network_places(topology)
    )


def node_blueprints(topology: Topology, settings: Settings) -> Iterator[Blueprint]:
    """Yield the namespace and the links of every network load balancer's node."""
    for place in network_places(topology):
        yield _node(settings, place)


def _node(settings: Settings, place: NodePlace) -> Blueprint:
    """Return a node. Its rules are its keeper's; here is what never changes."""
    vpc, hops = place.vpc, settings.layout.next_hops[place.vpc.name]
    interface = settings.layout.interface(place.subnet.name, place.node)
    eni = hosts.plugged_in(
        settings,
        interface,
        "network-node",
        cidr=place.subnet.cidr,
        ipv6_cidr=place.subnet.ipv6_cidr,
        forwarding=True,
    )
    routes = [
        KernelRoute(subnet.cidr, "fabric", hops[subnet.name].address, table=PRESERVED_TABLE) for subnet in vpc.subnets
    ]
    routes.append(KernelRoute("0.0.0.0/0", "lo", kind="local", table=TO_PROXY_TABLE))
    namespace = eni.namespaces[0]
    whole = replace(
        namespace,
        routes=(*namespace.routes, *routes),
        neighbours=(*namespace.neighbours, *fabric_neighbours(settings, vpc, place.node)),
        # `lo`: a reset that the node itself sends to a target of which it knows no connection any more.
        mark_rules=(
            *((device, PRESERVED, PRESERVED_TABLE) for device in (interface.device, "lo")),
            ("fabric", TO_PROXY, TO_PROXY_TABLE),
        ),
    )
    own = hops[place.node]
    fabric = Link(
        settings.port(vpc.name, "fabric", place.node),
        settings.end(place.node, "fabric", own.mac, addresses=fabric_addresses(own, vpc)),
    )
    return Blueprint((whole,), (*eni.links, fabric))
