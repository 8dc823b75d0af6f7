"""A drill with an application load balancer: steady requests, an event, and which of them failed.

The order of a run: start the requests, apply the event, let the failure be found, go on for a while, put everything
back, and see that no request fails any more. A request belongs to the phase in which it began; one that was under way
when the event came belongs to that.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gwlbemu.errors import LabError
from gwlbemu.lab import client, failure
from gwlbemu.lab.client import Client
from gwlbemu.lab.commands import ROOT_FOLDER, own_module
from gwlbemu.lab.engines import proxy_name
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inits import SEEN_AUTHORITY
from gwlbemu.programs.requests import Outcome, parse_outcomes
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.drill.actions import DrillEvent, NodeClocks, deregistration_delay, wait_noticed, wait_recovered
from gwlbemu.trials.drill.live import START_SECONDS, Tell
from gwlbemu.trials.drill.outcome import ENGINE
from gwlbemu.trials.drill.participants import (
    NO_SPARE,
    NotPossible,
    Participants,
    healthy_by_node,
    targets_in,
    zone_to_lose,
)
from gwlbemu.trials.drill.report import RunReport
from gwlbemu.trials.drill.request_judge import judge_requests
from gwlbemu.trials.drill.request_run import (
    LONG_SECONDS,
    MARGIN_SECONDS,
    OK,
    SHORT_SECONDS,
    SLOW_REQUESTS,
    RequestRun,
)
from gwlbemu.views.ask import PATIENCE, ask
from gwlbemu.views.targets import read_targets

RATE = 200.0  # requests a second
BEFORE_SECONDS, AFTER_SECONDS, RECOVERED_SECONDS = 1.5, 3.0, 1.5
REQUEST_SECONDS = 15.0  # that a client waits for an answer: longer than the 10 s within which a target has to connect
SEEN_SECONDS = 30.0


def drill_requests(
    lab: RunningLab, ends: Participants, event: str, *, connections: int, tell: Tell = lambda _: None
) -> RunReport:
    """Do one event, with so many connections or more. Everything is put back whatever happens.

    Raises NotPossible, and LabError when the lab cannot do it, or does not recover.
    """
    url = _url(ends)
    with _requests(lab, ends, url, connections) as process:
        drill = RequestRun(lab, ends, event, tell, NodeClocks(lab, ends.subject, lambda: None), process)
        tell(f"requests begin: {ends.client.name} to {url}, {RATE:g} a second")
        _wait_for_answers(drill)
        _choose(drill)
        {ENGINE: _lose_engine}.get(event, _lose_targets)(drill)
        drill.clocks.wait(RECOVERED_SECONDS)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(REQUEST_SECONDS + START_SECONDS)
        return judge_requests(drill, engine_is_back=drill.event != ENGINE or _proxy(drill) == "running")


def _url(ends: Participants) -> str:
    (balancer,) = ends.subject.balancers
    (listener,) = (each for each in balancer.listeners if each.port == ends.subject.port)
    return f"{listener.protocol.lower()}://{dns_name(balancer)}:{listener.port}/"


@contextmanager
def _requests(lab: RunningLab, ends: Participants, url: str, connections: int) -> Iterator[Client]:
    process = start_requests(lab, ends.client, url, connections=connections)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def start_requests(lab: RunningLab, sender: Instance, url: str, *, connections: int = 1, count: int = 0) -> Client:
    """Let an instance send steady requests, `count` of them or (0) until it is stopped; see `outcomes_of`."""
    words = [url, "--rate", f"{RATE:g}", "--count", str(count), "--connections", str(connections)]
    words += ["--patience", f"{REQUEST_SECONDS:g}"]
    words += ["--authority", str(SEEN_AUTHORITY)] if lab.state.authority.exists() else []
    command = own_module("gwlbemu.programs.requests", *words)
    return client.start(lab, sender.name, command, directory=ROOT_FOLDER)


def outcomes_of(process: Client) -> list[Outcome]:
    """Return what became of each request of `start_requests` that has ended."""
    return parse_outcomes(process.output())


def _wait_for_answers(drill: RequestRun) -> None:
    def flowing() -> bool:
        return sum(each.status == OK for each in drill.outcomes()) >= RATE / 4

    if not drill.clocks.wait(START_SECONDS, flowing):
        failed = Counter(_word(each) for each in drill.outcomes())
        told = ", ".join(f"{count} {word}" for word, count in failed.most_common(3)) or "none ended"
        raise LabError(f"no steady answers from {_url(drill.ends)} before anything was broken: {told}")
    drill.clocks.wait(BEFORE_SECONDS)


def _choose(drill: RequestRun) -> None:
    """Say what is struck: a target that can be spared, a zone, or a node."""
    subject = drill.ends.subject
    if drill.event == ENGINE:
        used = Counter(each.address for each in drill.outcomes())
        nodes = {node.name: used[node.address] + used[node.public_address] for node in subject.addressed_nodes}
        drill.node = max(sorted(nodes), key=nodes.__getitem__)
    elif drill.event == "zone":
        drill.zone = zone_to_lose(drill.ends.servers)
        drill.node = next(node.name for node in subject.nodes if node.zone == drill.zone)
        drill.struck = tuple(sorted(targets_in(subject.groups, drill.zone)))
    else:
        healthy = healthy_by_node(drill.lab, subject).values()
        known = sorted({target for each in healthy for target in each})
        spare = [target for target in known if all(len(each - {target}) for each in healthy if target in each)]
        if not spare:
            raise NotPossible(NO_SPARE)
        drill.struck = (spare[0],)


# ---- targets and zones ----
def _lose_targets(drill: RequestRun) -> None:
    subject = drill.ends.subject
    event = DrillEvent(drill.lab, subject, drill.event, drill.zone or drill.struck[0])
    if drill.event == "deregister":
        _begin_slow_requests(drill)
    drill.tell(f"{drill.event} {drill.zone or drill.struck[0]}; waiting until the nodes act on it")
    drill.applied_at = time.monotonic()
    event.apply()
    drill.told_at = time.monotonic()
    try:
        drill.noticed = _let_it_take_effect(drill)
        drill.took_seconds = drill.clocks.since(drill.applied_at)
        drill.clocks.wait(MARGIN_SECONDS)
        drill.found_at = time.monotonic()
        drill.clocks.wait(AFTER_SECONDS)
        if drill.slow:
            drill.clocks.wait(LONG_SECONDS, lambda: not any(each.running for _, each in drill.slow))
    finally:
        drill.tell("everything is put back")
        drill.undone_at = time.monotonic()
        event.undo()
        wait_recovered(drill.lab, subject, drill.clocks, drill.struck)
    drill.clocks.wait(MARGIN_SECONDS)
    drill.back_at = time.monotonic()


def _let_it_take_effect(drill: RequestRun) -> bool:
    subject = drill.ends.subject
    if drill.event == "deregister":
        drill.clocks.wait(SHORT_SECONDS + 2 * MARGIN_SECONDS)
        drill.clocks.skip(deregistration_delay(subject, drill.struck[0]))
        return True
    return wait_noticed(drill.lab, subject, drill.clocks, drill.struck, drill.zone, can_be=True)


def _begin_slow_requests(drill: RequestRun) -> None:
    """Let requests be under way, at the bundled web servers, which answer after a time that is asked for."""
    kinds = {program.instance: program.kind for program in drill.lab.plan.programs}
    if any(kinds.get(name) != "web" for name in drill.names()):
        return
    for seconds in (SHORT_SECONDS, LONG_SECONDS):
        url = f"{_url(drill.ends)}delay/{seconds:g}"
        drill.slow.append((seconds, start_requests(drill.lab, drill.ends.client, url, count=SLOW_REQUESTS)))
    under_way = SLOW_REQUESTS * len(drill.slow)

    def at_targets() -> bool:
        found = [each for each in read_targets(drill.lab).items if each.target_group in _groups(drill)]
        return sum(each.in_flight for each in found) >= under_way

    drill.clocks.wait(SHORT_SECONDS / 2, at_targets)


def _groups(drill: RequestRun) -> set[str]:
    return {group.name for group in drill.ends.subject.groups}


# ---- the engine ----
def _lose_engine(drill: RequestRun) -> None:
    drill.tell(f"killing the HAProxy of {drill.node}; waiting until its keeper tells")
    drill.applied_at = time.monotonic()
    try:
        for pid in _engine(drill):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        drill.noticed = drill.clocks.wait(SEEN_SECONDS, lambda: _proxy(drill) != "running")
        drill.took_seconds = drill.clocks.since(drill.applied_at)
        drill.found_at = time.monotonic()
        drill.clocks.wait(AFTER_SECONDS)
    finally:
        drill.tell("everything is put back")
        drill.undone_at = time.monotonic()
        failure.heal(drill.lab, "node", drill.node)
    drill.clocks.wait(SEEN_SECONDS, lambda: _proxy(drill) == "running")
    drill.clocks.wait(MARGIN_SECONDS)
    drill.back_at = time.monotonic()


def _engine(drill: RequestRun) -> list[int]:
    """The processes of a node's HAProxy: its master, and its workers."""
    name = proxy_name(drill.node)
    found = [process.pid for process in drill.lab.processes() if process.name == name and process.state == "running"]
    if not found:
        raise LabError(f"{name} does not run")
    children = Path(f"/proc/{found[0]}/task/{found[0]}/children").read_text().split()
    return [*found, *map(int, children)]


def _proxy(drill: RequestRun) -> str:
    answers, _ = ask(drill.lab, [drill.node], {"status": {}}, within_seconds=PATIENCE)
    return str(answers[drill.node]["status"]["proxy"]) if drill.node in answers else ""


def _word(outcome: Outcome) -> str:
    return str(outcome.status) if outcome.status else outcome.error
