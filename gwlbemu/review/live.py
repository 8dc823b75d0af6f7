"""What only a running lab can tell: targets that are healthy and give nothing back, zones without a healthy target.

Plain values in, findings out: `answers` are the nodes' own words (`targets` of the control socket), by node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.review.balancing import CROSS_ZONE, cross_zone, zones_of_targets, zones_with_endpoints
from gwlbemu.review.finding import Finding
from gwlbemu.review.instances import instances_by_name
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan.values import Plan

ENOUGH = 5  # packets to a target; fewer may be on their way, or a firewall's honest denial of one client

Targets = Sequence[Mapping[str, Any]]


def live_findings(topology: Topology, plan: Plan, answers: Mapping[str, Targets | None]) -> Iterator[Finding]:
    """Yield dead nodes, zones without a healthy target, and targets that return nothing.

    `answers` has by node what it says about its targets (see `Balancer.target_health`), None when it does not answer.
    """
    yield from _dead_nodes(topology, plan, answers)
    said = {node: targets for node, targets in answers.items() if targets is not None}
    yield from _zones_without_health(topology, plan, said)
    yield from _silent_targets(topology, plan, said)


def _balancer_path(topology: Topology, name: str) -> Path:
    return ("load_balancers", [one.name for one in topology.load_balancers].index(name))


def _dead_nodes(topology: Topology, plan: Plan, answers: Mapping[str, Targets | None]) -> Iterator[Finding]:
    for node in plan.gateway_nodes:
        if node.name in answers and answers[node.name] is None:
            lost = f"what reaches load balancer {node.load_balancer} in zone {node.zone} is lost"
            text = f"node {node.name} does not answer: {lost}"
            change = (
                "nothing to change here: gwlbemu status tells whether it is frozen (gwlbemu heal process wakes it) or"
                " dead (its log tells why; take the lab down and up)"
            )
            yield Finding("dead-node", "error", text, _balancer_path(topology, node.load_balancer), change)


def _zones_without_health(topology: Topology, plan: Plan, answers: Mapping[str, Targets]) -> Iterator[Finding]:
    """Fail open: new flows go to targets that are known to be unhealthy (guide, Health checks; contract TG-10)."""
    balancers = {balancer.name: balancer for balancer in topology.load_balancers}
    groups = {group.name: group for group in topology.target_groups}
    for node in plan.gateway_nodes:
        balancer = balancers[node.load_balancer]
        everywhere = cross_zone(balancer)
        zones = {node.zone, EVERY_ZONE}
        registered = [one for one in answers.get(node.name, ()) if one["state"] not in ("draining", "unused")]
        scope = [one for one in registered if everywhere or one["zone"] in zones]
        if not scope or node.zone not in zones_with_endpoints(topology, balancer.name):
            continue
        if all(one["state"] != "healthy" for one in scope):
            states = ", ".join(f"{one['id']} is {one['state']}" for one in scope)
            text = f"{node.name} has no healthy target ({states}): it fails open, to targets that do not work"
            change = f"{CROSS_ZONE}: true, so that healthy targets of other zones help"
            homes = [zones_of_targets(topology, groups[name]) for name in balancer.target_groups()]
            others = {zone for home in homes for zone in home.values()} - zones
            if everywhere or not others:
                change = "nothing to change here: no zone has a healthy target (gwlbemu targets tells why)"
            path = (*_balancer_path(topology, balancer.name), "attributes", CROSS_ZONE)
            yield Finding("zone-without-health", "error", text, path, change)


def _silent_targets(topology: Topology, plan: Plan, answers: Mapping[str, Targets]) -> Iterator[Finding]:
    """A health check says that a port is open, not that packets come back."""
    instances = instances_by_name(topology)
    by_address = {instance.address: instance.name for instance in plan.instances if instance.appliance}
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for node in plan.gateway_nodes:
        for one in answers.get(node.name, ()):
            if one["state"] == "healthy":
                name: str = by_address.get(str(one["address"]), str(one["id"]))
                sent, returned = counts.get((node.load_balancer, name), (0, 0))
                counts[node.load_balancer, name] = sent + one["packets_to"], returned + one["packets_from"]
    for (balancer, name), (sent, returned) in counts.items():
        if sent >= ENOUGH and not returned:
            path = (*instances[name][0], "program") if name in instances else _balancer_path(topology, balancer)
            text = f"target {name} of load balancer {balancer} is healthy and has returned none of {sent} packets"
            change = (
                "a program that sends back what it lets pass: outer addresses swapped, port 6081, the GENEVE header"
                " unchanged (its log tells whether a rule denies everything)"
            )
            yield Finding("silent-target", "warning", text, path, change)
