"""What the nodes say about the flows of a drill: which target they use for each, and when they used it last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import GatewayNode
from gwlbemu.trials.drill.outcome import Hop
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.answers import Step, flow_of, step_of

TCP = 6
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Key:
    """A connection: who it goes to, and the client's port."""

    server: str
    port: int


@dataclass(slots=True)
class Trail:
    """What was seen of one connection: the newest target per hop, and when a packet was last sent there."""

    targets: dict[Hop, str] = field(default_factory=dict)
    sent_at: dict[Hop, float] = field(default_factory=dict)
    back_at: dict[tuple[Hop, str], float] = field(default_factory=dict)  # when a target last returned a packet
    resets: int = 0


def gateway_nodes(lab: RunningLab) -> list[GatewayNode]:
    gateways = {balancer.name for balancer in lab.plan.load_balancers if balancer.type == "gateway"}
    return [node for node in lab.plan.gateway_nodes if node.load_balancer in gateways]


class Watch:
    """What `session`, a trace on every node, and the nodes' tables say about connections to `servers` (addresses by
    name). `read` takes what is new.
    """

    def __init__(self, lab: RunningLab, session: TraceSession, servers: dict[str, frozenset[str]]) -> None:
        self._lab, self._session, self._servers = lab, session, servers
        self.trails: dict[Key, Trail] = {}

    def read(self) -> None:
        """Take the verdicts since the last time."""
        for node, events in self._session.read().items():
            for event in events:
                self._note(step_of(node, event))

    def flows(self, keys: Collection[Key]) -> dict[Key, dict[Hop, str]]:
        """The nodes' own tables: which target each connection is bound to at each hop; with 5-tuple keys only."""
        found: dict[Key, dict[Hop, str]] = {key: {} for key in keys}
        for node in gateway_nodes(self._lab):
            offset, more = 0, True
            while more:
                answer = self._lab.call(node.name, "flows", offset=offset, limit=PAGE)
                for flow in (flow_of(node.name, each) for each in answer["flows"]):
                    for server, addresses in self._servers.items():
                        key = Key(server, flow.source_port)
                        if flow.protocol == TCP and flow.destination in addresses and key in found:
                            found[key][node.name, flow.endpoint] = flow.target
                offset, more = offset + len(answer["flows"]), answer["more"]
        return found

    def _note(self, step: Step) -> None:
        if step.protocol != TCP:
            return
        for server, addresses in self._servers.items():
            if step.destination in addresses:
                key = Key(server, step.source_port)
            elif step.source in addresses:
                key = Key(server, step.destination_port)
            else:
                continue
            trail, hop = self.trails.setdefault(key, Trail()), (step.node, step.endpoint)
            if step.verdict == "to-target":
                trail.targets[hop], trail.sent_at[hop] = step.target, step.at
            elif step.verdict == "to-endpoint":
                trail.back_at[hop, step.target] = step.at
            trail.resets += step.verdict == "reset"
