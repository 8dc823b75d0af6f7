"""What only a running lab can tell: dead nodes, targets that fail and why, and what became of packets.

Plain values in (`seen`), findings out. Every sentence is something that was seen or follows from it; where a cause was
not seen, none is named. What the user broke himself is told as that, and the one advice there is to heal it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.review.balancing import CROSS_ZONE, cross_zone, zones_of_targets, zones_with_endpoints
from gwlbemu.review.finding import HINT, Finding, listed
from gwlbemu.review.live_drops import drop_findings
from gwlbemu.review.live_health import mend_of_health, why
from gwlbemu.review.live_traffic import traffic_findings
from gwlbemu.review.places import Places, healed_by
from gwlbemu.review.seen import OnPurpose, Seen, Targets
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan.values import Plan


def live_findings(topology: Topology, plan: Plan, seen: Seen) -> Iterator[Finding]:
    """Yield what was seen to be wrong with a lab that is up."""
    places = Places(topology, plan)
    said = {node: targets for node, targets in seen.targets.items() if targets is not None}
    yield from _dead_nodes(plan, places, seen)
    yield from _dead_programs(plan, places, seen)
    yield from _zones_without_health(topology, plan, places, seen, said)
    yield from _unhealthy_targets(topology, plan, places, seen, said)
    yield from traffic_findings(places, seen)
    yield from drop_findings(places, seen)
    yield from _unknown_counters(places, seen)
    yield from _passed_over_xdp(plan, seen)
    yield from _broken(places, seen, said)


def _dead_nodes(plan: Plan, places: Places, seen: Seen) -> Iterator[Finding]:
    for node in plan.gateway_nodes:
        if node.name in seen.targets and seen.targets[node.name] is None:
            state, where = seen.processes.get(node.name, ""), f"load balancer {node.load_balancer} in zone {node.zone}"
            if state == "dead":
                text = f"node {node.name} is dead: what reaches {where} is lost"
            elif state == "frozen":
                text = f"node {node.name} is frozen: new flows that reach {where} are lost"
                if plan.datapath != "python":
                    text += ", those that its fast path has go on"
            else:
                text = f"node {node.name} does not answer: what becomes of packets that reach {where} is unknown"
            broken = seen.on_purpose(node.name, node.zone)
            change = (
                healed_by(broken)
                if broken is not None
                else "nothing to change here: gwlbemu status tells whether it is frozen (gwlbemu heal process wakes it)"
                " or dead (its log tells why; take the lab down and up)"
            )
            yield Finding("dead-node", "error", text, places.balancer(node.load_balancer), change)


def _dead_programs(plan: Plan, places: Places, seen: Seen) -> Iterator[Finding]:
    for instance in plan.instances:
        path = places.instance(instance.name, "program")
        known = seen.instances.get(instance.name)
        if path is None or known is None or seen.on_purpose(instance.name, instance.zone) is not None:
            continue
        words = f": {known.last_words}" if known.last_words else ""
        if known.program == "dead":
            text = f"the program of {instance.name} is dead{words}"
            change = f"a program that goes on running (gwlbemu heal instance {instance.name} starts it again)"
            yield Finding("dead-program", "error", text, path, change)
        elif known.program == "frozen":
            text = f"the program of {instance.name} is stopped (SIGSTOP), and not by gwlbemu fail"
            change = f"nothing to change here: gwlbemu heal process {instance.name} wakes it"
            yield Finding("frozen-program", "error", text, path, change)
        elif known.program == "ended":
            text = f"the program of {instance.name} has ended, and others that it started go on{words}"
            change = "nothing to change here, if it was meant to end; else a program that goes on running"
            yield Finding("ended-program", HINT, text, path, change)


def _unknown_counters(places: Places, seen: Seen) -> Iterator[Finding]:
    for name, instance in seen.instances.items():
        path = places.instance(name, "program")
        if instance.not_understood and path is not None:
            text = f"what {name} itself has counted is not known: {instance.not_understood}"
            yield Finding("unknown-counters", HINT, text, path, "nothing to change here: its log may tell why")


def _passed_over_xdp(plan: Plan, seen: Seen) -> Iterator[Finding]:
    """The kernel runs no generic XDP program for a frame that tc has redirected (net/core/dev.c, do_xdp_generic)."""
    generic = [name for name, instance in seen.instances.items() if instance.xdp == "xdpgeneric"]
    if plan.shortcuts and generic:
        text = (
            f"{listed(generic)} has a generic XDP program at its interface, and the lab has shortcuts: the kernel runs"
            " such a program for no frame that a shortcut hands over"
        )
        yield Finding("xdp-passed-over", "error", text, ("shortcuts",), "shortcuts: false")


def _scope(
    topology: Topology, plan: Plan, said: Mapping[str, Targets]
) -> Iterator[tuple[Any, list[Mapping[str, Any]]]]:
    """Every node that packets can reach, with the targets that its new flows could be sent to."""
    balancers = {balancer.name: balancer for balancer in topology.load_balancers}
    for node in plan.gateway_nodes:
        balancer = balancers[node.load_balancer]
        registered = [one for one in said.get(node.name, ()) if one["state"] not in ("draining", "unused")]
        everywhere = cross_zone(balancer)
        scope = [one for one in registered if everywhere or one["zone"] in (node.zone, EVERY_ZONE)]
        if scope and node.zone in zones_with_endpoints(topology, balancer.name):
            yield node, scope


def _zones_without_health(
    topology: Topology, plan: Plan, places: Places, seen: Seen, said: Mapping[str, Targets]
) -> Iterator[Finding]:
    """Fail open: new flows go to targets that are known to be unhealthy (guide, Health checks; contract TG-10)."""
    balancers = {balancer.name: balancer for balancer in topology.load_balancers}
    groups = {group.name: group for group in topology.target_groups}
    for node, scope in _scope(topology, plan, said):
        if any(one["state"] == "healthy" for one in scope):
            continue
        balancer = balancers[node.load_balancer]
        states = ", ".join(f"{one['id']} is {one['state']}{why(places, seen, one)}" for one in scope)
        text = f"{node.name} has no healthy target ({states}): it fails open, new flows go to them all the same"
        homes = [zones_of_targets(topology, groups[name]) for name in balancer.target_groups()]
        others = {zone for home in homes for zone in home.values()} - {node.zone, EVERY_ZONE}
        path: Path = (*places.balancer(balancer.name), "attributes", CROSS_ZONE)
        change = f"{CROSS_ZONE}: true, so that healthy targets of other zones help"
        names = {("zone", str(one["zone"])) for one in scope} | {("", places.name(one)) for one in scope}
        broken = [each for each in seen.broken if (each.kind if each.kind == "zone" else "", each.name) in names]
        if broken:
            path, change = places.thing(broken[0].kind, broken[0].name), healed_by(*broken)
        elif cross_zone(balancer) or not others:
            path, change = mend_of_health(places, seen, node.load_balancer, scope)
        yield Finding("zone-without-health", "error", text, path, change)


def _unhealthy_targets(
    topology: Topology, plan: Plan, places: Places, seen: Seen, said: Mapping[str, Targets]
) -> Iterator[Finding]:
    """A target that fails while others of its zone work. One that was broken on purpose is told as that elsewhere."""
    told = set()
    for node, scope in _scope(topology, plan, said):
        if not any(one["state"] == "healthy" for one in scope):
            continue
        for one in scope:
            name = places.name(one)
            if one["state"] == "unhealthy" and (node.load_balancer, name) not in told:
                told.add((node.load_balancer, name))
                if seen.on_purpose(name, str(one["zone"])) is None:
                    text = f"target {name} is unhealthy for {node.name}{why(places, seen, one)}"
                    path, change = mend_of_health(places, seen, node.load_balancer, [one])
                    yield Finding("unhealthy-target", "warning", text, path, change)


def _broken(places: Places, seen: Seen, said: Mapping[str, Targets]) -> Iterator[Finding]:
    for broken in seen.broken:
        follows = _consequences(places, broken, said)
        text = f"{broken.kind} {broken.name} is broken on purpose{follows}"
        yield Finding("broken-on-purpose", HINT, text, places.thing(broken.kind, broken.name), healed_by(broken))


def _consequences(places: Places, broken: OnPurpose, said: Mapping[str, Targets]) -> str:
    states = [
        f"{places.name(one)} is {one['state']} for {node}"
        for node, targets in said.items()
        for one in targets
        if one["state"] not in ("healthy", "unused")
        and broken.name == (one["zone"] if broken.kind == "zone" else places.name(one))
    ]
    return f" ({', '.join(states)})" if states else ""
