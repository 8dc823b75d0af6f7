"""What the nodes say about the flows of a drill: which target they use for each, and when they used it last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gwlbemu.lab.running import RunningLab
from gwlbemu.trials.drill.outcome import NodeEndpoint
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.flows import read_flows
from gwlbemu.views.traces import TracedPacket

TCP = 6


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """A connection: who it goes to, and the client's port."""

    server: str
    port: int


@dataclass(slots=True)
class ConnectionHistory:
    """What was seen of one connection: the newest target per hop, when a packet was last sent there, and how often a
    packet of the client or of the server was answered with a RST.
    """

    targets: dict[NodeEndpoint, str] = field(default_factory=dict)
    sent_at: dict[NodeEndpoint, float] = field(default_factory=dict)
    back_at: dict[tuple[NodeEndpoint, str], float] = field(default_factory=dict)  # when a target last returned a packet
    client_resets: int = 0
    server_resets: int = 0


class ConnectionWatch:
    """What `session`, a trace on every node, and the nodes' tables say about connections to `servers` (addresses by
    name). `read` takes what is new.
    """

    def __init__(self, lab: RunningLab, session: TraceSession, servers: dict[str, frozenset[str]]) -> None:
        self._lab, self._session, self._servers = lab, session, servers
        self.histories: dict[ConnectionKey, ConnectionHistory] = {}

    def read(self) -> None:
        """Take the verdicts since the last time."""
        for step in self._session.read():
            self._note(step)

    def flows(self, keys: Collection[ConnectionKey]) -> dict[ConnectionKey, dict[NodeEndpoint, str]]:
        """Return which target each connection is bound to in the nodes' own tables.

        With stickiness other than the 5-tuple a table names no ports, so that a connection is not found there.
        """
        found: dict[ConnectionKey, dict[NodeEndpoint, str]] = {key: {} for key in keys}
        for flow in read_flows(self._lab).complete():
            for server, addresses in self._servers.items():
                key = ConnectionKey(server, flow.source_port)
                if flow.protocol == TCP and flow.destination in addresses and key in found:
                    found[key][flow.node, flow.endpoint] = flow.target
        return found

    def _note(self, step: TracedPacket) -> None:
        if step.protocol != TCP:
            return
        for server, addresses in self._servers.items():
            if step.destination in addresses:
                key = ConnectionKey(server, step.source_port)
            elif step.source in addresses:
                key = ConnectionKey(server, step.destination_port)
            else:
                continue
            history, hop = self.histories.setdefault(key, ConnectionHistory()), (step.node, step.endpoint)
            if step.verdict == "to-target":
                history.targets[hop], history.sent_at[hop] = step.target, step.at
            elif step.verdict == "to-endpoint":
                history.back_at[hop, step.target] = step.at
            elif step.verdict == "reset" and step.destination in addresses:
                history.client_resets += 1
            elif step.verdict == "reset":
                history.server_resets += 1
