"""What becomes of packets in a real lab, as seen on its interfaces; no plan is asked where a packet should go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.paths.values import FlowKey
from gwlbemu.public import Lab
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.flows import read_flows
from gwlbemu.views.targets import read_targets
from gwlbemu.views.waiting import wait_until_healthy
from tests.differential.outcomes import ROUTERS, outcomes
from tests.differential.probes import Probe
from tests.differential.sightings import Observation
from tests.differential.watch import Watch, door, host, reflector, sent, tapped

QUIET = 0.1  # seconds without a frame, while no process has one in hand: kernels pass frames on at once
PATIENCE = 60.0  # seconds that a process may have a packet in hand
HEALTHY_WITHIN = 60.0


def observe(plan: Plan, probes: Sequence[Probe], secret: str, broken: tuple[str, str] | None = None) -> Observation:
    """Bring up a lab with this seed, send the probes, take the lab down; return what became of each probe.

    `broken` is what is made to fail before. Raises AssertionError when the targets of gateway load balancers do not
    become healthy, and when the packets do not come to rest.
    """
    gateways = {node.name for node in plan.gateway_nodes}
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(plan, wait=0, seed=secret))
        watch = Watch(plan)
        stack.callback(watch.close)
        commands = {program.instance for program in plan.programs if program.kind == "command"}
        for instance in plan.instances:
            if instance.name in commands:
                stack.enter_context(reflector(watch, instance))
        for instance in plan.instances:
            if not instance.appliance:
                stack.enter_context(host(watch, instance))
        for node in plan.addressed_nodes:
            stack.enter_context(door(watch, node))
        _until_healthy(watch, lab)
        if broken:
            lab.fail(*broken)
            _until_noticed(watch, lab, broken)
        found, flows = read_targets(lab.running).items, _flows(lab)
        for namespace in plan.namespaces:
            stack.enter_context(tapped(watch, namespace))
        before = _without_route(plan)
        session = stack.enter_context(TraceSession(lab.running))
        for probe in probes:
            stack.enter_context(sent(watch, probe))
            watch.turn(0)
        _until_still(watch, lab, session)
        counted = _without_route(plan)
    return Observation(
        tuple(outcomes(watch, probes)),
        {name: count - before[name] for name, count in counted.items() if not plan.addressed_nodes},
        Counter(one.resource for one in watch.sightings if one.what.error and not one.outgoing),
        {(each.node, each.id): each.state for each in found if each.node in gateways},
        {(each.node, each.target_group, each.id): each.state for each in found if each.node not in gateways},
        flows,
    )


def _flows(lab: Lab) -> dict[str, dict[FlowKey, str]]:
    """Return the flows that gateway load balancers have before there is any probe: those of health checks, which go by
    their addresses alone where a group is sticky.
    """
    gateways, found = {node.name for node in lab.plan.gateway_nodes}, dict[str, dict[FlowKey, str]]()
    for flow in read_flows(lab.running, 10_000).items if lab.plan.application_nodes else ():
        if flow.node in gateways:
            ends = flow.source, flow.source_port, flow.destination, flow.destination_port
            found.setdefault(flow.node, {})[flow.endpoint, flow.protocol, *ends] = flow.target
    return found


def _without_route(plan: Plan) -> dict[str, int]:
    """Return InNoRoutes of IPv4 (RFC 4293) and of IPv6 of each router."""
    found = {}
    for namespace in plan.namespaces:
        if namespace.role in ROUTERS:
            with inside(path_of(namespace.name)):
                lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
                six = Path("/proc/thread-self/net/snmp6").read_text().split()
            names, values = (line.split() for line in lines if line.startswith("IpExt:"))
            four = values[names.index("InNoRoutes")]
            found[namespace.resource] = int(four) + int(six[six.index("Ip6InNoRoutes") + 1])
    return found


# ---- waiting ---------------------------------------------------------------------------------------------------------
def _until_healthy(watch: Watch, lab: Lab) -> None:
    give_up_at = time.monotonic() + HEALTHY_WITHIN
    while troubles := _troubles(lab):
        dead = any(process.state == "dead" for process in lab.running.processes())
        assert not dead, "; ".join(troubles)
        assert time.monotonic() < give_up_at, "; ".join(troubles)
        watch.turn(0.05)


def _troubles(lab: Lab) -> list[str]:
    """What is not ready: of network and application load balancers, a target whose state is not known yet."""
    if not lab.plan.addressed_nodes:
        return wait_until_healthy(lab.running, 0)
    reading, gateways = read_targets(lab.running), {node.name for node in lab.plan.gateway_nodes}
    found = [each.sentence for each in reading.silent]
    for each in reading.items:
        if each.state == "initial" or (each.node in gateways and each.state != "healthy"):
            found.append(f"{each.id} is {each.state} for {each.node}: {each.description}")
    return found


def _until_noticed(watch: Watch, lab: Lab, broken: tuple[str, str]) -> None:
    """Wait until health checks have found what is broken, wherever they can."""
    give_up_at = time.monotonic() + HEALTHY_WITHIN
    kind, name = broken
    ends = (*lab.plan.instances, *lab.plan.addressed_nodes)
    gone = {one.address for one in ends if name in ((one.zone,) if kind == "zone" else (one.name,))}
    cut = {node.name for node in lab.plan.addressed_nodes if name in ((node.zone,) if kind == "zone" else (node.name,))}
    while True:
        left = [
            each
            for each in read_targets(lab.running).items
            if each.state == "healthy" and (each.address in gone or each.node in cut)
        ]
        if not left:
            return
        assert time.monotonic() < give_up_at, f"{left[0].id} is healthy for {left[0].node} after fail {kind} {name}"
        watch.turn(0.05)


def _until_still(watch: Watch, lab: Lab, session: TraceSession) -> None:
    """Handle frames until there are none, and no node and no appliance has one in hand."""
    give_up_at = time.monotonic() + PATIENCE
    appliances = {one.instance for one in lab.plan.programs if one.is_python_appliance}
    while True:
        while watch.turn(QUIET):
            assert time.monotonic() < give_up_at, "the lab does not come to rest"
        watch.events += session.read()
        if not watch.packets_in_hand() and _have_judged(watch, lab, appliances) and not watch.turn(QUIET):
            return
        assert time.monotonic() < give_up_at, f"nodes have {watch.packets_in_hand()} packets in hand"


def _have_judged(watch: Watch, lab: Lab, appliances: set[str]) -> bool:
    got = Counter(one.resource for one in watch.sightings if one.tunnel and not one.outgoing)
    counters = {name: lab.running.call(name, "status")["counters"] for name in appliances if got[name]}
    return all(int(counters[name]["received"]) >= got[name] for name in counters)
