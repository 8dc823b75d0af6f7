"""What the keeper of a network load balancer's node answers on its control socket.

Reads come from the core (targets and their states) and from the kernel (connections, counters); a change takes effect
at once. What walks through many connections does so in slices.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.proxy import listener_of, number_of
from gwlbemu.net import conntrack
from gwlbemu.ports.arguments import Arguments, flag, number, refused, text, whole
from gwlbemu.ports.control import Verb
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.haproxy.master import Session
from gwlbemu.programs.network.config import NodeConfig, balancer_from_json
from gwlbemu.programs.network.connections import Connections, Live
from gwlbemu.programs.network.kernel import Kernel
from gwlbemu.programs.network.proxy import ProxyKeeper
from gwlbemu.programs.network.ruleset import (
    FROM_TARGETS,
    NEW,
    RESETS_BY_CLIENT,
    RESETS_BY_NODE,
    RESETS_BY_TARGET,
    TO_TARGETS,
)
from gwlbemu.wire.protocols import TCP, UDP, name

PAGE, LONGEST_PAGE = 100, 500  # flows of one answer, unless `limit` says otherwise, and at most
ENDED_LINES = 1000  # flows that an answer to `advance` names
LONGEST_ADVANCE = 1e9  # seconds
_PROXIED = "proxy-"  # begins the cursors of the proxy's connections
LONGEST_LIMIT = 1 << 40  # what may be asked for; an answer has LONGEST_PAGE of it


class ControlledKeeper(Protocol):
    """What the verbs need of a keeper (`keeper.Keeper` is one). `started_at` is on the loop's clock."""

    config: NodeConfig
    loop: Loop
    balancer: NetworkBalancer
    kernel: Kernel
    connections: Connections
    proxy: ProxyKeeper | None
    started_at: float

    def changed(self) -> None:
        """Follow up on a change of the load balancer or the time."""


class KeeperVerbs:
    """The verbs of one keeper. Each takes the arguments of a request and returns the answer, as JSON-ready values."""

    def __init__(self, keeper: ControlledKeeper) -> None:
        self._keeper = keeper
        self._advancing = asyncio.Lock()

    def table(self) -> dict[str, Verb]:
        """Return every verb by the name that a request calls it by."""
        return {
            "status": self.status,
            "targets": self.targets,
            "flows": self.flows,
            "metrics": self.metrics,
            "configure": self.configure,
            "advance": self.advance,
            "repair": self.repair,
        }

    async def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer what the node is, its targets, and `tables`: intact, missing or altered (see `repair`).

        `proxy` is "running", why it is not, or "" where the load balancer needs none.
        """
        keeper = self._keeper
        targets = await self.targets({})
        return {
            "name": keeper.config.name,
            "load_balancer": keeper.config.load_balancer,
            "zone": keeper.config.zone,
            "datapath": "nftables",
            "uptime_seconds": keeper.loop.now - keeper.started_at,
            "faults": dict(keeper.loop.faults.counts),
            "tables": keeper.kernel.state(),
            "proxy": "" if keeper.proxy is None else keeper.proxy.state,
            "failing_open": keeper.balancer.failing_open(),
            "ports": [],
            "discards": {},
            **targets,
        }

    async def targets(self, _: Arguments) -> Mapping[str, Any]:
        """Answer the targets of every group: state, live flows, packets to and from since they were registered."""
        flows = await self._keeper.connections.by_number()
        flows.update(number_of(each.server) for each in await self._proxied())
        traffic = self._keeper.kernel.traffic()
        return {
            "targets": [
                {
                    "target_group": each.target_group,
                    "id": each.id,
                    "address": _address_text(each.address),
                    "port": each.port,
                    "zone": each.zone,
                    "state": each.state,
                    "reason": each.reason,
                    "description": each.description,
                    "flows": flows[each.number],
                    "packets_to": traffic.get(f"{TO_TARGETS}_{each.number}", (0, 0))[0],
                    "packets_from": traffic.get(f"{FROM_TARGETS}_{each.number}", (0, 0))[0],
                }
                for each in self._keeper.balancer.target_health(now=self._keeper.loop.now)
                if each.is_seen or flows[each.number]
            ]
        }

    async def flows(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer a page of at most `limit` flows (500 at most), who began first first, with `newest` last first.

        `more` tells whether there may be others: then `cursor`, given in the next request, is where they begin. A flow
        that lives throughout is on exactly one page, whatever else comes and goes. Those of the proxy come last. With
        `source_port` there are those alone that come from that port.
        """
        limit = min(whole(arguments, "limit", 1, LONGEST_LIMIT, PAGE), LONGEST_PAGE)
        cursor, newest_first = text(arguments, "cursor", ""), flag(arguments, "newest")
        port = whole(arguments, "source_port", 0, 65535, 0)
        if cursor.startswith(_PROXIED):
            sessions = [each for each in await self._proxied(port) if _place(each) > cursor]
            following = _place(sessions[limit - 1]) if len(sessions) > limit else ""
            flows = [self._session(each) for each in sessions[:limit]]
        else:
            page, following = await self._keeper.connections.page(limit, cursor, newest_first, port)
            flows = [self._flow(each) for each in page]
            if not following and await self._proxied(port):
                following = _PROXIED
        return {"flows": flows, "more": bool(following), "cursor": following}

    async def _proxied(self, port: int = 0) -> list[Session]:
        """The connections of the proxy, in the order of their places; of a client's port, or (0) all."""
        proxy = self._keeper.proxy
        found = [] if proxy is None else sorted(await proxy.flows(), key=_place)
        return [each for each in found if port in (0, each.source_port)]

    def _session(self, session: Session) -> dict[str, Any]:
        """A connection of the proxy, as `_flow` has one; its packets are not counted."""
        group, target = self._keeper.balancer.name_of(number_of(session.server))
        return {
            "listener": listener_of(session.frontend),
            "target_group": group,
            "target": target,
            "protocol": name(TCP),
            "source": session.source,
            "source_port": session.source_port,
            "destination": session.destination,
            "destination_port": session.destination_port,
            "target_address": session.target_address,
            "target_port": session.target_port,
            "state": "proxied",
            "packets_to": 0,
            "packets_from": 0,
            "bytes": session.bytes,
            "expires_in_seconds": session.expires_in_seconds,
        }

    def _flow(self, live: Live) -> dict[str, Any]:
        entry = live.entry
        original, reply, counted = entry.original, entry.reply, entry.counters
        group, target = self._keeper.balancer.name_of(live.mark)
        return {
            "listener": self._keeper.balancer.listener_of(live.protocol, original.destination_port),
            "target_group": group,
            "target": target,
            "protocol": name(live.protocol),
            "source": _address_text(original.source),
            "source_port": original.source_port,
            "destination": _address_text(original.destination),
            "destination_port": original.destination_port,
            "target_address": _address_text(reply.source),
            "target_port": reply.source_port,
            "state": entry.state,
            "packets_to": counted[0],
            "packets_from": counted[2],
            "bytes": counted[1] + counted[3],
            "expires_in_seconds": entry.timeout,
        }

    async def metrics(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `metrics` by CloudWatch's names (AWS/NetworkELB): totals since the node began, or what is now."""
        live = await self._keeper.connections.live()
        traffic = self._keeper.kernel.traffic()
        health = self._keeper.balancer.target_health(now=self._keeper.loop.now)
        states = [each.state for each in health if each.is_seen]

        def packets(counter: str) -> int:
            return traffic.get(counter, (0, 0))[0]

        found = {
            "HealthyHostCount": states.count("healthy"),
            "UnHealthyHostCount": sum(state.startswith("unhealthy") for state in states),
            "TCP_Client_Reset_Count": packets(RESETS_BY_CLIENT),
            "TCP_Target_Reset_Count": packets(RESETS_BY_TARGET),
            "TCP_ELB_Reset_Count": packets(RESETS_BY_NODE),
            "PortAllocationErrorCount": conntrack.insert_failures(),
        }
        active = Counter(each.protocol for each in live)
        for protocol in (TCP, UDP):
            word = name(protocol)
            both = [traffic.get(f"{way}_{word}", (0, 0)) for way in (TO_TARGETS, FROM_TARGETS)]
            for metric, value in (
                ("ActiveFlowCount", active[protocol]),
                ("NewFlowCount", packets(f"{NEW}_{word}")),
                ("ProcessedBytes", sum(counted[1] for counted in both)),
            ):
                found[f"{metric}_{word.upper()}"] = value
                found[metric] = found.get(metric, 0) + value
            found["ProcessedPackets"] = found.get("ProcessedPackets", 0) + sum(counted[0] for counted in both)
        if self._keeper.proxy is not None:
            for metric, value in (await self._keeper.proxy.metrics()).items():
                found[metric] = found.get(metric, 0) + value
                if metric.startswith(("ActiveFlow", "NewFlow", "ProcessedBytes")):
                    found[metric.partition("_")[0]] += value
        return {"metrics": found}

    def configure(self, arguments: Arguments) -> Mapping[str, Any]:
        """Be the load balancer `balancer` (see `config.balancer_to_json`) from now on: all of it or, refused, none."""
        try:
            balancer = balancer_from_json(arguments["balancer"])
        except (KeyError, TypeError, ValueError, OSError):
            raise refused("balancer", "a load balancer", arguments.get("balancer")) from None
        self._keeper.balancer.configure(balancer, now=self._keeper.loop.now)
        self._keeper.changed()
        return {}

    async def advance(self, arguments: Arguments) -> Mapping[str, Any]:
        """Let `seconds` pass at once; answers how many flows this ended (`count`), and the first of them (`ended`).

        A second request waits for the first.
        """
        seconds = number(arguments, "seconds", 0, LONGEST_ADVANCE)
        keeper = self._keeper
        async with self._advancing:
            keeper.loop.advance(seconds)
            keeper.changed()
            ended = [self._flow(each) for each in await keeper.connections.let_pass(seconds)]
            if keeper.proxy is not None:
                ended += [self._session(each) for each in await keeper.proxy.advance(seconds)]
        return {"count": len(ended), "ended": [self._line(each) for each in ended[:ENDED_LINES]]}

    @staticmethod
    def _line(flow: Mapping[str, Any]) -> str:
        return (
            f"{flow['protocol']} {flow['source']} port {flow['source_port']} -> {flow['destination']} port "
            f"{flow['destination_port']}, target {flow['target']}"
        )

    def repair(self, _: Arguments) -> Mapping[str, Any]:
        """Write all tables into the kernel again."""
        self._keeper.kernel.repair()
        return {}


def _place(session: Session) -> str:
    """Where a connection of the proxy stands among all: a cursor."""
    return f"{_PROXIED}{session.worker:010d}-{session.pointer}"


def _address_text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
