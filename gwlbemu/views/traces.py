"""What the nodes say about single packets while a trace runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gwlbemu.wire.identity import Identity
from gwlbemu.wire.mismatch import Mismatch


@dataclass(frozen=True, slots=True)
class TracedPacket:
    """What one node did with one packet of a traced flow. Addresses and ports are those of the inner packet.

    Of a packet that a target returned and that cannot be read, protocol, ports, id and length are 0, addresses "".
    """

    at: float  # seconds of the kernel's monotonic clock
    node: str
    endpoint: str
    direction: str  # out: from the endpoint; back: from a target
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    ip_id: int  # IPv6: the flow label, or the fragment header's identification
    length: int  # bytes of the inner packet
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str
    reason: str  # why it was dropped, or ""
    wrong: Mismatch | None = None  # why a returned packet was refused, or a checksum in one that went on

    @property
    def identity(self) -> Identity:
        """What address translation leaves alone: protocol, ports, IP id and length."""
        return self.protocol, self.source_port, self.destination_port, self.ip_id, self.length


def traced_packet(node: str, event: Mapping[str, Any]) -> TracedPacket:
    """Return one event of a node's answer to `trace_read` as a value."""
    protocol, source_port, destination_port, ip_id, length = event["identity"]
    return TracedPacket(
        at=float(event["time"]),
        node=node,
        endpoint=event["endpoint"],
        direction=event["direction"],
        protocol=protocol,
        source=event["source"],
        source_port=source_port,
        destination=event["destination"],
        destination_port=destination_port,
        ip_id=ip_id,
        length=length,
        verdict=event["verdict"],
        target=event["target"] or "",
        cookie=event["cookie"] or "",
        reason=event["reason"] or "",
        wrong=Mismatch(**event["wrong"]) if event.get("wrong") else None,
    )
