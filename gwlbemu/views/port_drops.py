"""What the bridge ports of instances have dropped (see `topology.plan.port_rules`), read from the kernel's counters."""

from __future__ import annotations

from contextlib import suppress

from gwlbemu.errors import NetError
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.firewall import counters
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.review.seen import PortDrops as PortDrops
from gwlbemu.topology.plan.port_rules import DIRECTIONS, REASONS, TABLE
from gwlbemu.topology.plan.values import AddressedNode, Instance


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
