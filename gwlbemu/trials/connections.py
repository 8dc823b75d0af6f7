"""What the keepers of network load balancers say of the connections of injected packets: which target each was given.

No packet passes through a keeper: what its kernel counts of a connection, before the packets are sent and afterwards,
tells what came to the node and what came back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import AddressedNode
from gwlbemu.trials.craft import CraftedPacket
from gwlbemu.trials.packet_report import NodeConnection
from gwlbemu.trials.recognise import sender_addresses
from gwlbemu.views.flows import LiveFlow, read_flows_from

_Name = tuple[str, int, str, int, str, int]  # node, protocol, and both ends as the node sees them


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """What the nodes that packets go to had counted when it was read; `silent` has a sentence for each that is."""

    found: dict[_Name, LiveFlow]
    silent: dict[str, str]


def read_connections(lab: RunningLab, packets: Sequence[CraftedPacket]) -> ConnectionCounts:
    """Read the connections of the client's ports of `packets` at the network nodes that these go to."""
    nodes = [node.name for node in lab.plan.network_nodes if any(goes_to(node, each) for each in packets)]
    found: dict[_Name, LiveFlow] = {}
    silent: dict[str, str] = {}
    for port in sorted({each.ports[0] for each in packets if each.ports[0]}) if nodes else ():
        reading = read_flows_from(lab, nodes, port)
        found |= {_name(flow): flow for flow in reading.items}
        silent |= {each.process: each.sentence for each in reading.silent}
    return ConnectionCounts(found, silent)


def connections_of(
    lab: RunningLab, packet: CraftedPacket, before: ConnectionCounts, after: ConnectionCounts
) -> tuple[NodeConnection, ...]:
    """Return the connections of a packet's flow that nodes have counted packets of meanwhile."""
    sources = sender_addresses(lab.plan, packet)
    found = []
    for node in lab.plan.network_nodes:
        for name, flow in after.found.items():
            ends = (flow.protocol, flow.source_port, flow.destination_port) == (packet.protocol, *packet.ports)
            if flow.node != node.name or not goes_to(node, packet) or not ends or flow.source not in sources:
                continue
            old = before.found.get(name)
            same = old is not None and old.packets_to <= flow.packets_to and old.packets_from <= flow.packets_from
            known = (old.packets_to, old.packets_from) if old is not None and same else (0, 0)
            rise = replace(_connection(flow), packets_to=flow.packets_to - known[0])
            rise = replace(rise, packets_from=flow.packets_from - known[1])
            if rise.packets_to:
                found.append(rise)
    return tuple(found)


def _connection(flow: LiveFlow) -> NodeConnection:
    return NodeConnection(
        flow.node, flow.listener, flow.target_group, flow.target, flow.target_address, flow.target_port, flow.state
    )


def _name(flow: LiveFlow) -> _Name:
    return flow.node, flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port


def goes_to(node: AddressedNode, packet: CraftedPacket) -> bool:
    """Return whether a packet is addressed to a load balancer's node."""
    return packet.destination in {node.address, node.public_address, node.ipv6_address} - {""}
