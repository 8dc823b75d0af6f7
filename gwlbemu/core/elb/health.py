"""Health checks: the numbers AWS allows, and counting results against thresholds.

Who opens the connection is another room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from gwlbemu.errors import AwsError

PROTOCOLS = ("TCP", "HTTP", "HTTPS")
MATCHER = "200-399"
GENEVE = "GENEVE"
GRPC = "GRPC"  # a target group's protocol version, with a matcher and a path of its own
APPLICATION_PROTOCOLS = ("HTTP", "HTTPS")  # of an application load balancer's target groups and their health checks
_STATUSES, _APPLICATION_STATUSES, _GRPC_CODES = (200, 599), (200, 499), (0, 99)
_RANGE = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")
# Our choice: the ports that nodes of network and application load balancers probe from, and nothing else. A node's
# connections for clients have others: core.network.tables.NODE_PORTS, and what the kernel gives engines (32768 on).
CHECK_PORTS = range(9512, 10536)
TRAFFIC_PORT = 0  # a health check's port: the one at which each target takes connections ("traffic-port")
# Guide, Health checks for target groups: the range of each setting.
RANGES = {
    "port": (1, 65535),
    "interval_seconds": (5, 300),
    "timeout_seconds": (2, 120),
    "healthy_threshold_count": (2, 10),
    "unhealthy_threshold_count": (2, 10),
}


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A target group's health check; times are seconds, `path` and `matcher` are for HTTP and HTTPS; `port` may be
    TRAFFIC_PORT.

    Defaults: guide, Health checks for target groups (for GENEVE groups; `network_defaults` and `application_defaults`
    are those of the others).
    """

    protocol: str = "TCP"
    port: int = 80
    path: str = "/"
    interval_seconds: float = 10
    timeout_seconds: float = 5
    healthy_threshold_count: int = 5
    unhealthy_threshold_count: int = 2
    matcher: str = MATCHER


def status_ranges(matcher: str, group_protocol: str = "TCP", protocol_version: str = "") -> tuple[tuple[int, int], ...]:
    """Return what a matcher such as "200,202" or "200-299" names, as lowest and highest of each part: HTTP statuses, of
    a group with the protocol version GRPC gRPC's codes.

    Raises AwsError unless all of them are from 200 to 599, of an application load balancer's group from 200 to 499,
    with GRPC from 0 to 99 (ELBv2 API, Matcher).
    """
    lowest, highest = _STATUSES
    if protocol_version == GRPC:
        lowest, highest = _GRPC_CODES
    elif group_protocol in APPLICATION_PROTOCOLS:
        lowest, highest = _APPLICATION_STATUSES
    ranges = []
    for part in matcher.split(","):
        found = _RANGE.fullmatch(part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (-1, -1)
        if not lowest <= low <= high <= highest:
            what = "gRPC codes from 0 to 99 such as 0,12 or 0-5"
            if protocol_version != GRPC:
                what = f"statuses from {lowest} to {highest} such as 200,202 or 200-299"
            raise AwsError(f"health check matcher '{matcher[:100]}' is not valid, expected {what}")
        ranges.append((low, high))
    return tuple(ranges)


def check_matcher(matcher: str, group_protocol: str, protocol_version: str = "") -> None:
    """Refuse a matcher that AWS refuses for such a group (see `status_ranges`); one of GENEVE has 200-399.

    Source: ELBv2 API, Matcher. Raises AwsError.
    """
    if group_protocol != GENEVE:
        status_ranges(matcher, group_protocol, protocol_version)
    elif matcher != MATCHER:
        raise AwsError(f"health check matcher '{matcher[:100]}' is not valid, expected {MATCHER}")


def check_health_check(check: HealthCheck, group_protocol: str = GENEVE, protocol_version: str = "") -> HealthCheck:
    """Return `check` unchanged if AWS would take it for a target group of that protocol and protocol version.

    Raises AwsError naming the setting and what was expected.
    """
    protocols = APPLICATION_PROTOCOLS if group_protocol in APPLICATION_PROTOCOLS else PROTOCOLS
    if check.protocol not in protocols:
        raise AwsError(f"health check protocol '{check.protocol}' is not valid, expected {', '.join(protocols)}")
    for name, (low, high) in RANGES.items():
        value = getattr(check, name)
        if name == "port" and value == TRAFFIC_PORT and group_protocol != GENEVE:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
            or value != int(value)
        ):
            raise AwsError(f"health check {name} {value!r} is not valid, expected a whole number from {low} to {high}")
    # "must be >= timeout" in the guide; the API refuses equality for HTTP and HTTPS (moto, verified against AWS).
    if check.timeout_seconds > check.interval_seconds:
        raise AwsError(
            f"health check timeout_seconds {check.timeout_seconds} must be smaller than or equal to "
            f"interval_seconds {check.interval_seconds}"
        )
    if check.protocol != "TCP" and check.timeout_seconds == check.interval_seconds:
        raise AwsError(
            f"health check timeout_seconds {check.timeout_seconds} must be smaller than "
            f"interval_seconds {check.interval_seconds} for {check.protocol}"
        )
    check_matcher(check.matcher, group_protocol, protocol_version)
    if check.protocol != "TCP" and (not check.path.startswith("/") or len(check.path) > 1024):
        raise AwsError(
            f"health check path '{check.path}' is not valid, expected at most 1024 characters starting with /"
        )
    return check


def network_defaults(protocol: str) -> dict[str, int]:
    """Return the defaults of a network load balancer's group that is probed by `protocol`, where they are its own.

    Source: NLB guide, Health checks for target groups; ELBv2 API, CreateTargetGroup.
    """
    return {"port": TRAFFIC_PORT, "interval_seconds": 30, "timeout_seconds": 6 if protocol == "HTTP" else 10}


def application_defaults(protocol_version: str) -> dict[str, str | int]:
    """Return the defaults of an application load balancer's group with this protocol version, where they are its own.

    Source: ALB guide, Health checks for your target groups; ELBv2 API, CreateTargetGroup.
    """
    grpc = protocol_version == GRPC
    return {
        "protocol": "HTTP",
        "port": TRAFFIC_PORT,
        "path": "/AWS.ALB/healthcheck" if grpc else "/",
        "interval_seconds": 30,
        "timeout_seconds": 5,
        "matcher": "12" if grpc else "200",
    }


class Health(NamedTuple):
    """What the probes of one target said so far. `healthy` is None until a threshold was reached for the first time.

    `streak` counts results in a row that speak against `healthy`; before the first decision passes count up, failures
    down.
    """

    healthy: bool | None = None
    streak: int = 0

    def observe(self, ok: bool, healthy_threshold: int, unhealthy_threshold: int) -> Health:
        """Return the health after one more probe result; the thresholds are how many in a row decide."""
        if ok is self.healthy:
            return Health(ok, 0)
        if self.healthy is None and (self.streak > 0) is not ok:
            streak = 1  # a first result, or one against those before
        else:
            streak = abs(self.streak) + 1
        if streak >= (healthy_threshold if ok else unhealthy_threshold):
            return Health(ok, 0)
        return Health(self.healthy, streak if ok else -streak)
