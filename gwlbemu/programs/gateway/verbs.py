"""What a node answers on its control socket. Reads come from the core's own records, changes take effect at once."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.records import FlowRecord
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.errors import SettingError
from gwlbemu.ports.control import Arguments, Verb
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.config import NodeConfig
from gwlbemu.programs.gateway.fast import Follower
from gwlbemu.programs.gateway.packets import Packets
from gwlbemu.programs.gateway.trace import Trace, address_text, traced_flows
from gwlbemu.programs.gateway.traces import LEASE_SECONDS, Traces

PAGE = 100  # flows of one answer, unless `limit` says otherwise
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


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
    datapath_reason: str
    started_at: float

    def changed(self) -> None:
        """Follow up on a change of targets, attributes or the time."""

    def advance(self, seconds: float) -> None:
        """Move the node's clock forward by `seconds`, not negative; what is due by then is done in the next batches."""


class NodeVerbs:
    """The verbs of one node. Each takes the arguments of a request and returns the answer, as JSON-ready values.

    What AWS would refuse raises SettingError, with AWS's code where there is one.
    """

    def __init__(self, node: ControlledNode) -> None:
        self._node = node
        self._names = {endpoint.id: endpoint.name for endpoint in node.settings.endpoints}

    def table(self) -> dict[str, Verb]:
        """Return every verb by the name that a request calls it by."""
        return {
            "status": self.status,
            "targets": self.targets,
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

    def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer what the node is, how its packets fare at each port, its targets, and how the fast path stands."""
        node = self._node
        self._catch_up()
        sides = [*node.packets.endpoints.values(), node.packets.eni]
        return {
            "name": node.config.name,
            "load_balancer": node.config.load_balancer,
            "zone": node.config.zone,
            "datapath": "python" if node.follower is None else "ebpf",
            "datapath_reason": self._reason(),
            "fastpath": {} if node.follower is None else node.follower.stats(),
            "uptime_seconds": node.loop.now - node.started_at,
            "ports": [
                {
                    "name": side.name,
                    "frames_in": side.frames_in,
                    "verdicts": side.verdicts,
                    "socket_drops": side.port.drops(),
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
            **self.targets({}),
        }

    def _reason(self) -> str:
        follower = self._node.follower
        paused = follower is not None and follower.paused
        return "a trace runs: every packet goes through Python" if paused else self._node.datapath_reason

    def _catch_up(self) -> None:
        if self._node.follower is not None:
            self._node.follower.catch_up_all()

    def targets(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `targets`: each registered or draining target with its state, AWS's reason, and its flows."""
        self._catch_up()
        health = self._node.balancer.target_health(now=self._node.loop.now)
        return {"targets": [each._asdict() | {"address": address_text(each.address)} for each in health]}

    def flows(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer a page of `limit` flows from number `offset` on; `more` tells whether there are others behind it.

        With `newest` the flow that was placed last is number 0.
        """
        self._catch_up()
        newest_first = bool(arguments.get("newest", False))
        offset, limit = int(arguments.get("offset", 0)), int(arguments.get("limit", PAGE))
        now = self._node.loop.now
        page = list(
            itertools.islice(self._node.balancer.flows(now=now, newest_first=newest_first), offset, offset + limit + 1)
        )
        return {"flows": [self._flow(flow, now) for flow in page[:limit]], "more": len(page) > limit}

    def _flow(self, flow: FlowRecord, now: float) -> dict[str, Any]:
        """The record as it is, in JSON's types: addresses as text, instants as seconds from now."""
        told = flow._asdict()
        for internal in ("key", "tuple_size", "placed_at", "last_seen_at", "expires_at"):
            del told[internal]
        return told | {
            "endpoint": self._names.get(flow.endpoint, ""),
            "source": address_text(flow.source),
            "destination": address_text(flow.destination),
            "cookie": f"0x{flow.cookie:08x}",
            "age_seconds": now - flow.placed_at,
            "idle_seconds": now - flow.last_seen_at,
            "expires_in_seconds": flow.expires_at - now,
        }

    def metrics(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `metrics`: every counter by its name, totals since the node began."""
        self._catch_up()
        return {"metrics": self._node.balancer.metrics(now=self._node.loop.now)}

    def register(self, arguments: Arguments) -> Mapping[str, Any]:
        """RegisterTargets: the target `id` at `address` (IPv4 text) in `zone`."""
        target = Target(arguments["id"], socket.inet_aton(arguments["address"]), arguments["zone"])
        self._node.balancer.register(target, now=self._node.loop.now)
        self._node.changed()
        return {}

    def deregister(self, arguments: Arguments) -> Mapping[str, Any]:
        """DeregisterTargets: the target `id`; it drains for its deregistration delay."""
        self._node.balancer.deregister(arguments["id"], now=self._node.loop.now)
        self._node.changed()
        return {}

    def set_attributes(self, arguments: Arguments) -> Mapping[str, Any]:
        """Set `attributes` (AWS key to text) of `resource`: load-balancer, listener or target-group; all or none."""
        self._node.balancer.set_attributes(arguments["resource"], arguments["attributes"], now=self._node.loop.now)
        self._node.changed()
        return {}

    def advance(self, arguments: Arguments) -> Mapping[str, Any]:
        """Let `seconds` pass at once; answers the flows that this ended."""
        seconds = float(arguments["seconds"])
        if not 0 <= seconds <= 10**9:
            raise SettingError(f"advance: {seconds} is not a number of seconds that can pass")
        node = self._node
        before = {flow.key: flow for flow in node.balancer.flows(now=node.loop.now)}
        node.advance(seconds)
        now = node.loop.now
        while node.balancer.next_deadline() <= now:
            node.balancer.expire(now=now)
        for flow in node.balancer.flows(now=now):
            before.pop(flow.key, None)
        node.changed()
        return {"ended": [self._line(flow) for flow in before.values()]}

    def _line(self, flow: FlowRecord) -> str:
        ports = flow.source_port or flow.destination_port
        source, destination = (
            f"{address_text(address)}{f' port {port}' if ports else ''}"
            for address, port in ((flow.source, flow.source_port), (flow.destination, flow.destination_port))
        )
        protocol = PROTOCOLS.get(flow.protocol, f"protocol {flow.protocol}") if flow.protocol else "any protocol"
        return f"{protocol} {source} -> {destination} at {self._names.get(flow.endpoint, '')}, target {flow.target}"

    def trace_start(self, arguments: Arguments) -> Mapping[str, Any]:
        """Begin a trace of the flows in `match` (see `traced_flows`); without it, of all.

        Answers `trace`, its id, and `lease_seconds`: it ends so long after the last read or renewal. Other traces go
        on; as long as there is one, every packet goes through Python.
        """
        trace = Trace(traced_flows(arguments.get("match", [])))
        seconds = float(arguments.get("lease_seconds", LEASE_SECONDS))
        return {"trace": self._node.traces.start(trace, seconds), "lease_seconds": seconds}

    def trace_read(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer the `events` of a `trace` since number `after` and their `count` so far; renews its lease."""
        return self._node.traces.renew(arguments["trace"]).read(int(arguments.get("after", 0)))

    def trace_renew(self, arguments: Arguments) -> Mapping[str, Any]:
        """Renew the lease of a `trace`."""
        self._node.traces.renew(arguments["trace"])
        return {}

    def trace_stop(self, arguments: Arguments) -> Mapping[str, Any]:
        """End a `trace`; answers what `trace_read` would, for the last time."""
        return self._node.traces.stop(arguments["trace"]).read(int(arguments.get("after", 0)))
