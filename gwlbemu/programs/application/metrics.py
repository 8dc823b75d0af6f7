"""CloudWatch's metrics (AWS/ApplicationELB) of one node, out of what its HAProxy counts: totals, and what is now.

ALB guide, CloudWatch metrics. Codes that the load balancer made itself are those that clients got less those that
targets gave; a request that is under way may be in the one and not in the other yet, so the highest that was seen
counts. Requests are those for which a target was chosen. Not counted is what nothing here counts: rule evaluations,
requests over IPv6, invalid headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gwlbemu.core.application.records import TargetHealth
from gwlbemu.programs.application import pages
from gwlbemu.programs.haproxy.keeping import Counters
from gwlbemu.programs.haproxy.master import Counted

Values = dict[str, float]
_OWN_CODES = (500, 502, 503, 504)
_VARIABLES = {
    "HTTP_Fixed_Response_Count": pages.FIXED,
    "HTTP_Redirect_Count": pages.REDIRECTED,
    "HTTP_Redirect_Url_Limit_Exceeded_Count": pages.TOO_LONG,
    "JWTValidationSuccessCount": pages.ACCEPTED,
    "JWTValidationFailureCount": pages.REFUSED,
}


class Traffic(NamedTuple):
    """What a target has had: connections that there are to it, requests, those that it has not answered yet."""

    connections: int = 0
    requests: int = 0
    in_flight: int = 0


class Metrics:
    """What there is to tell of a node's requests. `names` has the target group and the target of each server that there
    ever was.
    """

    def __init__(self, names: Mapping[str, tuple[str, str]]) -> None:
        self._names = names
        self._own: dict[str, int] = {}  # the highest that was seen of the codes of our own

    def of_node(self, counters: Counters, health: Iterable[TargetHealth]) -> Values:
        """Return the metrics of the load balancer in this zone."""
        fronts = [row for row in counters.ever if not row.server]
        servers = [row for row in counters.ever if row.server]
        living = [row for row in counters.living if row.server]
        found: Values = {
            "ActiveConnectionCount": sum(row.now for row in counters.living if not row.server)
            + sum(row.connections for row in living),
            "NewConnectionCount": sum(row.total for row in fronts) + sum(row.connects for row in servers),
            "ProcessedBytes": sum(row.bytes for row in fronts),
            "ClientTLSNegotiationErrorCount": sum(row.failed_handshakes for row in fronts),
        }
        found |= {name: counters.variables.get(variable, 0) for name, variable in _VARIABLES.items()}
        for code in (3, 4, 5):
            name = f"HTTPCode_ELB_{code}XX_Count"
            own = _responses(fronts, code) - _responses(servers, code)
            self._own[name] = max(self._own.get(name, 0), own)
            found[name] = self._own[name]
        for code in _OWN_CODES:
            found[f"HTTPCode_ELB_{code}_Count"] = counters.variables.get(f"elb_{code}", 0)
        return found | _of_targets(servers, living, list(health))

    def of_groups(self, counters: Counters, health: Iterable[TargetHealth]) -> dict[str, Values]:
        """Return the metrics of each target group in this zone."""
        by_group: dict[str, list[TargetHealth]] = {}
        for target in health:
            by_group.setdefault(target.target_group, []).append(target)
        found = {}
        for name, targets in by_group.items():
            ever, living = (
                [row for row in rows if self._names.get(row.server, ("", ""))[0] == name]
                for rows in (counters.ever, counters.living)
            )
            found[name] = _of_targets(ever, living, targets)
            used = [each for each in targets if each.is_seen and each.state not in ("unused", "draining")]
            found[name]["RequestCountPerTarget"] = found[name]["RequestCount"] / len(used) if used else 0
        return found


def traffic(counters: Counters) -> dict[str, Traffic]:
    """Return what each target has had, by its server's name."""
    found: dict[str, Traffic] = {}
    for row in counters.ever:
        if row.server:
            so_far = found.get(row.server, Traffic())
            found[row.server] = so_far._replace(requests=so_far.requests + row.total)
    for row in counters.living:
        if row.server:
            so_far = found[row.server]
            found[row.server] = Traffic(
                so_far.connections + row.connections, so_far.requests, so_far.in_flight + row.now
            )
    return found


def _of_targets(ever: list[Counted], living: list[Counted], health: list[TargetHealth]) -> Values:
    states = [each.state for each in health if each.is_seen]
    weight = sum(row.total for row in living if row.response_seconds)
    found: Values = {
        "RequestCount": sum(row.total for row in ever),
        "TargetConnectionErrorCount": sum(row.failed_connects for row in ever),
        "TargetTLSNegotiationErrorCount": sum(row.failed_handshakes for row in ever),
        # A mean of what was measured last, weighted by requests.
        "TargetResponseTime": sum(row.response_seconds * row.total for row in living) / weight if weight else 0.0,
        "HealthyHostCount": states.count("healthy"),
        "UnHealthyHostCount": states.count("unhealthy"),
    }
    return found | {f"HTTPCode_Target_{code}XX_Count": _responses(ever, code) for code in (2, 3, 4, 5)}


def _responses(rows: Iterable[Counted], code: int) -> int:
    return sum(row.responses[code - 1] for row in rows)
