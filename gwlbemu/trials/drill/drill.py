"""A failover drill: live TCP connections through a lab, an event, and what became of each connection.

The order of a run: set the policy, start the traffic, note who carries what, strike, let the failure be found, open new
connections, wait until each connection's fate is plain, put everything back and see that no live flow moves for that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from gwlbemu.errors import LabError
from gwlbemu.lab.client import Client
from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.traffic import Standing
from gwlbemu.trials.drill.actors import Clock, Strike, deregistration_delay, wait_noticed, wait_recovered
from gwlbemu.trials.drill.judge import Evidence, FlowEvidence, judge
from gwlbemu.trials.drill.outcome import SILENT_SECONDS, Route
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.drill.stage import (
    Server,
    Stage,
    is_doomed,
    is_hit,
    newest,
    start_traffic,
    targets_in,
    victim,
    zone_to_lose,
)
from gwlbemu.trials.drill.watch import Key, Watch, gateway_nodes
from gwlbemu.trials.trace import TraceSession

START_SECONDS = 10.0
WARM_UP_SECONDS = 0.5
NEWCOMERS = 4
HOPELESS_SECONDS = 3.0  # without data: enough for a connection that nothing can save


@dataclass(slots=True)
class _Run:
    """One run while it goes on."""

    lab: RunningLab
    stage: Stage
    port: int
    watch: Watch
    clock: Clock
    traffic: dict[str, Client]
    before: dict[Key, Route] = field(default_factory=dict)
    hit: set[Key] = field(default_factory=set)
    doomed: set[Key] = field(default_factory=set)
    newcomers: list[tuple[Standing, Route]] = field(default_factory=list)

    def standings(self) -> dict[Key, Standing]:
        return {Key(name, each.port): each for name, process in self.traffic.items() for each in newest(process)}

    def routes(self) -> dict[Key, Route]:
        """Who carries each connection: the node's table where it names the port, else its latest verdict."""
        self.watch.read()
        keys = set(self.standings())
        trails = {key: dict(trail.targets) for key, trail in self.watch.trails.items() if key in keys}
        order = [node.name for node in gateway_nodes(self.lab)]
        return {
            key: dict(sorted((trails.get(key, {}) | table).items(), key=lambda item: order.index(item[0][0])))
            for key, table in self.watch.flows(keys).items()
        }


def run(lab: RunningLab, stage: Stage, event: str, policy: str, *, flows: int, port: int) -> RunReport:
    """Do one event; the policy has been set. Everything is put back whatever happens.

    Raises LabError when the lab cannot do it, or does not recover.
    """
    with TraceSession(lab) as session:
        if session.silent:
            raise LabError("; ".join(session.silent.values()))
        watch = Watch(lab, session, {server.name: server.addresses for server in stage.servers})
        with _traffic(lab, stage, flows, port) as traffic:
            now = _Run(lab, stage, port, watch, Clock(lab, watch.read), traffic)
            return _strike(now, event, policy)


def _strike(now: _Run, event: str, policy: str) -> RunReport:
    _wait_for_traffic(now)
    now.before = now.routes()
    if not any(now.before.values()):
        raise LabError(f"no load balancer sees the connections from {now.stage.client.name}")
    zone = zone_to_lose(now.lab.plan, now.stage.servers) if event == "zone" else ""
    struck = targets_in(now.lab.plan, zone) if zone else {victim(now.lab, now.before.values())}
    servers = {server.name: server for server in now.stage.servers}
    now.doomed = {
        key for key, route in now.before.items() if zone and is_doomed(now.lab.plan, servers[key.server], route, zone)
    }
    now.hit = {key for key, route in now.before.items() if is_hit(route, struck)} - now.doomed
    resets = _reset_count(now.lab)
    strike = Strike(now.lab, event, zone or next(iter(struck)))
    for process in now.traffic.values():
        os.kill(process.pid, signal.SIGUSR1)
    struck_at = time.monotonic()
    strike.happen()
    try:
        noticed = _let_it_take_effect(now, event, struck, zone)
        after_seconds = now.clock.since(struck_at)
        newcomers = now.newcomers if event == "deregister" else _newcomers(now, zone)
        _wait_for_fates(now, struck_at, noticed)
        evidence = _evidence(now, event, policy, tuple(sorted(struck)), zone, noticed, after_seconds)
        evidence.newcomers = newcomers
        evidence.resets = _reset_count(now.lab) - resets
    finally:
        strike.undo()
        wait_recovered(now.lab, now.clock, struck)
    evidence.moved_at_recovery = _moved_since(now, evidence)
    return judge(now.lab, evidence)


def _let_it_take_effect(now: _Run, event: str, struck: set[str], zone: str) -> bool:
    """Until the delay is over, or the health checks that matter have found it; False when they do not."""
    if event == "deregister":
        now.clock.wait(WARM_UP_SECONDS)
        now.newcomers = _newcomers(now, zone)  # while the target drains
        now.clock.skip(deregistration_delay(now.lab, *struck))
        noticed = True
    else:
        nodes = [node for node in gateway_nodes(now.lab) if node.zone != zone]
        used = any(_uses(now.lab, node.name, struck) for node in nodes)
        noticed = not used or wait_noticed(now.lab, now.clock, struck, zone)
    now.clock.skip(float(now.lab.plan.emulation.get("propagation_delay_seconds") or 0))
    return noticed


def _uses(lab: RunningLab, node: str, targets: set[str]) -> bool:
    return any(each["id"] in targets for each in lab.call(node, "targets")["targets"])


def _wait_for_traffic(now: _Run) -> None:
    def flowing() -> bool:
        standings = now.standings()
        return len({key.server for key in standings}) == len(now.traffic) and all(
            each.records > 1 for each in standings.values()
        )

    if not now.clock.wait(START_SECONDS, flowing):
        stuck = sum(each.records <= 1 for each in now.standings().values())
        raise LabError(f"{stuck} connections got no answer within {START_SECONDS:g} s before anything was broken")
    now.clock.wait(WARM_UP_SECONDS)


def _wait_for_fates(now: _Run, struck_at: float, noticed: bool) -> None:
    """Until the fate of every connection is plain, at most as long as TCP may wait before it sends again.

    TCP doubles its timeout, so that an outage may seem up to twice as long to a connection as it was.
    """
    at = time.monotonic()
    enough = max(at - struck_at, HOPELESS_SECONDS) + 2.0
    hopeless = now.doomed if noticed else now.doomed | now.hit

    def plain() -> bool:
        return all(_is_plain(now.watch, key, each, at, hopeless) for key, each in now.standings().items())

    now.clock.wait(enough, plain)
    now.clock.wait(0.25)  # the traffic programs tell a few times a second


def _is_plain(watch: Watch, key: Key, standing: Standing, at: float, hopeless: set[Key]) -> bool:
    """It ended, has new data, or has none although a packet of it has been sent to a target since `at`."""
    if standing.end != "open" or standing.last_at > at + 0.3:
        return True
    silent = time.monotonic() - standing.last_at
    if key in hopeless:
        return silent > HOPELESS_SECONDS
    sent = [each for each in watch.trails[key].sent_at.values() if each > at] if key in watch.trails else []
    return bool(sent) and silent > SILENT_SECONDS and time.monotonic() - min(sent) > SILENT_SECONDS


def _newcomers(now: _Run, zone: str) -> list[tuple[Standing, Route]]:
    """Open new connections to every server that is still there; tells how each stands and who carries it."""
    servers: list[Server] = [server for server in now.stage.servers if not zone or server.zone != zone]
    found: list[tuple[Standing, Route]] = []
    for server in servers:
        process = start_traffic(now.lab.plan, now.stage.client, server, now.port, flows=NEWCOMERS, records=2)
        try:
            now.clock.wait(5.0, lambda process=process: not process.running)  # type: ignore[misc]
            now.watch.read()
            for each in newest(process):
                trail = now.watch.trails.get(Key(server.name, each.port))
                found.append((each, dict(trail.targets) if trail else {}))
        finally:
            process.kill()
    return found


def _evidence(
    now: _Run, event: str, policy: str, struck: tuple[str, ...], zone: str, noticed: bool, after_seconds: float
) -> Evidence:
    now.watch.read()
    until = time.monotonic()
    flows = []
    for key, standing in now.standings().items():
        trail = now.watch.trails.get(key)
        flows.append(
            FlowEvidence(
                key, standing, now.before.get(key, {}), dict(trail.targets) if trail else {}, until,
                key in now.hit, key in now.doomed,
            )
        )  # fmt: skip
    return Evidence(event, policy, struck, zone, noticed, after_seconds, flows, list(now.clock.jumps))


def _moved_since(now: _Run, evidence: Evidence) -> int:
    """How many connections with data have another target than before the recovery."""
    alive = {flow.key: flow.after for flow in evidence.flows if flow.outcome in ("kept", "moved")}
    routes = now.routes()
    return sum(
        any(routes[key].get(hop, target) != target for hop, target in after.items())
        for key, after in alive.items()
        if key in routes
    )


def _reset_count(lab: RunningLab) -> int:
    return sum(lab.call(node.name, "metrics")["metrics"]["TCP_GWLB_Reset_Count"] for node in gateway_nodes(lab))


@contextmanager
def _traffic(lab: RunningLab, stage: Stage, flows: int, port: int) -> Iterator[dict[str, Client]]:
    """`flows` connections in all, shared out evenly over the servers."""
    started: dict[str, Client] = {}
    try:
        for number, server in enumerate(stage.servers):
            share = flows // len(stage.servers) + (number < flows % len(stage.servers))
            if share:
                started[server.name] = start_traffic(lab.plan, stage.client, server, port, flows=share)
        yield started
    finally:
        for process in started.values():
            with suppress(ProcessLookupError):
                process.kill(signal.SIGTERM)
