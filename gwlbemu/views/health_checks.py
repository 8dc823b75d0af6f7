"""Which packets of a lab are health checks: known by who talks to whom from which port, nothing is guessed."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gwlbemu.core.elb.health import CHECK_PORTS
from gwlbemu.topology.plan.values import Plan, TargetGroup
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import TCP


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """The health checks of a plan.

    A gateway load balancer's node talks TCP for nothing else: `gateways` are the addresses of such nodes, and
    `gateway_ports` what they probe. Every other node probes from CHECK_PORTS, from which it talks for no client:
    `ports` is what each probes, by its address, and `hosts` are the addresses that may be targets.
    """

    gateways: frozenset[bytes]
    gateway_ports: frozenset[int]
    ports: dict[bytes, frozenset[int]]
    hosts: frozenset[bytes]

    def has(self, ip: IpPacket, *, tunnelled: bool = False) -> bool:
        """Return whether a packet, perhaps from inside GENEVE, belongs to a health check's connection, in either
        direction.
        """
        if ip.protocol != TCP:
            return False
        ports = {ip.source_port, ip.destination_port}
        if not tunnelled and self.gateways & {ip.source, ip.destination} and self.gateway_ports & ports:
            return True
        there, back = (ip.source, ip.source_port), (ip.destination, ip.destination_port)
        return self._is_between(*there, *back) or self._is_between(*back, *there)

    def _is_between(self, node: bytes, node_port: int, host: bytes, port: int) -> bool:
        return node_port in CHECK_PORTS and port in self.ports.get(node, ()) and host in self.hosts


def health_checks(plan: Plan) -> HealthChecks:
    """Return how the health checks of a lab with this plan are known."""
    ports: dict[bytes, frozenset[int]] = defaultdict(frozenset)  # VPCs may have the same addresses
    for node in plan.addressed_nodes:
        ports[_packed(node.address)] |= _probed(plan.groups_of(node.load_balancer))
    gateways = plan.gateway_nodes
    hosts = [each.address for each in plan.instances if each.vpc]  # of those that have been targets, too
    hosts += [each.address for each in plan.application_nodes]
    hosts += [target.address for group in plan.target_groups for target in group.targets if ":" not in target.address]
    return HealthChecks(
        frozenset(_packed(node.address) for node in gateways),
        frozenset(plan.group_of(node.load_balancer).health_check.port for node in gateways),
        dict(ports),
        frozenset(map(_packed, hosts)),
    )


def _probed(groups: Iterable[TargetGroup]) -> frozenset[int]:
    """The ports at which targets of groups are probed."""
    found: set[int] = set()
    for group in groups:
        own = {group.port, *(target.port for target in group.targets)}
        found |= {group.health_check.port} if group.health_check.port else own
    return frozenset(found)


def _packed(address: str) -> bytes:
    return socket.inet_aton(address)
