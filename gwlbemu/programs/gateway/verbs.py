"""What a node answers on its control socket. Reads come from the core's own records, changes take effect at once."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gwlbemu.core.gateway.records import FlowRecord
from gwlbemu.core.gateway.settings import Target
from gwlbemu.errors import SettingError
from gwlbemu.ports.control import Arguments, Verb
from gwlbemu.programs.gateway.trace import Trace, address_text

if TYPE_CHECKING:
    from gwlbemu.programs.gateway.node import Node

PAGE = 100
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


class NodeVerbs:
    """The verbs of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._trace: Trace | None = None
        self._names = {endpoint.id: endpoint.name for endpoint in node.settings.endpoints}

    def table(self) -> dict[str, Verb]:
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
            "trace_stop": self.trace_stop,
        }

    def status(self, _: Arguments) -> Mapping[str, Any]:
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
            "discards": {"told": node.discards.told, "untold": node.discards.untold},
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
        self._catch_up()
        health = self._node.balancer.target_health(now=self._node.loop.now)
        return {"targets": [each._asdict() | {"address": address_text(each.address)} for each in health]}

    def flows(self, arguments: Arguments) -> Mapping[str, Any]:
        """A page of `limit` flows from number `offset` on; `more` tells whether there are others behind it.

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
        self._catch_up()
        return {"metrics": self._node.balancer.metrics(now=self._node.loop.now)}

    def register(self, arguments: Arguments) -> Mapping[str, Any]:
        target = Target(arguments["id"], socket.inet_aton(arguments["address"]), arguments["zone"])
        self._node.balancer.register(target, now=self._node.loop.now)
        self._node.changed()
        return {}

    def deregister(self, arguments: Arguments) -> Mapping[str, Any]:
        self._node.balancer.deregister(arguments["id"], now=self._node.loop.now)
        self._node.changed()
        return {}

    def set_attributes(self, arguments: Arguments) -> Mapping[str, Any]:
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
        """Trace the flows in `match` (rows of protocol, two addresses, two ports; none: all); ends an earlier trace."""
        node = self._node
        if node.follower is not None:
            node.follower.pause(True)
        addresses = {each.address: each.id for each in node.balancer.target_health(now=node.loop.now)}
        self._trace = Trace(
            [(int(row[0]), row[1], row[2], int(row[3]), int(row[4])) for row in arguments.get("match", [])],
            balancer=node.balancer,
            endpoints=self._names,
            targets=lambda address: addresses.get(address, address_text(address) if len(address) == 4 else ""),
            clock=node.loop.clock.since_boot,
            links=node.settings.links,
        )
        node.packets.judge = self._trace
        return {}

    def trace_read(self, arguments: Arguments) -> Mapping[str, Any]:
        if self._trace is None:
            raise SettingError("no trace has been started")
        return self._trace.read(int(arguments.get("after", 0)))

    def trace_stop(self, _: Arguments) -> Mapping[str, Any]:
        """Stop noting; what was noted can still be read."""
        self._node.packets.judge = self._node.balancer
        if self._node.follower is not None:
            self._node.follower.pause(False)
        return {}
