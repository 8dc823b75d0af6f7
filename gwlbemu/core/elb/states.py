"""The states of a target, as DescribeTargetHealth reports them. Guide, Health checks for target groups, "Target health
status".

Of an unhealthy one the reason is Target.ResponseCodeMismatch, Target.Timeout or Target.FailedHealthChecks (Elastic Load
Balancing API, TargetHealth: all three apply to Gateway Load Balancers). The description begins with AWS's words.

A target is registered, draining or gone, and beside that its probes have found it healthy, unhealthy or nothing yet.
`status_of` turns the two into AWS's state, reason code and description. Draining by itself changes no connection; it
only ends new ones. What else becomes of the connections of a target that failed is a matter of each type.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Membership(Enum):
    """Where a target stands in its group."""

    REGISTERED = "registered"
    DRAINING = "draining"
    GONE = "gone"  # the deregistration delay has passed; kept only while connections still refer to it
    NOT_IN_USE = "not in use"  # registered, but its zone is not enabled for the load balancer


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


def status_of(
    membership: Membership, healthy: bool | None, has_probe_result: bool, reason: str = "", description: str = ""
) -> Status:
    """Return AWS's state for a target.

    `healthy` is what probes have found, None before a threshold was reached; `has_probe_result` tells whether any probe
    has come back; `reason` is why the last one that failed did, one of BY_REASON or of an unhealthy target's codes (""
    is Target.FailedHealthChecks), and `description` what was seen, "" for AWS's bare words.
    """
    if membership in _WHATEVER_THE_PROBES_SAY:
        return _WHATEVER_THE_PROBES_SAY[membership]
    if reason in BY_REASON and healthy is not True:
        known = BY_REASON[reason]
        return known._replace(description=description or known.description)
    if healthy is None and not has_probe_result:
        return REGISTERING
    if healthy is False and reason:
        return Status(UNHEALTHY.state, reason, description or UNHEALTHY.description)
    return _ROWS[membership, healthy]
