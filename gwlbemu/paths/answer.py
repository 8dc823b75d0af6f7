"""What the receiver of a packet answers, as far as the plan tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gwlbemu.paths.values import Packet
from gwlbemu.topology.plan.values import Plan
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import ACK, RST

# What answers a packet that has arrived at an instance, by its name; None for an answer in kind (`Packet.answer`).
Answers = Callable[[str, Packet], Packet | None]


def expected_answers(plan: Plan) -> Answers:
    """Return how answers differ from ones in kind: by the RST of a port where nothing of the plan listens."""
    listening = {(each.instance, each.listens) for each in plan.programs}
    unknown = {each.instance for each in plan.programs if each.kind == "command"}
    nodes = {node.name for node in plan.addressed_nodes}  # a node lets in what it has a listener for

    def answer(receiver: str, arrived: Packet) -> Packet | None:
        if arrived.protocol != TCP or receiver in unknown | nodes or (receiver, arrived.destination_port) in listening:
            return None
        return replace(arrived.answer(), tcp_flags=RST | ACK)

    return answer
