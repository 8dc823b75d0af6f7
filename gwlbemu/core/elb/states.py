"""The states of a target, as DescribeTargetHealth reports them. Guide, Health checks for target groups, "Target health
status".

Theory of operation. A target is registered, draining or gone, and beside that its probes have found it healthy,
unhealthy or nothing yet. `_ROWS` turns the two into AWS's state, reason code and description. What becomes of the flows
of a target that failed is its fate:

    situation                        no_rebalance    rebalance    TCP reset         guide, target group attributes
    registered or draining, healthy  CARRY           CARRY        CARRY             "existing flows continue"
    unhealthy                        CARRY           MOVE         RESET (*)         the keys ..on_unhealthy
    gone: delay has passed           CARRY           MOVE         RESET (*)         the keys ..on_deregistration
    (*) TCP only, and only with no_rebalance, which the attributes' own check has made sure of.

Draining by itself changes no flow; it only ends new ones. A fate is acted on by a flow's next packet, never before (AWS
networking blog, target failover, 10 Oct 2022).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from gwlbemu.core.elb.attributes import Attributes


class Membership(Enum):
    """Where a target stands in its group."""

    REGISTERED = "registered"
    DRAINING = "draining"
    GONE = "gone"  # the deregistration delay has passed; kept only while flows still name it
    NOT_IN_USE = "not in use"  # registered, but its zone is not enabled for the load balancer


class Fate(Enum):
    """What the next packet of a flow of this target meets."""

    CARRY = "carry"
    MOVE = "move"
    RESET = "reset"


class Status(NamedTuple):
    """AWS's words for a target's state; `reason` and `description` are empty for a healthy one."""

    state: str
    reason: str = ""
    description: str = ""


HEALTHY = Status("healthy")
UNHEALTHY = Status("unhealthy", "Target.FailedHealthChecks", "Health checks failed")
REGISTERING = Status("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = Status("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
DRAINING = Status("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
NOT_REGISTERED = Status("unused", "Target.NotRegistered", "Target is not registered to the target group")
NOT_IN_USE = Status(
    "unused", "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer"
)
INVALID_STATE = Status("unused", "Target.InvalidState", "Target is in the stopped state")
IP_UNUSABLE = Status("unused", "Target.IpUnusable", "Target IP address is in use by a load balancer")
INTERNAL_ERROR = Status("unavailable", "Elb.InternalError", "Health checks failed due to an internal error")

_ROWS: dict[tuple[Membership, bool | None], Status] = {
    (Membership.REGISTERED, None): CHECKING,
    (Membership.REGISTERED, True): HEALTHY,
    (Membership.REGISTERED, False): UNHEALTHY,
}
_WHATEVER_THE_PROBES_SAY = {
    Membership.DRAINING: DRAINING,
    Membership.GONE: NOT_REGISTERED,
    Membership.NOT_IN_USE: NOT_IN_USE,
}


# What the prober may say instead of a result: the instance behind the target is stopped, its address is a load
# balancer's, our own failure.
BY_REASON = {status.reason: status for status in (INVALID_STATE, IP_UNUSABLE, INTERNAL_ERROR)}


def status_of(membership: Membership, healthy: bool | None, probed: bool, reason: str = "") -> Status:
    """Return AWS's state for a target.

    `probed` tells whether any probe has come back, `reason` the prober's last word.
    """
    if membership in _WHATEVER_THE_PROBES_SAY:
        return _WHATEVER_THE_PROBES_SAY[membership]
    if reason in BY_REASON and healthy is not True:
        return BY_REASON[reason]
    if healthy is None and not probed:
        return REGISTERING
    return _ROWS[membership, healthy]


def fate_of(membership: Membership, healthy: bool | None, attributes: Attributes) -> Fate:
    """Return what the flows of such a target meet."""
    if membership is Membership.GONE:
        return _fate(attributes.rebalance, attributes.reset_on_deregistration)
    if healthy is False:
        return _fate(attributes.rebalance, attributes.reset_on_unhealthy)
    return Fate.CARRY


def _fate(rebalance: bool, reset: bool) -> Fate:
    return Fate.MOVE if rebalance else Fate.RESET if reset else Fate.CARRY
