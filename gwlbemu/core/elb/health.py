"""Health checks: the numbers AWS allows, and counting results against thresholds.

Who opens the connection is another room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gwlbemu.errors import AwsError

PROTOCOLS = ("TCP", "HTTP", "HTTPS")
MATCHER = "200-399"
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

    Defaults: guide, Health checks for target groups (for GENEVE groups).
    """

    protocol: str = "TCP"
    port: int = 80
    path: str = "/"
    interval_seconds: float = 10
    timeout_seconds: float = 5
    healthy_threshold_count: int = 5
    unhealthy_threshold_count: int = 2
    matcher: str = MATCHER


def check_health_check(check: HealthCheck) -> HealthCheck:
    """Return `check` unchanged if AWS would take it. Raises AwsError naming the setting and what was expected."""
    if check.protocol not in PROTOCOLS:
        raise AwsError(f"health check protocol '{check.protocol}' is not valid, expected {', '.join(PROTOCOLS)}")
    for name, (low, high) in RANGES.items():
        value = getattr(check, name)
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
    if check.matcher != MATCHER:
        raise AwsError(f"health check matcher '{check.matcher}' is not valid, expected {MATCHER}")
    if check.protocol != "TCP" and (not check.path.startswith("/") or len(check.path) > 1024):
        raise AwsError(
            f"health check path '{check.path}' is not valid, expected at most 1024 characters starting with /"
        )
    return check


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
