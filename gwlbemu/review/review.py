"""What is wrong with a topology that AWS accepts: every finding that can be made without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gwlbemu.review.balancing import balancing_findings
from gwlbemu.review.finding import SEVERITIES, Finding
from gwlbemu.review.instances import instance_findings, mtu_findings
from gwlbemu.review.routes import route_findings
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan.values import Plan


def review(topology: Topology, *, mtus: Mapping[str, int]) -> list[Finding]:
    """Return everything worth saying, the worst first.

    `mtus` has the MTU of each appliance's interface in bytes, by instance name (see `planned_mtus`).
    """
    return sorted_findings(
        [
            *route_findings(topology),
            *balancing_findings(topology),
            *instance_findings(topology),
            *mtu_findings(topology, mtus),
        ]
    )


def sorted_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with the worst first, otherwise in the order they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def planned_mtus(plan: Plan) -> dict[str, int]:
    """Return the MTU of the interface of every appliance, by its name: the smaller one of the link's two ends."""
    appliances = {one.namespace: one.name for one in plan.instances if one.appliance}
    found: dict[str, int] = {}
    for link in plan.links:
        for end in (link.a, link.b):
            if end.namespace in appliances:
                found[appliances[end.namespace]] = min(link.a.mtu, link.b.mtu)
    return found


def with_changes(topology: Topology, plan: Plan) -> Topology:
    """Return the topology as a running lab has it by now: targets and attributes are those of the lab's plan."""
    groups = {group.name: group for group in plan.target_groups}
    balancers = {balancer.name: balancer for balancer in plan.load_balancers}
    return topology.model_copy(
        update={
            "target_groups": tuple(
                group.model_copy(
                    update={
                        "targets": tuple(target.id for target in groups[group.name].targets),
                        "attributes": groups[group.name].attributes,
                    }
                )
                if group.name in groups
                else group
                for group in topology.target_groups
            ),
            "load_balancers": tuple(
                one.model_copy(update={"attributes": balancers[one.name].attributes}) if one.name in balancers else one
                for one in topology.load_balancers
            ),
        }
    )
