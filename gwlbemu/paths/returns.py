"""What the subnets remember of a network load balancer's flows, so that answers find back to its node (see the plan's
`returns`), for the length of one walk.
"""

from __future__ import annotations

from gwlbemu.paths.filters import begins
from gwlbemu.paths.tracking import Tuple, tuple_of, turned
from gwlbemu.paths.values import Packet
from gwlbemu.wire.protocols import TCP, UDP
from gwlbemu.wire.tcp import FIN, RST


class Returns:
    """The flows that the instance ports of each subnet know."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, Tuple], int] = {}

    def received(self, subnet: str, packet: Packet, mark: int) -> None:
        """Note a packet that an instance gets: with the mark of a node, or with none (0)."""
        if packet.protocol not in (TCP, UDP) or ":" in packet.source:
            return
        key, opens = (subnet, tuple_of(packet)), packet.protocol == UDP or begins(packet)
        if mark and (opens or not packet.tcp_flags & (FIN | RST)):
            self._marks[key] = mark if opens else self._marks.get(key, mark)
        elif not mark and opens:
            self._marks.pop(key, None)

    def sent(self, subnet: str, packet: Packet) -> int:
        """Return the mark of the node to which a packet that an instance sends goes back; 0 for none."""
        return self._marks.get((subnet, turned(tuple_of(packet))), 0)
