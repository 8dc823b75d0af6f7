"""What a node answers on its control socket. Reads come from the core's own records, changes take effect at once.

No verb stops the packets: what walks through many flows does so in slices of some milliseconds, between which the loop
moves packets, and no answer grows with the flow table.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.records import FlowRecord
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.ports.arguments import Arguments, flag, number, refused, text, texts, whole
from gwlbemu.ports.control import Verb
from gwlbemu.ports.icmp_errors import IcmpErrors
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.config import NodeConfig
from gwlbemu.programs.gateway.fast import Follower
from gwlbemu.programs.gateway.packets import Packets
from gwlbemu.programs.gateway.trace import Trace, address_text, traced_flows
from gwlbemu.programs.gateway.traces import LEASE_SECONDS, LONGEST_LEASE, SHORTEST_LEASE, Traces
from gwlbemu.wire.protocols import NAMES

PAGE, LONGEST_PAGE = 100, 500  # flows of one answer, unless `limit` says otherwise, and at most
ENDED_LINES = 1000  # flows that an answer to `advance` names
LONGEST_ADVANCE = 1e9  # seconds
LONGEST_LIMIT = 1 << 40  # what may be asked for; an answer has LONGEST_PAGE of it


class ControlledNode(Protocol):
    """What the verbs need of a node (`node.Node` is one). `started_at` is on the loop's clock."""

    config: NodeConfig
    settings: Settings
    loop: Loop
    balancer: Balancer
    packets: Packets
    follower: Follower | None
    discards: Discards
    traces: Traces
    icmp_errors: IcmpErrors
    datapath_reason: str
    started_at: float

    def changed(self) -> None:
        """Follow up on a change of targets, attributes or the time."""

    def expired(self) -> None:
        """Follow up on flows that have gone."""

    def advance(self, seconds: float) -> None:
        """Move the node's clock forward by `seconds`, not negative; what is due by then is done in the next batches."""


class NodeVerbs:
    """The verbs of one node. Each takes the arguments of a request and returns the answer, as JSON-ready values.

    What AWS would refuse raises SettingError, with AWS's code where there is one.
    """

    def __init__(self, node: ControlledNode) -> None:
        self._node = node
        self._advancing = asyncio.Lock()
        self._names = {endpoint.id: endpoint.name for endpoint in node.settings.endpoints}

    def table(self) -> dict[str, Verb]:
        """Return every verb by the name that a request calls it by."""
        return {
            "status": self.status,
            "targets": self.targets,
            "traffic": self.traffic,
            "flows": self.flows,
            "metrics": self.metrics,
            "register": self.register,
            "deregister": self.deregister,
            "set": self.set_attributes,
            "advance": self.advance,
            "trace_start": self.trace_start,
            "trace_read": self.trace_read,
            "trace_renew": self.trace_renew,
            "trace_stop": self.trace_stop,
        }

    async def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer what the node is, how its packets fare at each port, its targets, and how the fast path stands."""
        node = self._node
        targets = await self.targets({})
        sides = [*node.packets.endpoints.values(), node.packets.eni]
        return {
            "name": node.config.name,
            "load_balancer": node.config.load_balancer,
            "zone": node.config.zone,
            "datapath": "python" if node.follower is None else "ebpf",
            "datapath_reason": self._reason(),
            "fastpath": {} if node.follower is None else node.follower.stats(),
            "uptime_seconds": node.loop.now - node.started_at,
            "faults": dict(node.loop.faults.counts),
            "ports": [
                {
                    "name": side.name,
                    "frames_in": side.frames_in,
                    "verdicts": side.verdicts,
                    "socket_drops": side.port.drops(),
                    "tagged": side.port.tagged(),
                    "frames_out": side.frames_out,
                    "unsent": side.port.unsent,
                }
                for side in sides
            ],
            "discards": {  # told and untold: the same under the names that they had first
                "reported": node.discards.reported,
                "unreported": node.discards.unreported,
                "told": node.discards.reported,
                "untold": node.discards.unreported,
            },
            **targets,
        }

    def _reason(self) -> str:
        follower = self._node.follower
        paused = follower is not None and follower.paused
        return "a trace runs: every packet goes through Python" if paused else self._node.datapath_reason

    async def _catch_up(self) -> None:
        if self._node.follower is not None:
            await self._node.follower.catch_up_all()

    async def targets(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `targets`: each registered or draining target with its state, AWS's reason, and its flows."""
        await self._catch_up()
        health = self._node.balancer.target_health(now=self._node.loop.now)
        return {"targets": [each._asdict() | {"address": address_text(each.address)} for each in health]}

    async def traffic(self, _: Arguments) -> Mapping[str, Any]:
        """Answer what became of packets: `traffic` by target, endpoint and protocol; `refused`, what came back and was
        not taken, with an empty endpoint or no protocol where that is unknown (`late`: of a flow that had ended before
        its time, and not by the target); `unreachable`, ICMP errors about packets to targets.
        """
        await self._catch_up()
        balancer = self._node.balancer
        return {
            "traffic": [
                each._asdict() | {"endpoint": self._names.get(each.endpoint, "")}
                for each in balancer.traffic(now=self._node.loop.now)
            ],
            "refused": [
                each._asdict() | {"endpoint": self._names.get(each.endpoint or 0, ""), "reason": each.reason.value}
                for each in balancer.refused()
            ],
            "unreachable": [each._asdict() for each in self._node.icmp_errors.rows()],
        }

    async def flows(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer a page of at most `limit` flows (500 at most), the one placed first first, with `newest` last first.

        `more` tells whether there may be others: then `cursor`, given in the next request, is where they begin. A flow
        that lives throughout is on exactly one page, whatever else comes and goes. A page may be short.
        """
        limit = min(whole(arguments, "limit", 1, LONGEST_LIMIT, PAGE), LONGEST_PAGE)
        cursor, newest_first = text(arguments, "cursor", ""), flag(arguments, "newest")
        if not cursor:
            await self._catch_up()
        now = self._node.loop.now
        page = self._node.balancer.flow_page(now=now, limit=limit, cursor=cursor, newest_first=newest_first)
        return {
            "flows": [self._flow(flow, now) for flow in page.flows],
            "more": bool(page.cursor),
            "cursor": page.cursor,
        }

    def _flow(self, flow: FlowRecord, now: float) -> dict[str, Any]:
        """The record as it is, in JSON's types: addresses as text, instants as seconds from now."""
        told = flow._asdict()
        for internal in ("key", "tuple_size", "placed_at", "last_seen_at", "expires_at"):
            del told[internal]
        return told | {
            "packets": flow.packets,
            "endpoint": self._names.get(flow.endpoint, ""),
            "source": address_text(flow.source),
            "destination": address_text(flow.destination),
            "cookie": f"0x{flow.cookie:08x}",
            "age_seconds": now - flow.placed_at,
            "idle_seconds": now - flow.last_seen_at,
            "expires_in_seconds": flow.expires_at - now,
        }

    async def metrics(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `metrics`: every counter by its name, totals since the node began."""
        await self._catch_up()
        return {"metrics": self._node.balancer.metrics(now=self._node.loop.now)}

    def register(self, arguments: Arguments) -> Mapping[str, Any]:
        """RegisterTargets: the target `id` at `address` (IPv4 text) in `zone`."""
        target = Target(text(arguments, "id"), _ipv4(arguments, "address"), text(arguments, "zone"))
        self._node.balancer.register(target, now=self._node.loop.now)
        self._node.changed()
        return {}

    def deregister(self, arguments: Arguments) -> Mapping[str, Any]:
        """DeregisterTargets: the target `id`; it drains for its deregistration delay."""
        self._node.balancer.deregister(text(arguments, "id"), now=self._node.loop.now)
        self._node.changed()
        return {}

    def set_attributes(self, arguments: Arguments) -> Mapping[str, Any]:
        """Set `attributes` (AWS key to text) of `resource`: load-balancer, listener or target-group; all or none."""
        resource, attributes = text(arguments, "resource"), texts(arguments, "attributes")
        self._node.balancer.set_attributes(resource, attributes, now=self._node.loop.now)
        self._node.changed()
        return {}

    async def advance(self, arguments: Arguments) -> Mapping[str, Any]:
        """Let `seconds` pass at once; answers how many flows this ended (`count`), and the first of them (`ended`).

        The time jumps, the flows go in slices with packets in between. A second request waits for the first.
        """
        seconds = number(arguments, "seconds", 0, LONGEST_ADVANCE)
        node = self._node
        async with self._advancing:
            before = node.loop.now
            node.advance(seconds)
            reached = node.loop.now
            with node.balancer.ending(before, reached, ENDED_LINES) as endings:
                while node.balancer.next_deadline() <= reached:
                    node.balancer.expire(now=node.loop.now)
                    node.expired()
                    await asyncio.sleep(0)
            node.changed()
        return {"count": endings.count, "ended": [self._line(flow) for flow in endings.known()]}

    def _line(self, flow: FlowRecord) -> str:
        ports = flow.source_port or flow.destination_port
        source, destination = (
            f"{address_text(address)}{f' port {port}' if ports else ''}"
            for address, port in ((flow.source, flow.source_port), (flow.destination, flow.destination_port))
        )
        protocol = NAMES.get(flow.protocol, f"protocol {flow.protocol}") if flow.protocol else "any protocol"
        return f"{protocol} {source} -> {destination} at {self._names.get(flow.endpoint, '')}, target {flow.target}"

    def trace_start(self, arguments: Arguments) -> Mapping[str, Any]:
        """Begin a trace of the flows in `match` (see `traced_flows`); without it, of all.

        Answers `trace`, its id, and `lease_seconds`: it ends so long after the last read or renewal. Other traces go
        on; as long as there is one, every packet goes through Python.
        """
        trace = Trace(traced_flows(arguments.get("match", [])))
        seconds = number(arguments, "lease_seconds", SHORTEST_LEASE, LONGEST_LEASE, LEASE_SECONDS)
        return {"trace": self._node.traces.start(trace, seconds), "lease_seconds": seconds}

    def trace_read(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer the next `events` of a `trace` after number `after` and their `count` so far; renews its lease.

        `more` tells whether others are there already: ask again after the number of the last.
        """
        after = whole(arguments, "after", 0, 1 << 62, 0)
        return self._node.traces.renew(text(arguments, "trace")).read(after)

    def trace_renew(self, arguments: Arguments) -> Mapping[str, Any]:
        """Renew the lease of a `trace`."""
        self._node.traces.renew(text(arguments, "trace"))
        return {}

    def trace_stop(self, arguments: Arguments) -> Mapping[str, Any]:
        """End a `trace`; answers what `trace_read` would, for the last time."""
        after = whole(arguments, "after", 0, 1 << 62, 0)
        return self._node.traces.stop(text(arguments, "trace")).read(after)


def _ipv4(arguments: Arguments, name: str) -> bytes:
    value = text(arguments, name)
    try:
        return socket.inet_pton(socket.AF_INET, value)
    except (OSError, ValueError):
        raise refused(name, "an IPv4 address", value) from None
