"""A failover drill: live TCP connections through a lab, an event, and what became of each connection.

The order of a run: set the policy, start the traffic, note who carries what, apply the event, let the failure be found,
open new connections, wait until each connection's fate is plain, put everything back and see that no live flow moves
for that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from gwlbemu.errors import LabError
from gwlbemu.lab.client import Client
from gwlbemu.lab.control import TIMEOUT
from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.traffic import ConnectionState
from gwlbemu.trials.drill.actions import DrillEvent, NodeClocks, deregistration_delay, wait_noticed, wait_recovered
from gwlbemu.trials.drill.judge import Evidence, FlowEvidence, judge
from gwlbemu.trials.drill.outcome import SILENT_SECONDS, Carriers
from gwlbemu.trials.drill.participants import (
    Participants,
    is_cut_off,
    is_hit,
    newest,
    start_traffic,
    target_to_fail,
    targets_in,
    zone_to_lose,
)
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.drill.watch import ConnectionKey, ConnectionWatch
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.metrics import read_counters
from gwlbemu.views.targets import read_targets

START_SECONDS = 30.0
WARM_UP_SECONDS = 0.5
NEWCOMERS = 4
DOING = {"kill": "killing", "freeze": "freezing", "deregister": "deregistering", "zone": "losing zone"}
Tell = Callable[[str], None]  # is given what goes on, a line for each phase
HOPELESS_SECONDS = 3.0  # without data: enough to call a connection lost that nothing can save


@dataclass(slots=True)
class _Run:
    """One run while it goes on."""

    lab: RunningLab
    participants: Participants
    port: int
    watch: ConnectionWatch
    clocks: NodeClocks
    traffic: dict[str, Client]
    tell: Tell
    before: dict[ConnectionKey, Carriers] = field(default_factory=dict)
    hit: set[ConnectionKey] = field(default_factory=set)
    cut_off: set[ConnectionKey] = field(default_factory=set)
    newcomers: list[tuple[ConnectionState, Carriers]] = field(default_factory=list)

    def states(self) -> dict[ConnectionKey, ConnectionState]:
        return {
            ConnectionKey(name, each.port): each for name, process in self.traffic.items() for each in newest(process)
        }

    def carriers(self) -> dict[ConnectionKey, Carriers]:
        """Return who carries each connection: the node's table where it names the port, else its latest verdict."""
        self.watch.read()
        keys = set(self.states())
        histories = {key: dict(history.targets) for key, history in self.watch.histories.items() if key in keys}
        order = [node.name for node in self.lab.plan.gateway_nodes]
        return {
            key: dict(sorted((histories.get(key, {}) | table).items(), key=lambda item: order.index(item[0][0])))
            for key, table in self.watch.flows(keys).items()
        }


def run(
    lab: RunningLab, participants: Participants, event: str, policy: str, *, flows: int, port: int,
    tell: Tell = lambda _: None,
) -> RunReport:  # fmt: skip
    """Do one event; the policy has been set. Everything is put back whatever happens.

    Raises LabError when the lab cannot do it, or does not recover.
    """
    with TraceSession(lab) as session:
        if session.silent:
            raise LabError("; ".join(session.silent.values()))
        watch = ConnectionWatch(lab, session, {server.name: server.addresses for server in participants.servers})
        with _traffic(lab, participants, flows, port) as traffic:
            drill = _Run(lab, participants, port, watch, NodeClocks(lab, watch.read), traffic, tell)
            return _run_event(drill, event, policy)


def _run_event(drill: _Run, event: str, policy: str) -> RunReport:
    drill.tell(f"connections begin: {drill.participants.client.name} to {', '.join(drill.traffic)}")
    _wait_for_traffic(drill)
    drill.before = drill.carriers()
    if not any(drill.before.values()):
        raise LabError(f"no load balancer sees the connections from {drill.participants.client.name}")
    zone = zone_to_lose(drill.participants.servers) if event == "zone" else ""
    struck = targets_in(drill.lab.plan, zone) if zone else {target_to_fail(drill.lab, drill.before.values())}
    servers = {server.name: server for server in drill.participants.servers}
    drill.cut_off = {
        key
        for key, carriers in drill.before.items()
        if zone and is_cut_off(drill.lab.plan, servers[key.server], carriers, zone)
    }
    drill.hit = {key for key, carriers in drill.before.items() if is_hit(carriers, struck)} - drill.cut_off
    resets = _reset_count(drill.lab)
    drill_event = DrillEvent(drill.lab, event, zone or next(iter(struck)))
    for process in drill.traffic.values():
        os.kill(process.pid, signal.SIGUSR1)
    drill.tell(f"{DOING[event]} {zone or ', '.join(struck)}; waiting until the nodes act on it")
    applied_at = time.monotonic()
    drill_event.apply()
    try:
        noticed = _let_it_take_effect(drill, event, struck, zone)
        after_seconds = drill.clocks.since(applied_at)
        newcomers = drill.newcomers if event == "deregister" else _newcomers(drill, zone)
        drill.tell("waiting until the fate of every connection is plain")
        _wait_for_fates(drill, applied_at, noticed)
        evidence = Evidence(
            event=event,
            policy=policy,
            struck=tuple(sorted(struck)),
            zone=zone,
            noticed=noticed,
            after_seconds=after_seconds,
            flows=_flows(drill),
            jumps=list(drill.clocks.jumps),
            newcomers=newcomers,
            resets=_reset_count(drill.lab) - resets,
        )
    finally:
        drill.tell("everything is put back")
        drill_event.undo()
        wait_recovered(drill.lab, drill.clocks, struck)
    evidence.moved_at_recovery = _moved_since(drill, evidence)
    return judge(drill.lab, evidence)


def _let_it_take_effect(drill: _Run, event: str, struck: set[str], zone: str) -> bool:
    """Until the delay is over, or the health checks that matter have found it; False when they do not."""
    if event == "deregister":
        drill.clocks.wait(WARM_UP_SECONDS)
        drill.newcomers = _newcomers(drill, zone)  # while the target drains
        drill.clocks.skip(deregistration_delay(drill.lab, *struck))
        noticed = True
    else:
        nodes = {node.name for node in drill.lab.plan.gateway_nodes if node.zone != zone}
        used = any(each.id in struck and each.node in nodes for each in read_targets(drill.lab).complete())
        noticed = not used or wait_noticed(drill.lab, drill.clocks, struck, zone)
    drill.clocks.skip(float(drill.lab.plan.emulation.get("propagation_delay_seconds") or 0))
    return noticed


def _wait_for_traffic(drill: _Run) -> None:
    def flowing() -> bool:
        states = drill.states()
        return len({key.server for key in states}) == len(drill.traffic) and all(
            each.records > 1 for each in states.values()
        )

    if not drill.clocks.wait(START_SECONDS, flowing):
        stuck = sum(each.records <= 1 for each in drill.states().values())
        raise LabError(f"{stuck} connections got no answer within {START_SECONDS:g} s before anything was broken")
    drill.clocks.wait(WARM_UP_SECONDS)


def _wait_for_fates(drill: _Run, applied_at: float, noticed: bool) -> None:
    """Until the fate of every connection is plain, at most as long as TCP may wait before it sends again.

    TCP doubles its timeout, so that an outage may seem up to twice as long to a connection as it was.
    """
    at = time.monotonic()
    enough = max(at - applied_at, HOPELESS_SECONDS) + 2.0
    hopeless = drill.cut_off if noticed else drill.cut_off | drill.hit

    def plain() -> bool:
        return all(_is_plain(drill.watch, key, each, at, hopeless) for key, each in drill.states().items())

    drill.clocks.wait(enough, plain)
    drill.clocks.wait(0.25)  # the traffic programs tell a few times a second


def _is_plain(
    watch: ConnectionWatch, key: ConnectionKey, state: ConnectionState, at: float, hopeless: set[ConnectionKey]
) -> bool:
    """It ended, has new data, or has none although a packet of it has been sent to a target since `at`."""
    if state.end != "open" or state.last_at > at + 0.3:
        return True
    silent = time.monotonic() - state.last_at
    if key in hopeless:
        return silent > HOPELESS_SECONDS
    sent = [each for each in watch.histories[key].sent_at.values() if each > at] if key in watch.histories else []
    return bool(sent) and silent > SILENT_SECONDS and time.monotonic() - min(sent) > SILENT_SECONDS


def _newcomers(drill: _Run, zone: str) -> list[tuple[ConnectionState, Carriers]]:
    """Open new connections to every server that is still there; tells how each stands and who carries it."""
    servers = [server for server in drill.participants.servers if not zone or server.zone != zone]
    found: list[tuple[ConnectionState, Carriers]] = []
    for server in servers:
        process = start_traffic(drill.lab, drill.participants.client, server, drill.port, flows=NEWCOMERS, records=2)
        try:
            drill.clocks.wait(5.0, lambda process=process: not process.running)  # type: ignore[misc]
            drill.watch.read()
            for each in newest(process):
                history = drill.watch.histories.get(ConnectionKey(server.name, each.port))
                found.append((each, dict(history.targets) if history else {}))
        finally:
            process.kill()
    return found


def _flows(drill: _Run) -> list[FlowEvidence]:
    """What was seen of every connection up to now."""
    drill.watch.read()
    until = time.monotonic()
    flows: list[FlowEvidence] = []
    for key, state in drill.states().items():
        history = drill.watch.histories.get(key)
        flows.append(
            FlowEvidence(
                key=key,
                state=state,
                before=drill.before.get(key, {}),
                after=dict(history.targets) if history else {},
                until=until,
                hit=key in drill.hit,
                cut_off=key in drill.cut_off,
                only_server_told=history is not None and history.server_resets > 0 == history.client_resets,
            )
        )
    return flows


def _moved_since(drill: _Run, evidence: Evidence) -> int:
    """How many connections with data have another target than before the recovery."""
    alive = {flow.key: flow.after for flow in evidence.flows if flow.outcome in ("kept", "moved")}
    all_carriers = drill.carriers()
    return sum(
        any(all_carriers[key].get(hop, target) != target for hop, target in after.items())
        for key, after in alive.items()
        if key in all_carriers
    )


def _reset_count(lab: RunningLab) -> int:
    counters = read_counters(lab, within_seconds=TIMEOUT).complete()
    return sum(node.values.get("TCP_GWLB_Reset_Count", 0) for node in counters)


@contextmanager
def _traffic(lab: RunningLab, participants: Participants, flows: int, port: int) -> Iterator[dict[str, Client]]:
    """`flows` connections in all, shared out evenly over the servers."""
    started: dict[str, Client] = {}
    try:
        for number, server in enumerate(participants.servers):
            share = flows // len(participants.servers) + (number < flows % len(participants.servers))
            if share:
                started[server.name] = start_traffic(lab, participants.client, server, port, flows=share)
        yield started
    finally:
        for process in started.values():
            with suppress(ProcessLookupError):
                process.kill(signal.SIGTERM)
