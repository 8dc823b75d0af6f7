"""What the core of a network load balancer tells of itself."""

from __future__ import annotations

from typing import NamedTuple


class TargetHealth(NamedTuple):
    """One target as this node sees it: AWS's state, reason code and description, and the number in its marks."""

    target_group: str
    id: str
    address: bytes
    port: int
    zone: str
    state: str
    reason: str
    description: str
    number: int
    is_seen: bool  # whether this node has to do with it: not with one of another zone without cross-zone load balancing
