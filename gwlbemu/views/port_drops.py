"""What the bridge ports of instances have dropped (see `topology.plan.port_rules`), read from the kernel's counters."""

from __future__ import annotations

from contextlib import suppress

from gwlbemu.errors import NetError
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.firewall import counters
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.review.seen import PortDrops as PortDrops
from gwlbemu.topology.plan.port_groups import BLOCKED, blocked_counter
from gwlbemu.topology.plan.port_rules import DIRECTIONS, REASONS, TABLE
from gwlbemu.topology.plan.values import AddressedNode, Instance

_RULES = {"received": "Inbound", "sent": "Outbound"}  # of a load balancer's security groups, by direction
BLOCKED_METRICS = {
    (way, protocol): f"SecurityGroupBlockedFlowCount_{rules}_{protocol.upper()}"
    for way, rules in _RULES.items()
    for protocol in BLOCKED
}


def read_blocked(lab: RunningLab) -> dict[str, dict[str, int]]:
    """Return by network load balancer's node what its security groups refused to begin, by AWS's metrics: each SYN,
    datagram and ICMP message. All are 0 without groups, and where somebody has removed the rules of its port.
    """
    nodes = {each.mac: each.name for each in lab.plan.network_nodes}
    found = {name: dict.fromkeys(BLOCKED_METRICS.values(), 0) for name in nodes.values()}
    family, table = TABLE.split()
    for namespace in lab.plan.namespaces:
        ports = [port for port in namespace.instance_ports if port.mac in nodes]
        counted: dict[str, int] = {}
        if ports:
            with suppress(NetError), inside(path_of(namespace.name)):
                counted = counters(family, table)
        for port in ports:
            for (way, protocol), metric in BLOCKED_METRICS.items():
                found[nodes[port.mac]][metric] = counted.get(blocked_counter(way, protocol, port.device), 0)
    return found


def read_port_drops(lab: RunningLab) -> tuple[PortDrops, ...]:
    """Return what each instance's port has dropped, without those that dropped nothing.

    A namespace that is gone, or whose rules somebody removed, has dropped nothing that can be told.
    """
    family, table = TABLE.split()
    found = []
    owners: tuple[Instance | AddressedNode, ...] = (*lab.plan.instances, *lab.plan.addressed_nodes)
    resources = {each.mac: each.name for each in owners}  # interface names repeat between subnets
    for namespace in (each for each in lab.plan.namespaces if each.instance_ports):
        counted: dict[str, int] = {}
        with suppress(NetError), inside(path_of(namespace.name)):
            counted = counters(family, table)
        found += [
            PortDrops(resources[port.mac], direction, reason, packets)
            for port in namespace.instance_ports
            for direction in DIRECTIONS
            for reason in REASONS
            if (packets := counted.get(f"{direction}_{reason}_{port.device}", 0))
        ]
    return tuple(found)
