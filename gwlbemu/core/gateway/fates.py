"""What becomes of the flows of a target that failed.

    situation                        no_rebalance    rebalance    TCP reset         guide, target group attributes
    registered or draining, healthy  CARRY           CARRY        CARRY             "existing flows continue"
    unhealthy                        CARRY           MOVE         RESET (*)         the keys ..on_unhealthy
    gone: delay has passed           CARRY           MOVE         RESET (*)         the keys ..on_deregistration
    (*) TCP only, and only with no_rebalance, which the attributes' own check has made sure of.

A fate is acted on by a flow's next packet, never before (AWS networking blog, target failover, 10 Oct 2022).
"""

from __future__ import annotations

from enum import Enum

from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.states import Membership


class Fate(Enum):
    """What the next packet of a flow of a target meets."""

    CARRY = "carry"  # it goes to the target as before
    MOVE = "move"  # the flow is bound to a healthy target
    RESET = "reset"  # the sender of a TCP packet gets a RST and the flow ends


def fate_of(membership: Membership, healthy: bool | None, attributes: GatewayAttributes) -> Fate:
    """Return what the flows of a target meet; `healthy` is None before its probes have decided."""
    if membership is Membership.GONE:
        return _fate(attributes.rebalance, attributes.reset_on_deregistration)
    if healthy is False:
        return _fate(attributes.rebalance, attributes.reset_on_unhealthy)
    return Fate.CARRY


def _fate(rebalance: bool, reset: bool) -> Fate:
    return Fate.MOVE if rebalance else Fate.RESET if reset else Fate.CARRY
