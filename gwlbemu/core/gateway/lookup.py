"""A cache in front of the flow table: from the bytes of a packet straight to its flow.

A flow's key is one number for both directions, and working it out costs as much as the rest of a look-up. So the twelve
bytes that addresses and ports are in an IPv4 packet are remembered with the flow that they led to. What is remembered
here is in the flow table too: the table forgets a flow in both places.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from gwlbemu.core.gateway.key import ends_of_key, key_of_ends
from gwlbemu.wire.protocols import TCP, UDP

F = TypeVar("F")  # what a flow is

CAPACITY = 1 << 14  # then all are forgotten: memory goes by the flows that are busy, not by all there are


class Lookup(dict[bytes, F], Generic[F]):
    """Addresses and ports as they stand in an IPv4 packet -> its flow, for one endpoint and one protocol.

    Asks `flows` for what it does not know; KeyError when there is no such flow.
    """

    __slots__ = ("_flows", "_protocol")

    def __init__(self, flows: dict[int, F], protocol: int) -> None:
        super().__init__()
        self._flows, self._protocol = flows, protocol

    def __missing__(self, ends: bytes) -> F:
        flow = self._flows[key_of_ends(self._protocol, ends)]
        if len(self) >= CAPACITY:
            self.clear()
        self[ends] = flow
        return flow

    def forget(self, key: int) -> None:
        """Forget both directions of the flow with this key."""
        known = ends_of_key(key)
        if known is not None and known[0] == self._protocol:
            self.pop(known[1], None)
            self.pop(known[2], None)


def lookups(flows: dict[int, F]) -> dict[int, Lookup[F]]:
    """Return the lookups of the flows of one endpoint (by key, see `key`), for TCP and for UDP, by protocol number."""
    return {protocol: Lookup(flows, protocol) for protocol in (TCP, UDP)}
