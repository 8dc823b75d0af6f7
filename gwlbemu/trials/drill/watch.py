"""What the nodes say about the flows of a drill: which target they use for each, and when they used it last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import GatewayNode
from gwlbemu.trials.drill.outcome import Hop
from gwlbemu.views.flows import read_flows
from gwlbemu.views.traces import TracedPacket, traced_packet

TCP = 6


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
    """Traces every node from `start` to `stop`; `read` takes what is new."""

    def __init__(self, lab: RunningLab, servers: dict[str, frozenset[str]]) -> None:
        self._lab, self._servers = lab, servers
        self._read: dict[str, int] = {}
        self.trails: dict[Key, Trail] = {}

    def start(self) -> None:
        for node in gateway_nodes(self._lab):
            self._lab.call(node.name, "trace_start", match=[])
            self._read[node.name] = 0

    def stop(self) -> None:
        for name in self._read:
            try:
                self._lab.call(name, "trace_stop")
            except (LabError, SettingError):
                continue  # a node that is not there traces nothing
        self._read = {}

    def read(self) -> None:
        """Take the verdicts since the last time."""
        for name, after in self._read.items():
            answer = self._lab.call(name, "trace_read", after=after)
            self._read[name] = answer["count"]
            for event in answer["events"]:
                self._note(traced_packet(name, event))

    def flows(self, keys: Collection[Key]) -> dict[Key, dict[Hop, str]]:
        """The nodes' own tables: which target each connection is bound to at each hop; with 5-tuple keys only."""
        found: dict[Key, dict[Hop, str]] = {key: {} for key in keys}
        for flow in read_flows(self._lab).complete():
            for server, addresses in self._servers.items():
                key = Key(server, flow.source_port)
                if flow.protocol == TCP and flow.destination in addresses and key in found:
                    found[key][flow.node, flow.endpoint] = flow.target
        return found

    def _note(self, step: TracedPacket) -> None:
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
