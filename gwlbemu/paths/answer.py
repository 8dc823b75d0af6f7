"""What the receiver of a packet answers, as far as the plan tells."""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.values import Packet
from gwlbemu.topology.plan.ends import instance_at
from gwlbemu.topology.plan.values import Plan
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import ACK, RST


def expected_answer(plan: Plan, packet: Packet) -> Packet | None:
    """Return how the answer differs from one in kind: the RST of a port where nothing of the plan listens."""
    receiver = instance_at(plan, packet.destination)
    if receiver is None or packet.protocol != TCP:
        return None
    for program in plan.programs:
        if program.instance == receiver.name and (
            program.kind == "command" or program.listens == packet.destination_port
        ):
            return None
    return replace(packet.answer(), tcp_flags=RST | ACK)
