"""The live flows of a lab's nodes.

A new field of a flow: `core/gateway/records.py` declares it, `core/gateway/placement.py` fills it in, `LiveFlow` here
takes it under the same name (and `COLUMNS` shows it in tables). The node's answer is made of the record as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gwlbemu.lab.running import RunningLab
from gwlbemu.views.ask import NoAnswer, Reading, ask, value_of

PAGE = 500  # flows per request where all are wanted; a node gives no more at once

# What a table of flows shows, in its order; an address comes with its port.
COLUMNS = (
    "endpoint", "protocol", "source", "destination", "target", "cookie", "packets_to", "packets_from", "bytes",
    "idle_seconds", "expires_in_seconds", "moves",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LiveFlow:
    """One live flow of a node, named in the direction of its first packet.

    Ports are 0 where its key has none, and so is the protocol where flows go by their addresses alone. Bytes are those
    of inner packets, both directions. `cookie` is the flow cookie as 0x and 8 hex digits.
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
    for node in lab.plan.gateway_nodes:
        mine: list[LiveFlow] = []
        cursor, left = "", True
        while left and (limit is None or len(mine) < limit):
            wanted = PAGE if limit is None else min(PAGE, limit - len(mine))
            answers, none = ask(lab, [node.name], {"flows": {"cursor": cursor, "limit": wanted}})
            silent += none.values()
            page = answers.get(node.name, {}).get("flows", {"flows": [], "more": False, "cursor": ""})
            mine += [value_of(LiveFlow, flow, node=node.name) for flow in page["flows"]]
            left, cursor = page["more"], page["cursor"]
        found += mine
        more += [node.name] if left else []
    return Reading(tuple(found), tuple(silent), tuple(more))
