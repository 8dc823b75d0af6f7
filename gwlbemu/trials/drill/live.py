"""The connections of a run while it goes on: how each stands, and who carries it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from gwlbemu.errors import LabError
from gwlbemu.lab.client import Client
from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.traffic import ConnectionState
from gwlbemu.trials.drill.actions import NodeClocks
from gwlbemu.trials.drill.judge import Evidence, FlowEvidence
from gwlbemu.trials.drill.outcome import SILENT_SECONDS, Carriers, NodeEndpoint, holds
from gwlbemu.trials.drill.participants import Participants, newest, start_traffic
from gwlbemu.trials.drill.watch import ConnectionHistory, ConnectionKey

START_SECONDS = 60.0
WARM_UP_SECONDS = 0.5
NEWCOMERS = 4
NEWCOMERS_SECONDS = 30.0
HOPELESS_SECONDS = 3.0  # without data: enough to call a connection lost that nothing can save
PATIENCE_SECONDS = 20.0  # for what is not as expected yet: a busy machine is late, and no failure
Tell = Callable[[str], None]  # is given what goes on, a line for each phase


class Watch(Protocol):
    """What nodes say of connections: `watch.ConnectionWatch` and `network_watch.NetworkWatch` are such."""

    histories: dict[ConnectionKey, ConnectionHistory]

    def read(self) -> None:
        """Take what is new."""

    def flows(self, keys: set[ConnectionKey]) -> Mapping[ConnectionKey, dict[NodeEndpoint, str]]:
        """Return which target each connection is bound to."""


@dataclass(slots=True)
class Run:
    """One run while it goes on."""

    lab: RunningLab
    participants: Participants
    watch: Watch
    clocks: NodeClocks
    traffic: dict[str, Client]
    tell: Tell
    before: dict[ConnectionKey, Carriers] = field(default_factory=dict)
    hit: set[ConnectionKey] = field(default_factory=set)
    cut_off: set[ConnectionKey] = field(default_factory=set)
    newcomers: list[tuple[ConnectionState, Carriers]] = field(default_factory=list)

    def states(self) -> dict[ConnectionKey, ConnectionState]:
        """Return how each connection stood when its program last told."""
        return {
            ConnectionKey(name, each.port): each for name, process in self.traffic.items() for each in newest(process)
        }

    def carriers(self) -> dict[ConnectionKey, Carriers]:
        """Return who carries each connection: the node's table where it names the port, else its latest verdict."""
        self.watch.read()
        keys = set(self.states())
        histories = {key: dict(history.targets) for key, history in self.watch.histories.items() if key in keys}
        order = [node.name for node in self.participants.subject.nodes]
        return {
            key: dict(sorted((histories.get(key, {}) | table).items(), key=lambda item: order.index(item[0][0])))
            for key, table in self.watch.flows(keys).items()
        }


@contextmanager
def live_traffic(lab: RunningLab, participants: Participants, flows: int) -> Iterator[dict[str, Client]]:
    """`flows` connections in all, shared out evenly over the servers."""
    started: dict[str, Client] = {}
    port = participants.subject.port
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


def wait_for_traffic(drill: Run) -> None:
    """Wait until every connection has got answers. Raises LabError when one does not."""

    def flowing() -> bool:
        states = drill.states()
        return len({key.server for key in states}) == len(drill.traffic) and all(
            each.records > 1 for each in states.values()
        )

    if not drill.clocks.wait(START_SECONDS, flowing):
        stuck = sum(each.records <= 1 for each in drill.states().values())
        raise LabError(f"{stuck} connections got no answer within {START_SECONDS:g} s before anything was broken")
    drill.clocks.wait(WARM_UP_SECONDS)


def wait_for_fates(drill: Run, applied_at: float, event: str, policy: str, *, noticed: bool) -> list[FlowEvidence]:
    """Wait until the fate of every connection is plain; return what was seen of each.

    At first at most as long as TCP may wait before it sends again: it doubles its timeout, so that an outage may seem
    up to twice as long to a connection as it was. Then PATIENCE_SECONDS for those that are not as expected.
    """
    at = time.monotonic()
    enough = max(at - applied_at, HOPELESS_SECONDS) + 2.0
    hopeless = drill.cut_off if noticed else drill.cut_off | drill.hit

    def plain() -> bool:
        return all(_is_plain(drill.watch, key, each, at, hopeless) for key, each in drill.states().items())

    drill.clocks.wait(enough, plain)
    drill.clocks.wait(0.25)  # the traffic programs tell a few times a second
    seen: list[FlowEvidence] = []

    def as_expected() -> bool:
        seen[:] = seen_flows(drill)
        return all(holds(flow.expected(event, policy, noticed=noticed), flow.observation) for flow in seen)

    drill.clocks.wait(PATIENCE_SECONDS, as_expected)
    return seen


def _is_plain(
    watch: Watch, key: ConnectionKey, state: ConnectionState, at: float, hopeless: set[ConnectionKey]
) -> bool:
    """It ended, has new data, or has none although a packet of it has been sent to a target since `at`."""
    if state.end != "open" or state.last_at > at + 0.3:
        return True
    silent = state.told_at - state.last_at
    if key in hopeless:
        return silent > HOPELESS_SECONDS
    sent = [each for each in watch.histories[key].sent_at.values() if each > at] if key in watch.histories else []
    return bool(sent) and silent > SILENT_SECONDS and time.monotonic() - min(sent) > SILENT_SECONDS


def newcomers(drill: Run, zone: str) -> list[tuple[ConnectionState, Carriers]]:
    """Open new connections to every server that is still there; tells how each stands and who carries it."""
    servers = [server for server in drill.participants.servers if not zone or server.zone != zone]
    client, port = drill.participants.client, drill.participants.subject.port
    found: list[tuple[ConnectionState, Carriers]] = []
    for server in servers:
        process = start_traffic(drill.lab, client, server, port, flows=NEWCOMERS, records=2)
        try:
            drill.clocks.wait(NEWCOMERS_SECONDS, lambda process=process: not process.running)  # type: ignore[misc]
            keys = {ConnectionKey(server.name, each.port) for each in newest(process)}
            drill.watch.read()
            drill.watch.flows(keys)
            for each in newest(process):
                history = drill.watch.histories.get(ConnectionKey(server.name, each.port))
                found.append((each, dict(history.targets) if history else {}))
        finally:
            process.kill()
    return found


def seen_flows(drill: Run) -> list[FlowEvidence]:
    """Return what was seen of every connection up to now."""
    drill.watch.read()
    flows: list[FlowEvidence] = []
    for key, state in drill.states().items():
        history = drill.watch.histories.get(key)
        flows.append(
            FlowEvidence(
                key=key,
                state=state,
                before=drill.before.get(key, {}),
                after=dict(history.targets) if history else {},
                until=state.told_at,
                hit=key in drill.hit,
                cut_off=key in drill.cut_off,
                only_server_told=history is not None and history.server_resets > 0 == history.client_resets,
            )
        )
    return flows


def moved_since(drill: Run, evidence: Evidence) -> int:
    """Return how many connections with data have another target than before the recovery."""
    alive = {flow.key: flow.after for flow in evidence.flows if flow.outcome in ("kept", "moved")}
    all_carriers = drill.carriers()
    return sum(
        any(all_carriers[key].get(hop, target) != target for hop, target in after.items())
        for key, after in alive.items()
        if key in all_carriers
    )
