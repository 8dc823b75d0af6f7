"""The metrics of a lab as CloudWatch would name them: data points from what the nodes count.

Rules of this file (GWLB guide, CloudWatch metrics). A node's counters are the data points of its AvailabilityZone and
LoadBalancer. Those of the LoadBalancer alone are made from its nodes' with the statistic that AWS recommends: sums are
added up, a peak is the highest of the nodes' peaks (the zones need not have peaked together), host counts are
Minimum and Maximum, because every node finds out about health for itself, and with cross-zone load balancing they all
look at the same targets. Concurrent flows are added up (AWS does not say).

Not as on AWS. CloudWatch gets a value a minute, and only while there is traffic; here the period is the lab's life,
and every value is always there, so that scripts and Prometheus see a zero as a zero: `reported` tells whether
CloudWatch would have it. ConsumedLCUs is a price, not a behaviour, and left out. The namespace `gwlbemu` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.names import load_balancer_dimension, target_group_dimension
from gwlbemu.views.snapshot import ask

AWS, OURS = "AWS/GatewayELB", "gwlbemu"
ALWAYS, NON_ZERO, HEALTH_CHECKS = "always", "non-zero", "health checks enabled"
DROPPED = "Dropped_"  # what the core's names of our own drop reasons begin with


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known of a metric, whoever counts it. Units: the guide names none but Count; the others are plain."""

    namespace: str
    name: str
    unit: str  # Count | Bytes | Count/Second | Bytes/Second
    statistics: tuple[str, ...]
    reporting: str = ALWAYS
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One metric of one load balancer (in one zone, where `dimensions` has an AvailabilityZone)."""

    metric: Metric
    dimensions: Mapping[str, str]
    statistics: Mapping[str, int]

    @property
    def reported(self) -> bool:
        """Whether CloudWatch would have the value; host counts always: GENEVE target groups are always checked."""
        return self.metric.reporting != NON_ZERO or any(self.statistics.values())

    def as_dict(self) -> dict[str, object]:
        """The form of `gwlbemu metrics --json`: the same keys for every point."""
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
    """What one node counted; `values` is None when it did not answer, `error` then says why."""

    load_balancer: str
    target_group: str
    zone: str
    node: str
    values: Mapping[str, int] | None
    error: str = ""


_SUM, _PEAK, _NOW, _HOSTS = ("Sum",), ("Maximum",), ("Average",), ("Minimum", "Maximum")
METRICS = {
    metric.name: metric
    for metric in (
        Metric(AWS, "ActiveFlowCount", "Count", _NOW, NON_ZERO, "concurrent flows"),
        Metric(AWS, "NewFlowCount", "Count", _SUM, NON_ZERO, "new flows"),
        Metric(AWS, "HealthyHostCount", "Count", _HOSTS, HEALTH_CHECKS, "targets that are healthy"),
        Metric(AWS, "UnHealthyHostCount", "Count", _HOSTS, HEALTH_CHECKS, "targets that are unhealthy"),
        Metric(AWS, "ProcessedBytes", "Bytes", _SUM, NON_ZERO, "to and from targets, without health checks"),
        Metric(AWS, "ProcessedPackets", "Count", _SUM, ALWAYS, "to and from targets, with health checks"),
        Metric(AWS, "PeakBytesPerSecond", "Bytes/Second", _PEAK, ALWAYS, "highest average of 10 seconds"),
        Metric(AWS, "PeakPacketsPerSecond", "Count/Second", _PEAK, ALWAYS, "highest average of 10 seconds"),
        Metric(AWS, "RejectedFlowCount", "Count", _SUM, ALWAYS, "flows rejected"),
        Metric(AWS, "RejectedFlowCount_TCP", "Count", _SUM, NON_ZERO, "TCP flows rejected"),
        Metric(AWS, "PacketsDroppedCount_InvalidGeneveTunnel", "Count", _SUM, ALWAYS, "returned, tunnel broken"),
        Metric(AWS, "PacketsDroppedCount_InvalidGwlbEndpointId", "Count", _SUM, ALWAYS, "returned, endpoint unknown"),
        Metric(AWS, "PacketsDroppedCount_InvalidGwlbFlowCookie", "Count", _SUM, ALWAYS, "returned, wrong cookie"),
        Metric(AWS, "PacketsDroppedCount_MissingFlowEntry", "Count", _SUM, ALWAYS, "returned, no such flow"),
        Metric(AWS, "TCP_GWLB_Reset_Count", "Count", _SUM, ALWAYS, "TCP resets sent by the load balancer"),
        Metric(OURS, "PacketsDropped", "Count", _SUM, meaning="dropped for a reason that AWS does not count"),
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
}
_COMBINED: Mapping[str, Callable[[list[int]], int]] = {"Sum": sum, "Average": sum, "Maximum": max, "Minimum": min}


def read_counters(lab: RunningLab) -> list[NodeCounters]:
    """Ask every node; nobody waits for one that is frozen."""
    groups = {balancer.name: balancer.target_group for balancer in lab.plan.load_balancers}
    processes = {process.name: process for process in lab.processes()}
    found = []
    for node in lab.plan.gateway_nodes:
        answer = ask(lab, processes.get(node.name), "metrics")
        error = f"{node.name}: {answer['error']}" if "error" in answer else ""
        place = (node.load_balancer, groups[node.load_balancer], node.zone, node.name)
        found.append(NodeCounters(*place, answer.get("metrics"), error))
    return found


def points(counters: Iterable[NodeCounters]) -> list[Point]:
    """Every load balancer as a whole, then in each zone; a node that does not answer is missing from both."""
    nodes = [node for node in counters if node.values is not None]
    found: list[Point] = []
    for balancer in dict.fromkeys(node.load_balancer for node in nodes):
        mine = [node for node in nodes if node.load_balancer == balancer]
        for some in (mine, *([node] for node in mine)):
            zone = {"AvailabilityZone": some[0].zone} if some is not mine else {}
            found += _points(some, zone | {"LoadBalancer": load_balancer_dimension(balancer)})
    return found


def _points(nodes: list[NodeCounters], dimensions: dict[str, str]) -> Iterable[Point]:
    for name in nodes[0].values or {}:
        values = [(node.values or {}).get(name, 0) for node in nodes]
        reason = {"Reason": name.removeprefix(DROPPED)} if name.startswith(DROPPED) else {}
        metric = METRICS["PacketsDropped"] if reason else METRICS.get(name, Metric(OURS, name, "Count", _SUM))
        group = {"TargetGroup": target_group_dimension(nodes[0].target_group)} if metric.statistics is _HOSTS else {}
        statistics = {statistic: _COMBINED[statistic](values) for statistic in metric.statistics}
        yield Point(metric, dimensions | group | reason, statistics)
