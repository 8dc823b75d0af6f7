"""What the core tells its readers: plain values, made when asked for."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class TargetHealth(NamedTuple):
    """One target as this node sees it: AWS's state, reason code and description, how many flows name it, and how many
    packets this node has sent to it and taken back from it.
    """

    id: str
    address: bytes
    zone: str
    state: str
    reason: str
    description: str
    flows: int
    packets_to: int
    packets_from: int


class ProbeTarget(NamedTuple):
    """A target to probe, `address` being 4 bytes; an `initial` one may be probed faster (see Emulation)."""

    id: str
    address: bytes
    initial: bool
    port: int = 0  # GENEVE has none, so the group's check always names one


class FlowRecord(NamedTuple):
    """One live flow, its first packet's source first.

    `key` is the core's (see `key.key_bytes`). Ports are 0 and protocol is 0 where the key has none. Times are seconds
    on the core's clock; packets are inner ones to targets and from them, bytes those of both.
    """

    key: bytes
    endpoint: int
    tuple_size: int
    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    target: str
    cookie: int
    outer_source_port: int
    placed_at: float
    last_seen_at: float
    expires_at: float
    packets_to: int
    packets_from: int
    bytes: int
    moves: int

    @property
    def packets(self) -> int:
        """Packets of both directions."""
        return self.packets_to + self.packets_from


class FlowPage(NamedTuple):
    """Some live flows, and where to read on (see `Balancer.flow_page`); `cursor` is "" when there is nothing more."""

    flows: list[FlowRecord]
    cursor: str


class FlowChangeKind(Enum):
    """What has happened to a flow, as the fast path sees it."""

    PLACED = "placed"  # it may be carried from now on
    UPDATED = "updated"  # it may be carried on, with another target, cookie or idle timeout
    REMOVED = "removed"  # its packets come to the core again


class FlowChange(NamedTuple):
    """What the fast path has to learn of a flow.

    `key` is the core's (see `key.key_bytes`), `source` the end that sent the first packet, `idle_timeout` seconds.
    Ports are 0 and protocol is 0 where the key has none.
    """

    kind: FlowChangeKind
    key: bytes
    endpoint: int
    tuple_size: int
    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    target: str
    target_address: bytes
    cookie: int
    outer_source_port: int
    idle_timeout: float


class TargetChange(NamedTuple):
    """What the fast path has to learn of a target: from now on it is held, or no longer.

    Every packet of a held target's flows needs a decision, so they come to the core although the flows stay known.
    """

    held: bool
    target_address: bytes
