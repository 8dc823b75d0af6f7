"""From the bytes of a usual packet straight to its flow.

A flow's key is one number for both directions, and working it out costs as much as the rest of a look-up. So the twelve
bytes that addresses and ports are in an IPv4 packet are remembered with the flow that they led to. What is remembered
here is in the flow table too: the table forgets a flow in both places.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gwlbemu.wire.protocols import TCP, UDP

if TYPE_CHECKING:
    from gwlbemu.core.flows import Flow

MANY = 1 << 14  # then all are forgotten: memory goes by the flows that are busy, not by all there are
_ENDS = struct.Struct(">IIHH").unpack
_END = (1 << 48) - 1


class Lookup(dict[bytes, "Flow"]):
    """Addresses and ports as they stand in an IPv4 packet -> its flow, for one endpoint and one protocol.

    Asks `flows` for what it does not know; KeyError when there is no such flow.
    """

    __slots__ = ("_flows", "_protocol")

    def __init__(self, flows: dict[int, Flow], protocol: int) -> None:
        super().__init__()
        self._flows, self._protocol = flows, protocol

    def __missing__(self, ends: bytes) -> Flow:
        source, destination, port, other_port = _ENDS(ends)
        low, high = source << 16 | port, destination << 16 | other_port
        if low > high:
            low, high = high, low
        flow = self._flows[(self._protocol << 48 | low) << 48 | high]
        if len(self) >= MANY:
            self.clear()
        self[ends] = flow
        return flow


def lookups(flows: dict[int, Flow]) -> dict[int, Lookup]:
    """Return the lookups of the flows of one endpoint, by protocol."""
    return {protocol: Lookup(flows, protocol) for protocol in (TCP, UDP)}


def forget(by_protocol: dict[int, Lookup], key: int) -> None:
    """Forget both ways to the flow with this key."""
    known = by_protocol.get(key >> 96)  # an IPv4 key with ports has nothing else up there
    if known:
        low, high = (key >> 48 & _END).to_bytes(6, "big"), (key & _END).to_bytes(6, "big")
        known.pop(low[:4] + high[:4] + low[4:] + high[4:], None)
        known.pop(high[:4] + low[:4] + high[4:] + low[4:], None)
