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
_HIGHEST_STATUS = 599
_STATUS = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")
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

    Defaults: guide, Health checks for target groups (for GENEVE groups; `network_defaults` are those of the others).
    """

    protocol: str = "TCP"
    port: int = 80
    path: str = "/"
    interval_seconds: float = 10
    timeout_seconds: float = 5
    healthy_threshold_count: int = 5
    unhealthy_threshold_count: int = 2
    matcher: str = MATCHER


def status_ranges(matcher: str) -> tuple[tuple[int, int], ...]:
    """Return the HTTP statuses that a matcher such as "200,202" or "200-299" names, as lowest and highest of each part.

    Raises AwsError unless all of them are from 200 to 599 (ELBv2 API, Matcher).
    """
    ranges = []
    for part in matcher.split(","):
        found = _STATUS.fullmatch(part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 200 <= low <= high <= _HIGHEST_STATUS:
            raise AwsError(
                f"health check matcher '{matcher[:100]}' is not valid, expected statuses from 200 to {_HIGHEST_STATUS} "
                "such as 200,202 or 200-299"
            )
        ranges.append((low, high))
    return tuple(ranges)


def check_matcher(matcher: str, group_protocol: str) -> None:
    """Refuse a matcher that AWS refuses for a group of that protocol: one of GENEVE has 200-399 (ELBv2 API, Matcher).

    Raises AwsError.
    """
    if group_protocol != GENEVE:
        status_ranges(matcher)
    elif matcher != MATCHER:
        raise AwsError(f"health check matcher '{matcher[:100]}' is not valid, expected {MATCHER}")


def check_health_check(check: HealthCheck, group_protocol: str = GENEVE) -> HealthCheck:
    """Return `check` unchanged if AWS would take it for a target group of that protocol.

    Raises AwsError naming the setting and what was expected.
    """
    if check.protocol not in PROTOCOLS:
        raise AwsError(f"health check protocol '{check.protocol}' is not valid, expected {', '.join(PROTOCOLS)}")
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
    check_matcher(check.matcher, group_protocol)
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
