"""The live flows of a lab's nodes: those that a gateway load balancer's node keeps, the connections that the kernel
keeps for a network load balancer, and those of clients to an application load balancer.

A new field of a gateway's flow: `core/gateway/records.py` declares it, `core/gateway/placement.py` fills it in,
`LiveFlow` here takes it under the same name (and `COLUMNS` shows it in tables, by type of load balancer). The node's
answer is made of the record as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.lab.running import RunningLab
from gwlbemu.views.ask import NoAnswer, Reading, ask, value_of
from gwlbemu.wire.protocols import NAMES

_NUMBERS = {name: number for number, name in NAMES.items()}  # a keeper says a word
PAGE = 500  # flows per request where all are wanted; a node gives no more at once

# What a table of flows shows, in its order; an address comes with its port.
COLUMNS = {
    GATEWAY: (
        "endpoint", "protocol", "source", "destination", "target", "cookie", "packets_to", "packets_from", "bytes",
        "idle_seconds", "expires_in_seconds", "moves",
    ),
    NETWORK: (
        "listener", "protocol", "source", "destination", "target_group", "target", "state", "packets_to",
        "packets_from", "bytes", "expires_in_seconds",
    ),
    APPLICATION: (
        "listener", "protocol", "source", "destination", "target_group", "target", "bytes", "expires_in_seconds",
    ),
}  # fmt: skip
# Fields that not every type has: which have them, and what they are in a flow of another type, whose JSON has them not.
_GATEWAYS, _PACKETS, _LISTENERS = (GATEWAY,), (GATEWAY, NETWORK), (NETWORK, APPLICATION)
_SOME: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "endpoint": (_GATEWAYS, ""),
    "cookie": (_GATEWAYS, ""),
    "outer_source_port": (_GATEWAYS, 0),
    "age_seconds": (_GATEWAYS, 0.0),
    "idle_seconds": (_GATEWAYS, 0.0),
    "moves": (_GATEWAYS, 0),
    "packets": (_PACKETS, 0),
    "packets_to": (_PACKETS, 0),
    "packets_from": (_PACKETS, 0),
    "listener": (_LISTENERS, ""),
    "target_group": (_LISTENERS, ""),
    "target_address": (_LISTENERS, ""),
    "target_port": (_LISTENERS, 0),
    "state": (_LISTENERS, ""),
}


@dataclass(frozen=True, slots=True)
class LiveFlow:
    """One live flow of a node, named in the direction of its first packet.

    Ports are 0 where its key has none, and so is the protocol where flows go by their addresses alone. Bytes are those
    of inner packets, both directions. `cookie` is the flow cookie as 0x and 8 hex digits. `type` is that of its load
    balancer: of a network load balancer's flow, a connection in the kernel, endpoint, cookie, outer port, age, idle
    time and moves are empty, and of an application load balancer's, a client's connection to its engine, packets, too;
    of a gateway's, what stands behind `type`. A client whose connection only waits ("idle") has no target.
    """

    node: str
    endpoint: str
    protocol: int  # IANA's number: 6 is TCP
    source: str
    source_port: int
    destination: str
    destination_port: int
    target: str
    cookie: str
    outer_source_port: int  # of the GENEVE packets to the target
    age_seconds: float
    idle_seconds: float
    expires_in_seconds: float  # unless another packet comes
    packets: int  # of both directions, there and back
    packets_to: int  # to its target
    packets_from: int  # from its target
    bytes: int
    moves: int  # how often it was given another target
    type: str = GATEWAY
    listener: str = ""  # TCP:80
    target_group: str = ""
    target_address: str = ""
    target_port: int = 0
    state: str = ""  # the keeper's word: established, time_wait, replied ...

    @property
    def has_age(self) -> bool:
        """Whether its age and idle time are known; the kernel tells neither of a connection."""
        return self.type == GATEWAY

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu flows --json` prints it: the fields that its type has."""
        others = {name for name, (types, _) in _SOME.items() if self.type not in types}
        return {key: value for key, value in asdict(self).items() if key not in others}


@dataclass(frozen=True, slots=True)
class EndedFlow:
    """A flow that ended when time was moved: the node, and one line that names the flow."""

    node: str
    flow: str


class EndedFlows(list[EndedFlow]):
    """The flows that ended when time was moved, the first thousand of each node; `total` is how many there were."""

    def __init__(self, flows: Iterable[EndedFlow], total: int) -> None:
        super().__init__(flows)
        self.total = total


def read_flows(lab: RunningLab, limit: int | None = None) -> Reading[LiveFlow]:
    """Ask every node of the lab for its flows, at most `limit` of each (None: all). Raises NetError without root."""
    found: list[LiveFlow] = []
    silent: list[NoAnswer] = []
    more: list[str] = []
    types = lab.plan.node_types
    for node in lab.plan.nodes:
        mine: list[LiveFlow] = []
        cursor, left = "", True
        while left and (limit is None or len(mine) < limit):
            wanted = PAGE if limit is None else min(PAGE, limit - len(mine))
            answers, none = ask(lab, [node.name], {"flows": {"cursor": cursor, "limit": wanted}})
            silent += none.values()
            page = answers.get(node.name, {}).get("flows", {"flows": [], "more": False, "cursor": ""})
            mine += [live_flow(node.name, types[node.name], flow) for flow in page["flows"]]
            left, cursor = page["more"], page["cursor"]
        found += mine
        more += [node.name] if left else []
    return Reading(tuple(found), tuple(silent), tuple(more))


def read_flows_from(lab: RunningLab, nodes: Iterable[str], source_port: int) -> Reading[LiveFlow]:
    """Ask nodes of network load balancers for the connections that clients have from a port, the first 500 of each."""
    answers, silent = ask(lab, nodes, {"flows": {"limit": PAGE, "source_port": source_port}})
    types = lab.plan.node_types
    found = [live_flow(node, types[node], flow) for node, said in answers.items() for flow in said["flows"]["flows"]]
    return Reading(tuple(found), tuple(silent.values()))


def live_flow(node: str, kind: str, answer: Mapping[str, Any]) -> LiveFlow:
    """Return a flow as a node of a load balancer of that type answers it."""
    absent = {name: value for name, (types, value) in _SOME.items() if kind not in types}
    packets = answer.get("packets_to", 0) + answer.get("packets_from", 0)
    protocol = _NUMBERS.get(str(answer["protocol"]).lower(), answer["protocol"])
    return value_of(LiveFlow, {**absent, "packets": packets, **answer, "protocol": protocol}, node=node, type=kind)
