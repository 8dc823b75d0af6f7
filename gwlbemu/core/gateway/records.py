"""What the core tells its readers: plain values, made when asked for."""

from __future__ import annotations

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
    """A target to probe; an initial one may be probed faster (see Emulation)."""

    id: str
    address: bytes
    initial: bool


class FlowRecord(NamedTuple):
    """One live flow, its first packet's source first.

    Ports are 0 and protocol is 0 where the key has none. Times are absolute seconds.
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
    packets: int
    bytes: int
    moves: int


class FlowChange(NamedTuple):
    """What the fast path has to learn of a flow. `kind` is placed, changed (new target or cookie) or removed (its
    packets come to Python again).

    `source` is the end that sent the first packet; `timeout` is the idle timeout in seconds.
    """

    kind: str
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
    timeout: float


class TargetChange(NamedTuple):
    """What the fast path has to learn of a target. `kind` is held (every packet of its flows needs a decision, so they
    come to Python although the flows stay known) or freed (no longer).
    """

    kind: str
    target_address: bytes
