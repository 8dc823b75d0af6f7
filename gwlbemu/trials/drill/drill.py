"""A failover drill: live TCP connections through a lab, an event, and what became of each connection.

The order of a run: set the policy, start the traffic, note who carries what, apply the event, let the failure be found,
open new connections, wait until each connection's fate is plain, put everything back and see that no live flow moves
for that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gwlbemu.errors import LabError
from gwlbemu.lab.control import TIMEOUT
from gwlbemu.lab.running import RunningLab
from gwlbemu.trials.drill.actions import DrillEvent, NodeClocks, deregistration_delay, wait_noticed, wait_recovered
from gwlbemu.trials.drill.judge import (
    Evidence,
    contract_checks,
    finds_failures,
    gateway_notes,
    gateway_policy_check,
    judge,
)
from gwlbemu.trials.drill.live import (
    WARM_UP_SECONDS,
    Run,
    Tell,
    Watch,
    live_traffic,
    moved_since,
    newcomers,
    wait_for_fates,
    wait_for_traffic,
)
from gwlbemu.trials.drill.network import network_policy_check
from gwlbemu.trials.drill.network_watch import NetworkWatch
from gwlbemu.trials.drill.participants import (
    Participants,
    healthy_by_node,
    is_cut_off,
    is_hit,
    target_to_fail,
    targets_in,
    zone_to_lose,
)
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.drill.tables import flush_tables
from gwlbemu.trials.drill.watch import ConnectionWatch
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.metrics import read_counters
from gwlbemu.views.targets import read_targets

DOING = {"kill": "killing", "freeze": "freezing", "deregister": "deregistering", "zone": "losing zone"}


def run(
    lab: RunningLab, participants: Participants, event: str, policy: str, *, flows: int, tell: Tell = lambda _: None
) -> RunReport:
    """Do one event; the policy has been set. Everything is put back whatever happens.

    Raises LabError when the lab cannot do it, or does not recover.
    """
    with _watching(lab, participants) as watch, live_traffic(lab, participants, flows) as traffic:
        drill = Run(lab, participants, watch, NodeClocks(lab, participants.subject, watch.read), traffic, tell)
        tell(f"connections begin: {participants.client.name} to {', '.join(traffic)}")
        wait_for_traffic(drill)
        drill.before = drill.carriers()
        if not any(drill.before.values()):
            raise LabError(f"no load balancer sees the connections from {participants.client.name}")
        return flush_tables(drill, policy) if event == "tables" else _run_event(drill, event, policy)


@contextmanager
def _watching(lab: RunningLab, participants: Participants) -> Iterator[Watch]:
    if participants.subject.is_network:
        yield NetworkWatch(lab, participants.subject, participants.client.addresses, participants.servers)
        return
    with TraceSession(lab) as session:
        if session.silent:
            raise LabError("; ".join(session.silent.values()))
        yield ConnectionWatch(lab, session, {server.name: server.addresses for server in participants.servers})


def _run_event(drill: Run, event: str, policy: str) -> RunReport:
    subject = drill.participants.subject
    zone = zone_to_lose(drill.participants.servers) if event == "zone" else ""
    healthy = healthy_by_node(drill.lab, subject)
    struck = targets_in(subject.groups, zone) if zone else {target_to_fail(healthy, drill.before.values())}
    servers = {server.name: server for server in drill.participants.servers}
    drill.cut_off = {
        key
        for key, carriers in drill.before.items()
        if zone and is_cut_off(subject.nodes, servers[key.server], carriers, zone)
    }
    drill.hit = {key for key, carriers in drill.before.items() if is_hit(carriers, struck)} - drill.cut_off
    resets = _reset_counts(drill)
    drill_event = DrillEvent(drill.lab, subject, event, zone or next(iter(struck)))
    for process in drill.traffic.values():
        os.kill(process.pid, signal.SIGUSR1)
    drill.tell(f"{DOING[event]} {zone or ', '.join(struck)}; waiting until the nodes act on it")
    applied_at = time.monotonic()
    drill_event.apply()
    try:
        noticed = _let_it_take_effect(drill, event, struck, zone)
        after_seconds = drill.clocks.since(applied_at)
        came = drill.newcomers if event == "deregister" else newcomers(drill, zone)
        drill.tell("waiting until the fate of every connection is plain")
        flows = wait_for_fates(drill, applied_at, event, policy, noticed=noticed)
        evidence = Evidence(
            event=event,
            policy=policy,
            struck=tuple(sorted(struck)),
            zone=zone,
            noticed=noticed,
            after_seconds=after_seconds,
            flows=flows,
            jumps=list(drill.clocks.jumps),
            newcomers=came,
            others=_failed_too(drill.lab, healthy, struck),
            resets=_rise(resets, _reset_counts(drill)),
        )
    finally:
        drill.tell("everything is put back")
        drill_event.undo()
        wait_recovered(drill.lab, subject, drill.clocks, struck)
    evidence.moved_at_recovery = moved_since(drill, evidence)
    policy_check = network_policy_check if subject.is_network else gateway_policy_check
    notes = () if subject.is_network else gateway_notes(evidence)
    return judge(drill.lab, evidence, contract_checks(subject, evidence, policy_check), notes)


def _let_it_take_effect(drill: Run, event: str, struck: set[str], zone: str) -> bool:
    """Until the delay is over, or the health checks that matter have found it; False when they do not."""
    subject = drill.participants.subject
    if event == "deregister":
        drill.clocks.wait(WARM_UP_SECONDS)
        drill.newcomers = newcomers(drill, zone)  # while the target drains
        drill.clocks.skip(deregistration_delay(subject, *struck))
        noticed = True
    else:
        nodes = {node.name for node in subject.nodes if node.zone != zone}
        used = any(each.id in struck and each.node in nodes for each in read_targets(drill.lab).complete())
        noticed = not used or wait_noticed(
            drill.lab, subject, drill.clocks, struck, zone, can_be=finds_failures(subject, event, struck)
        )
    drill.clocks.skip(float(drill.lab.plan.emulation.get("propagation_delay_seconds") or 0))
    return noticed


def _failed_too(lab: RunningLab, healthy: Mapping[str, set[str]], struck: set[str]) -> tuple[str, ...]:
    """The targets that nobody has struck and whose health checks fail all the same (a machine that is too slow)."""
    return tuple(
        f"{each.id} has failed its health checks, too, for {each.node}: {each.description}"
        for each in read_targets(lab).items
        if each.id in healthy.get(each.node, ()) and each.id not in struck and each.state.startswith("unhealthy")
    )


def _reset_counts(drill: Run) -> dict[str, int]:
    """How many resets each of the subject's nodes has sent."""
    subject = drill.participants.subject
    metric = "TCP_ELB_Reset_Count" if subject.is_network else "TCP_GWLB_Reset_Count"
    names = {node.name for node in subject.nodes}
    counters = read_counters(drill.lab, within_seconds=TIMEOUT).items
    return {node.node: int(node.values.get(metric, 0)) for node in counters if node.node in names}


def _rise(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """By how much the counts of the nodes have risen that told them both times."""
    return sum(after[node] - before[node] for node in before.keys() & after.keys())
