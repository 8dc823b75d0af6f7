"""The one answer a packet gets.

Every packet given to the balancer comes back as exactly one of these; a drop carries a reason that is also a counter.
Where packets come by the batch, `Judged` has what they would have said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from gwlbemu.wire.mismatch import Mismatch


class Reason(str, Enum):
    """Why a packet was dropped. AWS's four return-path metrics first (GWLB guide, CloudWatch metrics), then ours."""

    INVALID_GENEVE_TUNNEL = "PacketsDroppedCount_InvalidGeneveTunnel"
    INVALID_ENDPOINT_ID = "PacketsDroppedCount_InvalidGwlbEndpointId"
    INVALID_FLOW_COOKIE = "PacketsDroppedCount_InvalidGwlbFlowCookie"
    MISSING_FLOW_ENTRY = "PacketsDroppedCount_MissingFlowEntry"
    # Silent on AWS: no metric is documented for these, so the names are ours.
    NO_TARGET = "RejectedFlow"
    TABLE_FULL = "FlowTableFull"
    MIDSTREAM = "MidstreamTcp"
    TOO_LONG = "InnerPacketTooLong"
    FRAGMENT = "InnerFragment"
    MALFORMED = "MalformedInnerPacket"
    TTL_EXPIRED = "InnerTtlExpired"
    UNKNOWN_ENDPOINT = "UnknownEndpoint"
    UNDECODABLE = "UndecodablePacket"  # judging it raised an exception: a bug, and no reason to end


class ToTarget(NamedTuple):
    """Send `datagram` (the whole outer IPv4 datagram, GENEVE inside) to target `target` (its id)."""

    target: str
    datagram: bytes


class ToEndpoint(NamedTuple):
    """Hand the inner `packet` back at endpoint `endpoint` (its 64-bit id).

    It then follows that subnet's route table.
    """

    endpoint: int
    packet: bytes


class Reset(NamedTuple):
    """Answer the sender of a TCP packet.

    `packet` is the RST (whole inner IP packet), leaving at endpoint `endpoint`. There leaves `probe`, too, unless it is
    empty: it asks the other end for a packet, which is answered alike.
    """

    endpoint: int
    packet: bytes
    probe: bytes = b""


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the packet and count `reason`.

    `wrong` tells, of what a target returned, which field did not fit, and `is_late` whether it is of a flow that the
    target has not ended: see `former`. Two drops for one reason are equal.
    """

    reason: Reason
    wrong: Mismatch | None = field(default=None, compare=False)
    is_late: bool = field(default=False, compare=False)


Verdict = ToTarget | ToEndpoint | Reset | Drop
