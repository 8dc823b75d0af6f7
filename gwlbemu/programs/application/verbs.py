"""What the keeper of an application load balancer's node answers on its control socket.

Reads come from the core (targets and their states) and from HAProxy (requests, counters); a change takes effect at
once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Protocol

from gwlbemu.core.application.balancer import ApplicationBalancer
from gwlbemu.net.connections import Connection, established
from gwlbemu.ports.arguments import Arguments, flag, number, refused, text, whole
from gwlbemu.ports.control import Verb
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.application.access_log import AccessLog
from gwlbemu.programs.application.config import NodeConfig, balancer_from_json
from gwlbemu.programs.application.metrics import Metrics, Traffic, traffic
from gwlbemu.programs.application.wanted import Wanted
from gwlbemu.programs.haproxy.keeping import HaproxyKeeper
from gwlbemu.programs.haproxy.master import Session
from gwlbemu.wire.protocols import TCP, name

PAGE, LONGEST_PAGE = 100, 500  # flows of one answer, unless `limit` says otherwise, and at most
LONGEST_ADVANCE = 1e9  # seconds
LONGEST_LIMIT = 1 << 40  # what may be asked for; an answer has LONGEST_PAGE of it


class ControlledKeeper(Protocol):
    """What the verbs need of a keeper (`keeper.Keeper` is one). `started_at` is on the loop's clock."""

    config: NodeConfig
    loop: Loop
    balancer: ApplicationBalancer
    engine: HaproxyKeeper[Wanted]
    access_log: AccessLog
    names: dict[str, tuple[str, str]]
    metrics: Metrics
    started_at: float

    def changed(self) -> None:
        """Follow up on a change of the load balancer or the time."""


class KeeperVerbs:
    """The verbs of one keeper. Each takes the arguments of a request and returns the answer, as JSON-ready values."""

    def __init__(self, keeper: ControlledKeeper) -> None:
        self._keeper = keeper

    def table(self) -> dict[str, Verb]:
        """Return every verb by the name that a request calls it by."""
        return {
            "status": self.status,
            "targets": self.targets,
            "flows": self.flows,
            "metrics": self.metrics,
            "configure": self.configure,
            "advance": self.advance,
        }

    async def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer what the node is, and its targets. `proxy` is "running", or why its HAProxy is not; `access_log` says
        how many lines were written and how many were not, nothing before the first.
        """
        keeper = self._keeper
        targets = await self.targets({})
        return {
            "name": keeper.config.name,
            "load_balancer": keeper.config.settings.load_balancer,
            "zone": keeper.config.settings.zone,
            "datapath": "haproxy",
            "uptime_seconds": keeper.loop.now - keeper.started_at,
            "faults": dict(keeper.loop.faults.counts),
            "proxy": keeper.engine.state,
            "access_log": keeper.access_log.status(),
            "failing_open": keeper.balancer.failing_open(),
            "ports": [],
            "discards": {},
            **targets,
        }

    async def targets(self, _: Arguments) -> Mapping[str, Any]:
        """Answer the targets of every group: state, connections to it that there are, requests, those under way."""
        sent = traffic(await self._keeper.engine.counted())
        return {
            "targets": [
                {
                    "target_group": each.target_group,
                    "id": each.id,
                    "address": str(ipaddress.ip_address(each.address)),
                    "port": each.port,
                    "zone": each.zone,
                    "state": each.state,
                    "reason": each.reason,
                    "description": each.description,
                    "flows": its.connections,
                    "requests": its.requests,
                    "in_flight": its.in_flight,
                }
                for each in self._keeper.balancer.target_health(now=self._keeper.loop.now)
                for its in (sent.get(each.server, Traffic()),)
                if each.is_seen or its.connections
            ]
        }

    async def flows(self, arguments: Arguments) -> Mapping[str, Any]:
        """Answer a page of at most `limit` connections of clients (500 at most), who began first first (as the kernel
        numbers them), with `newest` last first.

        One whose request is under way has its target, and is "proxied"; HAProxy tells nothing of the others, which are
        "idle". `more` tells whether there may be others: then `cursor`, given in the next request, is where they begin.
        """
        limit = min(whole(arguments, "limit", 1, LONGEST_LIMIT, PAGE), LONGEST_PAGE)
        cursor, newest_first = text(arguments, "cursor", ""), flag(arguments, "newest")
        listeners = {each.port: each.name for each in self._keeper.balancer.told().listeners}
        live = sorted(established(listeners), reverse=newest_first)
        if cursor:
            live = [each for each in live if (_place(each) < cursor if newest_first else _place(each) > cursor)]
        sessions = {(each.source, each.source_port): each for each in await self._keeper.engine.sessions()}
        page, following = live[:limit], _place(live[limit - 1]) if len(live) > limit else ""
        flows = [self._flow(each, listeners[each.port], sessions.get((each.peer, each.peer_port))) for each in page]
        return {"flows": flows, "more": bool(following), "cursor": following}

    def _flow(self, client: Connection, listener: str, session: Session | None) -> dict[str, Any]:
        group, target = self._keeper.names.get("" if session is None else session.server, ("", ""))
        return {
            "listener": listener,
            "target_group": group,
            "target": target,
            "protocol": name(TCP),
            "source": client.peer,
            "source_port": client.peer_port,
            "destination": client.address,
            "destination_port": client.port,
            "target_address": "" if session is None else session.target_address,
            "target_port": 0 if session is None else session.target_port,
            "state": "idle" if session is None else "proxied",
            "bytes": 0 if session is None else session.bytes,
            "expires_in_seconds": 0 if session is None else session.expires_in_seconds,
        }

    async def metrics(self, _: Arguments) -> Mapping[str, Any]:
        """Answer `metrics` by CloudWatch's names (AWS/ApplicationELB), totals since the node began or what is now, and
        `by_group` those that CloudWatch has of a target group.
        """
        counters = await self._keeper.engine.counted()
        health = self._keeper.balancer.target_health(now=self._keeper.loop.now)
        return {
            "metrics": self._keeper.metrics.of_node(counters, health),
            "by_group": self._keeper.metrics.of_groups(counters, health),
        }

    def configure(self, arguments: Arguments) -> Mapping[str, Any]:
        """Be the load balancer `balancer` (see `config.balancer_to_json`) from now on: all of it or, refused, none."""
        try:
            balancer = balancer_from_json(arguments["balancer"])
        except (KeyError, TypeError, ValueError):
            raise refused("balancer", "a load balancer", arguments.get("balancer")) from None
        self._keeper.balancer.configure(balancer, now=self._keeper.loop.now)
        self._keeper.changed()
        return {}

    def advance(self, arguments: Arguments) -> Mapping[str, Any]:
        """Let `seconds` pass at once: deregistration delays, slow start, the pace of health checks.

        What HAProxy has by its own clock does not go on: idle times, keep-alive, the age of cookies and tokens.
        """
        self._keeper.loop.advance(number(arguments, "seconds", 0, LONGEST_ADVANCE))
        self._keeper.changed()
        return {"count": 0, "ended": []}


def _place(connection: Connection) -> str:
    """Where a connection stands among all: a cursor."""
    return f"{connection.number:020d}"
