"""What a lab answers to Python: frozen values with the meaning of each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gwlbemu.lab.running import Process


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target as one node sees it: every zone decides for itself. Reason and description are AWS's words."""

    node: str
    target_group: str
    id: str
    address: str
    zone: str
    state: str  # initial | healthy | unhealthy | draining | unused | unavailable
    reason: str
    description: str
    flows: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One live flow of a node, named in the direction of its first packet. Ports are 0 where its key has none."""

    node: str
    endpoint: str
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    target: str
    cookie: str
    outer_source_port: int
    age_seconds: float
    idle_seconds: float
    expires_in_seconds: float
    packets: int
    bytes: int
    moves: int  # how often it was given another target


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of one load balancer in one zone, under their AWS/GatewayELB names, and our own."""

    load_balancer: str
    zone: str
    node: str
    values: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.values[name]


@dataclass(frozen=True, slots=True)
class PortCount:
    """Packets of one side of a node; `socket_drops` is what the kernel threw away because the node was too slow."""

    name: str  # an endpoint, or eni
    frames_in: int
    verdicts: int
    socket_drops: int
    frames_out: int
    unsent: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node, or why it does not answer (`error`)."""

    name: str
    load_balancer: str = ""
    zone: str = ""
    datapath: str = ""
    ports: tuple[PortCount, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The lab as it is now."""

    lab: str
    processes: tuple[Process, ...]
    nodes: tuple[NodeStatus, ...]
    failures: tuple[tuple[str, str], ...]  # (kind, name) of what `fail` broke


@dataclass(frozen=True, slots=True)
class Ended:
    """A flow that ended when time was moved."""

    node: str
    flow: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one node did with one packet of a traced flow."""

    at: float  # seconds of the kernel's monotonic clock
    node: str
    endpoint: str
    direction: str  # out: from the endpoint; back: from a target
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    ip_id: int  # 0 for IPv6
    length: int
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str
    reason: str


def flow_of(node: str, answer: Mapping[str, Any]) -> Flow:
    return Flow(node, **{name: answer[name] for name in Flow.__slots__ if name != "node"})


def target_of(node: str, group: str, answer: Mapping[str, Any]) -> TargetState:
    known = {name: answer[name] for name in TargetState.__slots__ if name not in ("node", "target_group")}
    return TargetState(node, group, **known)


def status_of(name: str, answer: Mapping[str, Any]) -> NodeStatus:
    ports = tuple(PortCount(**{key: port[key] for key in PortCount.__slots__}) for port in answer["ports"])
    return NodeStatus(name, answer["load_balancer"], answer["zone"], answer["datapath"], ports)


def step_of(node: str, event: Mapping[str, Any]) -> Step:
    protocol, source_port, destination_port, ip_id, length = event["identity"]
    return Step(
        float(event["time"]), node, event["endpoint"], event["direction"], protocol, event["source"], source_port,
        event["destination"], destination_port, ip_id, length, event["verdict"], event["target"] or "",
        event["cookie"] or "", event["reason"] or "",
    )  # fmt: skip
