"""What a live view needs of a whole lab at one moment; a process that cannot answer is not waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gwlbemu.core.elb.balancer_types import GATEWAY, NETWORK
from gwlbemu.lab.running import RunningLab
from gwlbemu.views.ask import PATIENCE
from gwlbemu.views.flows import LiveFlow, live_flow
from gwlbemu.views.status import LabStatus, NodeStatus, ask_for_status, status_from

FLOWS = 200  # the newest of each node: a live view must not make a busy node list all it has


class Counts(NamedTuple):
    """Totals of a node, whatever its type."""

    new_flows: int
    to_targets: int  # packets
    from_targets: int
    lost: int


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One node: its status, every counter by name, and its newest flows. Without counters when it does not answer."""

    status: NodeStatus
    metrics: Mapping[str, int] = field(default_factory=dict)
    flows: tuple[LiveFlow, ...] = ()
    more: bool = False  # whether it has other flows, older than those

    @property
    def name(self) -> str:
        """The node's name."""
        return self.status.name

    @property
    def counts(self) -> Counts:
        """What came, went and was lost since the node began. Only of one that answers."""
        return _COUNTS[self.status.type](self)


def _gateway_counts(node: NodeSnapshot) -> Counts:
    names = ("NewFlowCount", "verdicts_to_target", "verdicts_to_endpoint", "verdicts_drop")
    return Counts(*(node.metrics[name] for name in names))


def _network_counts(node: NodeSnapshot) -> Counts:
    """The kernel counts packets by target, and tells of what it lost that for which it had no port."""
    to, back = (sum(getattr(each, key) for each in node.status.targets) for key in ("packets_to", "packets_from"))
    return Counts(node.metrics["NewFlowCount"], to, back, node.metrics["PortAllocationErrorCount"])


_COUNTS: Mapping[str, Callable[[NodeSnapshot], Counts]] = {GATEWAY: _gateway_counts, NETWORK: _network_counts}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A lab at the moment `at`, in seconds of any clock: rates are made of two snapshots."""

    at: float
    status: LabStatus
    nodes: tuple[NodeSnapshot, ...]


def take_snapshot(lab: RunningLab, *, now: float) -> Snapshot:
    """Take stock of the lab at the moment `now`. Raises NetError without root."""
    requests = {"metrics": {}, "flows": {"limit": FLOWS, "newest": True}}
    answers, silent = ask_for_status(lab, requests, within_seconds=PATIENCE)
    status = status_from(lab, answers, silent)
    nodes = []
    for node in status.nodes:
        if node.silent:
            nodes.append(NodeSnapshot(node))
            continue
        said = answers[node.name]
        flows = tuple(live_flow(node.name, node.type, flow) for flow in said["flows"]["flows"])
        nodes.append(NodeSnapshot(node, said["metrics"]["metrics"], flows, said["flows"]["more"]))
    return Snapshot(now, status, tuple(nodes))
