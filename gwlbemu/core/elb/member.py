"""A target as a member of its group: registered or leaving, what its probes say, and what packets meet of both."""

from __future__ import annotations

import math

from gwlbemu.core.elb.health import Health
from gwlbemu.core.elb.states import DRAINING, Membership, Status, status_of
from gwlbemu.core.elb.target import Target


class Member:
    """One target of a group, as one node of a load balancer sees it. Times are seconds on the caller's clock.

    `membership`, `health` and `reason` are what is known; `in_service` (new connections may be sent to it) and
    `is_healthy` are what packets meet, which follows after the propagation delay. `weight_index` is the index of its
    weight among the weights of a connection (see `choice`), its own for as long as it is in the group. `is_local` says
    that it is in the node's zone or in every zone. Only its group changes a member.
    """

    __slots__ = (
        "address", "description", "draining_ends_at", "has_probe_result", "health", "id", "in_service", "is_healthy",
        "is_local", "membership", "place", "port", "reason", "takes_effect_at", "weight_index", "zone",
    )  # fmt: skip

    def __init__(self, target: Target, weight_index: int, is_local: bool) -> None:
        self.id, self.address, self.zone = target.id, target.address, target.zone
        self.port, self.place = target.port, target.place
        self.weight_index = weight_index
        self.is_local = is_local
        self.membership = Membership.REGISTERED
        self.health = Health()
        self.has_probe_result = False
        self.reason = self.description = ""  # why the last probe that failed did: AWS's code, and what was seen
        self.draining_ends_at = math.inf
        self.takes_effect_at = -math.inf  # when its last change reaches the packets
        self.in_service = self.is_healthy = False

    @property
    def is_registered(self) -> bool:
        """Whether it is registered with the group, in an enabled zone or not; a draining target no longer is."""
        return self.membership in (Membership.REGISTERED, Membership.NOT_IN_USE)

    @property
    def is_referenced(self) -> bool:
        """Whether the load balancer still has connections of it, so that it cannot be forgotten yet."""
        return False

    @property
    def status(self) -> Status:
        """AWS's state, reason code and description of the target, as DescribeTargetHealth reports them."""
        if self.membership is Membership.GONE and self.in_service:
            return DRAINING  # without a deregistration delay, until the change has reached the packets
        return status_of(self.membership, self.health.healthy, self.has_probe_result, self.reason, self.description)

    def start_over(self) -> None:
        """Forget what probes have said, as of a target that has just been registered."""
        self.health, self.has_probe_result, self.reason, self.description = Health(), False, "", ""
