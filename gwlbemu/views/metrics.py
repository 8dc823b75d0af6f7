"""The metrics of a lab as CloudWatch would name them: data points from what the nodes count.

There is one table per type of load balancer (`TABLES`): AWS's namespace for it, the word in its dimension, its metrics.

Rules of this file (GWLB, NLB and ALB guide, CloudWatch metrics). A node's counters are the data points of its
AvailabilityZone and LoadBalancer. Those of the LoadBalancer alone are made from its nodes' with the statistic that AWS
recommends: sums are added up, a peak is the highest of the nodes' peaks (the zones need not have peaked together), host
counts are Minimum and Maximum, because every node finds out about health for itself, and with cross-zone load balancing
they all look at the same targets. Concurrent flows are added up (AWS does not say). What an application load balancer
counts of targets it counts for each target group as well, and AWS has it in both forms; a mean of several nodes or
groups is weighted by their requests.

Not as on AWS. CloudWatch gets a value a minute, and only while there is traffic; here the period is the lab's life,
and every value is always there, so that scripts and Prometheus see a zero as a zero: `reported` tells whether
CloudWatch would have it. ConsumedLCUs is a price, not a behaviour, and left out. The namespace `gwlbemu` is ours.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.names import load_balancer_dimension, target_group_dimension
from gwlbemu.views.ask import PATIENCE, Reading, ask
from gwlbemu.views.port_drops import BLOCKED_METRICS, read_blocked

OURS = "gwlbemu"
AWS_GWLB, AWS_NLB, AWS_ALB = "AWS/GatewayELB", "AWS/NetworkELB", "AWS/ApplicationELB"
ALWAYS, NON_ZERO, HEALTH_CHECKS, REGISTERED = "always", "non-zero", "health checks enabled", "registered targets"
REQUESTS = "RequestCount"
DROPPED = "Dropped_"  # what the core's names of our own drop reasons begin with
AWS_DROPPED = "PacketsDroppedCount_"  # what AWS's names of drop reasons begin with


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known of a metric, whoever counts it. Units: the guide names none but Count; the others are plain."""

    namespace: str
    name: str
    unit: str  # Count | Bytes | Seconds | Count/Second | Bytes/Second
    statistics: tuple[str, ...]
    reporting: str = ALWAYS
    meaning: str = ""
    is_level: bool = False  # what is at the moment, though AWS adds it up
    weight: str = ""  # of a mean: the metric by which those of several nodes count


@dataclass(frozen=True, slots=True)
class MetricTable:
    """The metrics of one type of load balancer: AWS's namespace, the first word of the dimension LoadBalancer
    (word/name/id), and every metric by its name, AWS's and ours.
    """

    namespace: str
    dimension: str
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, slots=True)
class Point:
    """One metric of one load balancer (in one zone, where `dimensions` has an AvailabilityZone)."""

    metric: Metric
    dimensions: Mapping[str, str]
    statistics: Mapping[str, float]  # whole numbers, but for a mean of seconds

    @property
    def reported(self) -> bool:
        """Whether CloudWatch would have the value; host counts always: target groups are always checked."""
        return self.metric.reporting != NON_ZERO or any(self.statistics.values())

    def as_dict(self) -> dict[str, object]:
        """Return the form of `gwlbemu metrics --json`: the same keys for every point."""
        return {
            "namespace": self.metric.namespace,
            "metric": self.metric.name,
            "unit": self.metric.unit,
            "dimensions": dict(self.dimensions),
            "statistics": dict(self.statistics),
            "reporting": self.metric.reporting,
            "reported": self.reported,
        }


@dataclass(frozen=True, slots=True)
class NodeCounters:
    """What one node counted since it began, by the metrics' names (AWS's and ours).

    `counters["NewFlowCount"]` is one of them; KeyError for a name that the node does not count.
    """

    load_balancer: str
    type: str  # of the load balancer: a key of TABLES
    target_group: str  # the only one, or ""
    zone: str
    node: str
    values: Mapping[str, float]
    hosts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by target group, where there may be several
    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # what is counted by target group as well

    def __getitem__(self, name: str) -> float:
        return self.values[name]


_SUM, _PEAK, _NOW, _HOSTS = ("Sum",), ("Maximum",), ("Average",), ("Minimum", "Maximum")
_DROPPED = Metric(OURS, "PacketsDropped", "Count", _SUM, meaning="dropped for a reason that AWS does not count")
_GATEWAY = (
    Metric(AWS_GWLB, "ActiveFlowCount", "Count", _NOW, NON_ZERO, "concurrent flows"),
    Metric(AWS_GWLB, "NewFlowCount", "Count", _SUM, NON_ZERO, "new flows"),
    Metric(AWS_GWLB, "HealthyHostCount", "Count", _HOSTS, HEALTH_CHECKS, "targets that are healthy"),
    Metric(AWS_GWLB, "UnHealthyHostCount", "Count", _HOSTS, HEALTH_CHECKS, "targets that are unhealthy"),
    Metric(AWS_GWLB, "ProcessedBytes", "Bytes", _SUM, NON_ZERO, "to and from targets, without health checks"),
    Metric(AWS_GWLB, "ProcessedPackets", "Count", _SUM, ALWAYS, "to and from targets, with health checks"),
    Metric(AWS_GWLB, "PeakBytesPerSecond", "Bytes/Second", _PEAK, ALWAYS, "highest average of 10 seconds"),
    Metric(AWS_GWLB, "PeakPacketsPerSecond", "Count/Second", _PEAK, ALWAYS, "highest average of 10 seconds"),
    Metric(AWS_GWLB, "RejectedFlowCount", "Count", _SUM, ALWAYS, "flows rejected"),
    Metric(AWS_GWLB, "RejectedFlowCount_TCP", "Count", _SUM, NON_ZERO, "TCP flows rejected"),
    Metric(AWS_GWLB, "PacketsDroppedCount_InvalidGeneveTunnel", "Count", _SUM, ALWAYS, "returned, tunnel broken"),
    Metric(AWS_GWLB, "PacketsDroppedCount_InvalidGwlbEndpointId", "Count", _SUM, ALWAYS, "returned, endpoint unknown"),
    Metric(AWS_GWLB, "PacketsDroppedCount_InvalidGwlbFlowCookie", "Count", _SUM, ALWAYS, "returned, wrong cookie"),
    Metric(AWS_GWLB, "PacketsDroppedCount_MissingFlowEntry", "Count", _SUM, ALWAYS, "returned, no such flow"),
    Metric(AWS_GWLB, "TCP_GWLB_Reset_Count", "Count", _SUM, ALWAYS, "TCP resets sent by the load balancer"),
    _DROPPED,
    Metric(OURS, "MovedFlowCount", "Count", _SUM, meaning="flows given another target"),
    Metric(OURS, "CrossZoneBytes_ToTargets", "Bytes", _SUM, meaning="to targets of other zones"),
    Metric(OURS, "CrossZoneBytes_FromTargets", "Bytes", _SUM, meaning="from targets of other zones"),
    Metric(OURS, "packets_received", "Count", _SUM, meaning="packets that came to the node, from either side"),
    Metric(OURS, "verdicts", "Count", _SUM, meaning="packets judged; all that came"),
    Metric(OURS, "verdicts_to_target", "Count", _SUM, meaning="packets sent to a target"),
    Metric(OURS, "verdicts_to_endpoint", "Count", _SUM, meaning="packets handed back at an endpoint"),
    Metric(OURS, "verdicts_reset", "Count", _SUM, meaning="packets answered with a TCP reset"),
    Metric(OURS, "verdicts_drop", "Count", _SUM, meaning="packets dropped for any reason"),
)
_NETWORK = (
    Metric(AWS_NLB, "ActiveFlowCount", "Count", _NOW, ALWAYS, "concurrent connections"),
    Metric(AWS_NLB, "ActiveFlowCount_TCP", "Count", _NOW, NON_ZERO, "concurrent TCP connections"),
    Metric(AWS_NLB, "ActiveFlowCount_UDP", "Count", _NOW, NON_ZERO, "concurrent UDP flows"),
    Metric(AWS_NLB, "NewFlowCount", "Count", _SUM, ALWAYS, "new connections"),
    Metric(AWS_NLB, "NewFlowCount_TCP", "Count", _SUM, NON_ZERO, "new TCP connections"),
    Metric(AWS_NLB, "NewFlowCount_UDP", "Count", _SUM, NON_ZERO, "new UDP flows"),
    Metric(AWS_NLB, "HealthyHostCount", "Count", _HOSTS, REGISTERED, "targets that are healthy"),
    Metric(AWS_NLB, "UnHealthyHostCount", "Count", _HOSTS, REGISTERED, "targets that are unhealthy"),
    Metric(AWS_NLB, "ProcessedBytes", "Bytes", _SUM, ALWAYS, "of both directions, with TCP and IP headers"),
    Metric(AWS_NLB, "ProcessedBytes_TCP", "Bytes", _SUM, NON_ZERO, "of both directions, of TCP"),
    Metric(AWS_NLB, "ProcessedBytes_UDP", "Bytes", _SUM, NON_ZERO, "of both directions, of UDP"),
    Metric(AWS_NLB, "ProcessedPackets", "Count", _SUM, ALWAYS, "of both directions"),
    Metric(AWS_NLB, "TCP_Client_Reset_Count", "Count", _SUM, ALWAYS, "TCP resets that clients sent"),
    Metric(AWS_NLB, "TCP_Target_Reset_Count", "Count", _SUM, ALWAYS, "TCP resets that targets sent"),
    Metric(AWS_NLB, "TCP_ELB_Reset_Count", "Count", _SUM, ALWAYS, "TCP resets that the load balancer made"),
    *(
        Metric(AWS_NLB, metric, "Count", _SUM, NON_ZERO, "what would have begun a flow, refused by security groups")
        for metric in BLOCKED_METRICS.values()
    ),
    Metric(AWS_NLB, "PortAllocationErrorCount", "Count", _SUM, ALWAYS, "connections for which no port was left"),
)
_APPLICATION = (
    Metric(AWS_ALB, "ActiveConnectionCount", "Count", _SUM, NON_ZERO, "live, of clients and to targets", is_level=True),
    Metric(AWS_ALB, "NewConnectionCount", "Count", _SUM, NON_ZERO, "new, from clients and to targets"),
    Metric(AWS_ALB, "ClientTLSNegotiationErrorCount", "Count", _SUM, NON_ZERO, "TLS with clients that failed"),
    Metric(AWS_ALB, "ProcessedBytes", "Bytes", _SUM, NON_ZERO, "of requests and responses"),
    Metric(AWS_ALB, REQUESTS, "Count", _SUM, REGISTERED, "requests for which a target was chosen"),
    Metric(AWS_ALB, "HTTP_Fixed_Response_Count", "Count", _SUM, NON_ZERO, "fixed responses"),
    Metric(AWS_ALB, "HTTP_Redirect_Count", "Count", _SUM, NON_ZERO, "redirects"),
    Metric(AWS_ALB, "HTTP_Redirect_Url_Limit_Exceeded_Count", "Count", _SUM, NON_ZERO, "redirects too long"),
    *(
        Metric(AWS_ALB, f"HTTPCode_ELB_{code}_Count", "Count", _SUM, NON_ZERO, "made by the load balancer")
        for code in ("3XX", "4XX", "5XX", "500", "502", "503", "504")
    ),
    Metric(AWS_ALB, "JWTValidationSuccessCount", "Count", _SUM, NON_ZERO, "tokens that were valid"),
    Metric(AWS_ALB, "JWTValidationFailureCount", "Count", _SUM, NON_ZERO, "tokens that were not"),
    *(
        Metric(AWS_ALB, f"HTTPCode_Target_{code}_Count", "Count", _SUM, REGISTERED, "made by targets")
        for code in ("2XX", "3XX", "4XX", "5XX")
    ),
    Metric(AWS_ALB, "TargetResponseTime", "Seconds", _NOW, NON_ZERO, "until the response's head", weight=REQUESTS),
    Metric(AWS_ALB, "TargetConnectionErrorCount", "Count", _SUM, NON_ZERO, "connections to targets that failed"),
    Metric(AWS_ALB, "TargetTLSNegotiationErrorCount", "Count", _SUM, NON_ZERO, "TLS with targets that failed"),
    Metric(AWS_ALB, "RequestCountPerTarget", "Count", _SUM, ALWAYS, "the group's requests by its targets"),
    Metric(AWS_ALB, "HealthyHostCount", "Count", _HOSTS, REGISTERED, "targets that are healthy"),
    Metric(AWS_ALB, "UnHealthyHostCount", "Count", _HOSTS, REGISTERED, "targets that are unhealthy"),
)
TABLES = {
    GATEWAY: MetricTable(AWS_GWLB, "gateway", {metric.name: metric for metric in _GATEWAY}),
    NETWORK: MetricTable(AWS_NLB, "net", {metric.name: metric for metric in _NETWORK}),
    APPLICATION: MetricTable(AWS_ALB, "app", {metric.name: metric for metric in _APPLICATION}),
}
HOST_COUNTS = {"HealthyHostCount": "healthy", "UnHealthyHostCount": "unhealthy"}
_COMBINED: Mapping[str, Callable[[list[float]], float]] = {"Sum": sum, "Average": sum, "Maximum": max, "Minimum": min}


def read_counters(lab: RunningLab, *, within_seconds: float = PATIENCE) -> Reading[NodeCounters]:
    """Ask every node of the lab for its counters; nobody waits for one that is frozen, and for another's answer at most
    `within_seconds`. Raises NetError without root.
    """
    plan = lab.plan
    types = {balancer.name: balancer.type for balancer in plan.load_balancers}
    groups = {balancer.name: balancer.target_groups for balancer in plan.load_balancers}
    single = [node.name for node in plan.nodes if len(groups[node.load_balancer]) == 1]
    others = [node.name for node in plan.nodes if node.name not in single]
    answers, silent = ask(lab, single, {"metrics": {}}, within_seconds=within_seconds)
    if others:
        said, quiet = ask(lab, others, {"metrics": {}, "targets": {}}, within_seconds=within_seconds)
        answers, silent = answers | said, silent | quiet
    blocked = read_blocked(lab)  # by ports outside the nodes
    found = [
        NodeCounters(
            load_balancer=node.load_balancer,
            type=types[node.load_balancer],
            target_group=groups[node.load_balancer][0] if node.name in single else "",
            zone=node.zone,
            node=node.name,
            values=answers[node.name]["metrics"]["metrics"] | blocked.get(node.name, {}),
            hosts=_hosts(groups[node.load_balancer], answers[node.name]["targets"]["targets"])
            if node.name in others
            else {},
            by_group=answers[node.name]["metrics"].get("by_group", {}),
        )
        for node in plan.nodes
        if node.name in answers
    ]
    return Reading(tuple(found), tuple(silent.values()))


def _hosts(groups: Iterable[str], targets: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Count the hosts of each group, whose counters are of all groups together."""
    known = list(targets)
    return {
        group: {
            name: sum(each["target_group"] == group and str(each["state"]).startswith(state) for each in known)
            for name, state in HOST_COUNTS.items()
        }
        for group in groups
    }


def points(counters: Iterable[NodeCounters]) -> list[Point]:
    """Return the data points of every load balancer as a whole, then of each zone; of the nodes that answered."""
    nodes = list(counters)
    found: list[Point] = []
    for balancer in dict.fromkeys(node.load_balancer for node in nodes):
        mine = [node for node in nodes if node.load_balancer == balancer]
        dimension = {"LoadBalancer": load_balancer_dimension(TABLES[mine[0].type].dimension, balancer)}
        found += _points(mine, dimension)
        for node in mine:
            found += _points([node], {"AvailabilityZone": node.zone} | dimension)
    return found


def total(nodes: Sequence[NodeCounters], name: str) -> float:
    """Return a counter of nodes added up; a mean is that of all their requests."""
    metric = TABLES[nodes[0].type].metrics.get(name)
    if metric is None or not metric.weight:
        return sum(node[name] for node in nodes)
    return next(iter(_statistics(metric, name, [node.values for node in nodes]).values()))


def drop_counts(metrics: Mapping[str, int]) -> dict[str, int]:
    """Return how many packets were dropped by reason, AWS's reasons and ours, out of a node's counters."""
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        for prefix in (AWS_DROPPED, DROPPED)
        if name.startswith(prefix)
    }


def _points(nodes: list[NodeCounters], dimensions: dict[str, str]) -> Iterable[Point]:
    known = TABLES[nodes[0].type].metrics
    counted = [node.values for node in nodes]
    order = {name: number for number, name in enumerate(known)}
    for name in sorted(nodes[0].values, key=lambda each: order.get(each, len(order))):
        reason = {"Reason": name.removeprefix(DROPPED)} if name.startswith(DROPPED) else {}
        metric = _DROPPED if reason else known.get(name, Metric(OURS, name, "Count", _SUM))
        if metric.statistics is _HOSTS:
            yield from _host_points(nodes, dimensions, metric)
            continue
        yield Point(metric, dimensions | reason, _statistics(metric, name, counted))
    for group in dict.fromkeys(group for node in nodes for group in node.by_group):
        yield from _group_points(nodes, dimensions | {"TargetGroup": target_group_dimension(group)}, group)


def _group_points(nodes: list[NodeCounters], dimensions: dict[str, str], group: str) -> Iterable[Point]:
    """What is counted of one target group; host counts come from every node by itself."""
    known = TABLES[nodes[0].type].metrics
    counted = [node.by_group[group] for node in nodes if group in node.by_group]
    for name in known:
        if any(name in each for each in counted) and known[name].statistics is not _HOSTS:
            yield Point(known[name], dimensions, _statistics(known[name], name, counted))


def _statistics(metric: Metric, name: str, counted: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The statistics of one metric out of what several nodes have counted under `name`."""
    values = [each.get(name, 0) for each in counted]
    if not metric.weight:
        return {statistic: _COMBINED[statistic](values) for statistic in metric.statistics}
    weights = [each.get(metric.weight, 0) for each in counted]
    mean = sum(map(operator.mul, values, weights)) / (sum(weights) or 1)
    return dict.fromkeys(metric.statistics, round(mean, 6))


def _host_points(nodes: list[NodeCounters], dimensions: dict[str, str], metric: Metric) -> Iterable[Point]:
    """A point for each target group."""
    name = metric.name
    for group in nodes[0].hosts or filter(None, (nodes[0].target_group,)):
        values = [node.hosts[group][name] if node.hosts else node.values.get(name, 0) for node in nodes]
        statistics = {statistic: _COMBINED[statistic](values) for statistic in metric.statistics}
        yield Point(metric, dimensions | {"TargetGroup": target_group_dimension(group)}, statistics)
