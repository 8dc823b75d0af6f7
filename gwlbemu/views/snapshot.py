"""What a live view needs of a whole lab at one moment; a process that cannot answer is not waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.lab.running import RunningLab
from gwlbemu.views.ask import PATIENCE
from gwlbemu.views.flows import LiveFlow, live_flow
from gwlbemu.views.status import LabStatus, NodeStatus, ask_for_status, status_from

FLOWS = 200  # the newest of each node: a live view must not make a busy node list all it has


class Counts(NamedTuple):
    """Totals of a node, whatever its type: flows, or connections; packets, or requests and their answers."""

    new_flows: int
    to_targets: int
    from_targets: int
    lost: int
    bytes: int
    live_flows: int  # now


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
    return Counts(*(node.metrics[name] for name in _GATEWAY_COUNTS))


def _network_counts(node: NodeSnapshot) -> Counts:
    """The kernel counts packets by target, and tells of what it lost that for which it had no port."""
    to, back = (sum(getattr(each, key) for each in node.status.targets) for key in ("packets_to", "packets_from"))
    new, lost, size, live = (node.metrics[name] for name in _NETWORK_COUNTS)
    return Counts(new, to, back, lost, size, live)


def _application_counts(node: NodeSnapshot) -> Counts:
    """Requests that targets were sent and have answered; lost is what the load balancer itself answered with an error
    of the 500s.
    """
    sent, waiting = (sum(getattr(each, key) for each in node.status.targets) for key in ("requests", "in_flight"))
    new, lost, size, live = (node.metrics[name] for name in _APPLICATION_COUNTS)
    return Counts(new, sent, sent - waiting, lost, size, live)


_GATEWAY_COUNTS = (
    "NewFlowCount", "verdicts_to_target", "verdicts_to_endpoint", "verdicts_drop", "ProcessedBytes", "ActiveFlowCount",
)  # fmt: skip
_NETWORK_COUNTS = ("NewFlowCount", "PortAllocationErrorCount", "ProcessedBytes", "ActiveFlowCount")
_APPLICATION_COUNTS = ("NewConnectionCount", "HTTPCode_ELB_5XX_Count", "ProcessedBytes", "ActiveConnectionCount")
_COUNTS: Mapping[str, Callable[[NodeSnapshot], Counts]] = {
    GATEWAY: _gateway_counts,
    NETWORK: _network_counts,
    APPLICATION: _application_counts,
}


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
