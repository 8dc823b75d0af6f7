"""What the keepers of a network load balancer say about the connections of a drill: which target each is on."""

from __future__ import annotations

import time
from collections.abc import Collection

from gwlbemu.lab.running import RunningLab
from gwlbemu.trials.drill.outcome import NodeEndpoint
from gwlbemu.trials.drill.participants import DrillServer
from gwlbemu.trials.drill.subject import Subject
from gwlbemu.trials.drill.watch import ConnectionHistory, ConnectionKey
from gwlbemu.views.flows import LiveFlow, read_flows

EVERY_SECONDS = 0.5  # a keeper reads all of its connections for an answer


class NetworkWatch:
    """As `watch.ConnectionWatch`, from the connections in the nodes' kernels. A connection's server is its node."""

    def __init__(self, lab: RunningLab, subject: Subject, client: Collection[str], servers: Collection[DrillServer]):
        self._lab, self._client = lab, client
        self._port = subject.port
        self._nodes = {server.name for server in servers}
        self._packets: dict[ConnectionKey, int] = {}
        self._read_at = float("-inf")
        self.histories: dict[ConnectionKey, ConnectionHistory] = {}

    def read(self) -> None:
        """Take what is new, unless that was done a moment ago."""
        if time.monotonic() - self._read_at >= EVERY_SECONDS:
            self._take()

    def flows(self, keys: Collection[ConnectionKey]) -> dict[ConnectionKey, dict[NodeEndpoint, str]]:
        """Return which target each connection is on now; a connection that no node knows is on none."""
        now = self._take()
        return {key: {(now[key].node, now[key].listener): now[key].target} if key in now else {} for key in keys}

    def _take(self) -> dict[ConnectionKey, LiveFlow]:
        found = {}
        for flow in read_flows(self._lab).complete():
            if flow.node not in self._nodes or flow.destination_port != self._port or flow.source not in self._client:
                continue
            key, hop = ConnectionKey(flow.node, flow.source_port), (flow.node, flow.listener)
            found[key] = flow
            history = self.histories.setdefault(key, ConnectionHistory())
            history.targets[hop] = flow.target
            if flow.packets_to > self._packets.get(key, 0):
                history.sent_at[hop] = time.monotonic()
            self._packets[key] = flow.packets_to
        self._read_at = time.monotonic()
        return found
