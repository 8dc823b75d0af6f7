"""What is wrong with a topology that AWS accepts: every finding that can be made without running it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gwlbemu.paths.values import Exchange
from gwlbemu.review.balancing import balancing_faults
from gwlbemu.review.fault import Fault, Key
from gwlbemu.review.finding import SEVERITIES, Finding
from gwlbemu.review.hints import hints
from gwlbemu.review.instances import instance_faults, mtu_faults
from gwlbemu.review.mends import Mend, Trial
from gwlbemu.review.network import network_faults
from gwlbemu.review.standing import standing_faults
from gwlbemu.review.talk import Pair, Talk
from gwlbemu.review.ways import Judge
from gwlbemu.topology.file.balancing import Target, TargetGroup
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import values as plan_values
from gwlbemu.topology.plan.values import Plan


def review(topology: Topology, *, mtus: Mapping[str, int]) -> list[Finding]:
    """Return everything worth saying, the worst first: one finding for each cause.

    `mtus` has the MTU of each appliance's interface in bytes, by instance name (see `planned_mtus`).
    """

    def look(talk: Talk, walks: dict[Pair, Exchange]) -> list[Fault]:
        return _faults(talk, walks, mtus)

    return list(_mended(Trial(Talk(topology), look)))


def _faults(talk: Talk, walks: dict[Pair, Exchange], mtus: Mapping[str, int]) -> list[Fault]:
    found = [
        *Judge(talk, walks).faults(),
        *balancing_faults(talk.topology),
        *network_faults(talk),
        *instance_faults(talk),
        *mtu_faults(talk.topology, mtus),
        *standing_faults(talk, walks),
        *hints(talk, walks),
    ]
    return sorted(found, key=lambda fault: SEVERITIES.index(fault.severity))


def _mended(trial: Trial) -> Iterator[Finding]:
    """Each fault with what mends it; what is gone by the mend of another one is the same cause.

    Of several faults with one cause that is told which the likeliest change mends.
    """
    told = set[Key]()
    for first in trial.now.faults:
        if first.key in told:
            continue
        fault, mend = first, trial.mend(first)
        for other in trial.now.faults if mend and mend.edit.rank else ():
            if mend and other.key in mend.mended - told - {first.key} and other.severity == first.severity:
                likelier = trial.mend(other, below=mend.edit.rank)
                if likelier and first.key in likelier.mended:
                    fault, mend = other, likelier
        told |= mend.mended if mend else {first.key}
        yield _finding(fault, mend)


def _finding(fault: Fault, mend: Mend | None) -> Finding:
    path = mend.edit.path if mend else fault.lines[0]
    also = tuple(each for each in sorted(fault.cause, key=str) if fault.pairs and path[: len(each)] != each)
    return Finding(fault.kind, fault.severity, fault.text, path, mend.edit.change if mend else "", also, tried=True)


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
                        "targets": tuple(_registered(group, target) for target in groups[group.name].targets),
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


def _registered(group: TargetGroup, target: plan_values.Target) -> Target:
    """A target of the plan as a file has it: with its port only where that is not the group's."""
    own = None if target.port == group.port else target.port
    return Target(id=target.id.removesuffix(f":{target.port}"), port=own)
