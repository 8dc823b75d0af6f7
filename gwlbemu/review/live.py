"""What only a running lab can tell: dead nodes, targets that fail and why, and what became of packets.

Plain values in (`seen`), findings out. Every sentence is something that was seen or follows from it; where a cause was
not seen, none is named. What the user broke himself is told as that, and the one advice there is to heal it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from gwlbemu.core.elb.balancer_types import APPLICATION, ATTRIBUTES, GATEWAY, NETWORK
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.core.elb.target_group import GroupAttributes
from gwlbemu.review.balancing import CROSS_ZONE, zones_with_endpoints
from gwlbemu.review.finding import HINT, Finding, listed
from gwlbemu.review.live_drops import drop_findings
from gwlbemu.review.live_health import mend_of_health, why
from gwlbemu.review.live_traffic import traffic_findings
from gwlbemu.review.places import Places, healed_by
from gwlbemu.review.seen import OnPurpose, Seen, Targets
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.values import Node, Plan, TargetGroup


def live_findings(topology: Topology, plan: Plan, seen: Seen) -> Iterator[Finding]:
    """Yield what was seen to be wrong with a lab that is up."""
    places = Places(topology, plan)
    said = {node: targets for node, targets in seen.targets.items() if targets is not None}
    yield from _dead_nodes(plan, places, seen)
    yield from _changed_tables(plan, places, seen)
    yield from _stopped_proxies(plan, places, seen)
    yield from _stopped_resolver(seen)
    yield from _dead_programs(plan, places, seen)
    yield from _zones_without_health(topology, plan, places, seen, said)
    yield from _unhealthy_targets(topology, plan, places, seen, said)
    yield from traffic_findings(places, seen)
    yield from drop_findings(places, seen)
    yield from _unknown_counters(places, seen)
    yield from _passed_over_xdp(plan, seen)
    yield from _broken(places, seen, said)


def _dead_nodes(plan: Plan, places: Places, seen: Seen) -> Iterator[Finding]:
    for node in plan.nodes:
        if node.name in seen.targets and seen.targets[node.name] is None:
            kind, state = plan.node_types[node.name], seen.processes.get(node.name, "")
            text = _SILENT[kind](plan, node.name, state, f"load balancer {node.load_balancer} in zone {node.zone}")
            broken = seen.on_purpose(node.name, node.zone)
            again = "take the lab down and up" if kind == GATEWAY else f"gwlbemu heal node {node.name} starts it again"
            change = (
                healed_by(broken)
                if broken is not None
                else "nothing to change here: gwlbemu status tells whether it is frozen (gwlbemu heal process wakes it)"
                f" or dead (its log tells why; {again})"
            )
            yield Finding("dead-node", "error", text, places.balancer(node.load_balancer), change)


def _silent_gateway(plan: Plan, name: str, state: str, where: str) -> str:
    if state == "dead":
        return f"node {name} is dead: what reaches {where} is lost"
    if state == "frozen":
        goes_on = ", those that its fast path has go on" if plan.datapath != "python" else ""
        return f"node {name} is frozen: new flows that reach {where} are lost{goes_on}"
    return f"node {name} does not answer: what becomes of packets that reach {where} is unknown"


def _silent_keeper(carrier: str, name: str, state: str, where: str) -> str:
    goes_on = f"{carrier} goes on as it was told, and nobody checks the targets of {where}"
    is_what = f"is {state}" if state in ("dead", "frozen") else "does not answer"
    return f"the keeper of node {name} {is_what}: {goes_on}"


# What it means that a node is silent, by type of load balancer.
_SILENT: Mapping[str, Callable[[Plan, str, str, str], str]] = {
    GATEWAY: _silent_gateway,
    NETWORK: lambda _, name, state, where: _silent_keeper("the kernel", name, state, where),
    APPLICATION: lambda _, name, state, where: _silent_keeper("its proxy", name, state, where),
}
# What fails while a node's proxy does not run, by type of load balancer.
_WITHOUT_PROXY = {
    NETWORK: "connections that need it fail (TLS, proxy protocol, IPv6)",
    APPLICATION: "no request is answered, or not as the load balancer is set up now",
}


def _changed_tables(plan: Plan, places: Places, seen: Seen) -> Iterator[Finding]:
    """Somebody else, with nft for instance, has been at what a keeper wrote into the kernel of its node."""
    for node in plan.network_nodes:
        tables = seen.tables.get(node.name, "intact")
        if tables != "intact":
            means = "connections to it fail" if tables == "missing" else "what becomes of connections is not known"
            text = (
                f"the tables of node {node.name} are {tables}, and not by its keeper: {means}, for load balancer"
                f" {node.load_balancer} in zone {node.zone}"
            )
            change = f"nothing to change here: gwlbemu heal node {node.name} writes them anew"
            yield Finding("changed-tables", "error", text, places.balancer(node.load_balancer), change)


def _stopped_proxies(plan: Plan, places: Places, seen: Seen) -> Iterator[Finding]:
    """HAProxy does not run in a node that needs it, or not as its keeper wants it."""
    for node in plan.addressed_nodes:
        state = seen.proxies.get(node.name, "")
        if state not in ("", "running"):
            text = (
                f"the proxy of node {node.name} does not run as it should ({state}):"
                f" {_WITHOUT_PROXY[plan.node_types[node.name]]}, for load balancer {node.load_balancer} in zone"
                f" {node.zone}"
            )
            change = f"nothing to change here: gwlbemu heal node {node.name} starts it again"
            yield Finding("stopped-proxy", "error", text, places.balancer(node.load_balancer), change)


def _stopped_resolver(seen: Seen) -> Iterator[Finding]:
    state = seen.processes.get(RESOLVER, "")
    if state in ("dead", "frozen"):
        text = f"the resolver of the lab is {state}: no name is answered, neither an instance's nor a load balancer's"
        broken = seen.on_purpose(RESOLVER, "")
        again = "starts it again" if state == "dead" else "wakes it"
        change = f"nothing to change here: gwlbemu heal process {RESOLVER} {again}"
        yield Finding("stopped-resolver", "error", text, ("vpcs",), healed_by(broken) if broken is not None else change)


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
) -> Iterator[tuple[Node, TargetGroup, list[Mapping[str, Any]]]]:
    """Every node that packets can reach, with each of its groups and the targets there that its new flows could be sent
    to.
    """
    for node in plan.nodes:
        if plan.node_types[node.name] == GATEWAY and node.zone not in zones_with_endpoints(
            topology, node.load_balancer
        ):
            continue
        for group in plan.groups_of(node.load_balancer):
            everywhere = _cross_zone(plan, node.load_balancer, group)
            scope = [
                one
                for one in said.get(node.name, ())
                if one["target_group"] == group.name
                and one["state"] not in ("draining", "unused")
                and (everywhere or one["zone"] in (node.zone, EVERY_ZONE))
            ]
            if scope:
                yield node, group, scope


def _cross_zone(plan: Plan, name: str, group: TargetGroup) -> bool:
    """Whether cross-zone load balancing is on for a group: as the group says where its type lets it, else as the load
    balancer.
    """
    (balancer,) = (one for one in plan.load_balancers if one.name == name)
    attributes = ATTRIBUTES[balancer.type].from_text(balancer.attributes, target_group=group.attributes)
    return cast(GroupAttributes, attributes).cross_zone


def _zones_without_health(
    topology: Topology, plan: Plan, places: Places, seen: Seen, said: Mapping[str, Targets]
) -> Iterator[Finding]:
    """Fail open: new flows go to targets that are known to be unhealthy (guides, Health checks; TG-10, NL-07,
    AL-09).
    """
    for node, group, scope in _scope(topology, plan, said):
        if any(one["state"] == "healthy" for one in scope):
            continue
        states = ", ".join(f"{one['id']} is {one['state']}{why(places, seen, one)}" for one in scope)
        of = f" of {group.name}" if len(plan.groups_of(node.load_balancer)) > 1 else ""
        what = "requests" if plan.node_types[node.name] == APPLICATION else "new flows"
        text = f"{node.name} has no healthy target{of} ({states}): it fails open, {what} go to them all the same"
        others = {target.zone for target in group.targets} - {node.zone, EVERY_ZONE}
        path: Path = (*places.balancer(node.load_balancer), "attributes", CROSS_ZONE)
        change = f"{CROSS_ZONE}: true, so that healthy targets of other zones help"
        names = {("zone", str(one["zone"])) for one in scope} | {("", places.name(one)) for one in scope}
        broken = [each for each in seen.broken if (each.kind if each.kind == "zone" else "", each.name) in names]
        if broken:
            path, change = places.thing(broken[0].kind, broken[0].name), healed_by(*broken)
        elif _cross_zone(plan, node.load_balancer, group) or not others:
            path, change = mend_of_health(places, seen, node.load_balancer, group, scope)
        yield Finding("zone-without-health", "error", text, path, change)


def _unhealthy_targets(
    topology: Topology, plan: Plan, places: Places, seen: Seen, said: Mapping[str, Targets]
) -> Iterator[Finding]:
    """A target that fails while others of its zone work. One that was broken on purpose is told as that elsewhere."""
    told = set()
    for node, group, scope in _scope(topology, plan, said):
        if not any(one["state"] == "healthy" for one in scope):
            continue
        for one in scope:
            name = places.name(one)
            if one["state"] == "unhealthy" and (group.name, name) not in told:
                told.add((group.name, name))
                if seen.on_purpose(name, str(one["zone"])) is None:
                    text = f"target {name} is unhealthy for {node.name}{why(places, seen, one)}"
                    path, change = mend_of_health(places, seen, node.load_balancer, group, [one])
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
