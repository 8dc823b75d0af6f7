"""The keeper's side of its node's proxy: what HAProxy is told, and what it says.

HAProxy is a process of the lab's own beside the keeper, which the lab has started in the node's namespace, in the
node's own folder. The keeper writes its text there and reloads it where the shape has changed, and tells it the states
of servers where not. It does so until HAProxy has taken it: one that was started again takes the newest text by itself.

Two things are as HAProxy has them, not AWS: a connection that is ended ends by a FIN where it has sent everything, and
the idle time of a connection ends it at once, not at the next packet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gwlbemu.core.network.proxy import Proxy, number_of
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.network import haproxy, proxy_text
from gwlbemu.programs.network.config import PROXY_CONFIGURATION, PROXY_SOCKET
from gwlbemu.programs.network.haproxy import Counted, Session, Workers

WATCH_SECONDS = 1.0  # between two looks at what is running
RELOAD_SECONDS, POLL_SECONDS = 10.0, 0.02
LONGEST_IDLE_SECONDS = 6000  # NLB guide, Idle timeout
RUNNING, SILENT = "running", "does not answer"
_ERRORS = (OSError, TimeoutError, asyncio.IncompleteReadError)


class _Jump(NamedTuple):
    at: float
    seconds: float
    seen: frozenset[tuple[int, str, int]]  # the connections that there were


class ProxyKeeper:
    """Keeps the HAProxy of the node whose own folder is `folder` as it is wanted. `now` is seconds of real time."""

    def __init__(self, loop: Loop, folder: Path, now: Callable[[], float]) -> None:
        self._loop, self._folder, self._now = loop, folder, now
        self._wanted = Proxy()
        self._applied: Proxy | None = None  # what the newest worker does
        self._loaded = ""  # the description of the text that it has read
        self._written = ""
        self._refused = ""  # the description of a text that is not to be tried again
        self._ending: list[int] = []
        self._counted: dict[int, list[Counted]] = {}  # by worker, also of those that are no more
        self._jumps: list[_Jump] = []
        self._busy = asyncio.Lock()
        self._waiting = False  # whether somebody is about to follow what is wanted
        self.state = "not started yet"  # RUNNING, or in words why it is not; "" where nothing needs it any more
        self._loop.call_after(0, self._watch)

    def apply(self, wanted: Proxy, ended: Iterable[int] = ()) -> None:
        """Let it be `wanted` as soon as it can be told, and end the connections to the targets with these numbers."""
        before, self._wanted = self._wanted, wanted
        ended = list(ended)
        self._ending += ended
        if (ended or wanted != before) and not self._waiting:  # who waits for a frozen HAProxy does it for all
            self._waiting = True
            self._loop.start(self._follow())

    async def flows(self) -> list[Session]:
        """Return every connection that has a target, in no order; none where HAProxy does not answer."""
        found: list[Session] = []
        if self.state.startswith(SILENT):
            return found  # the next look tells whether it answers again
        try:
            for worker in _all(await self._workers()):
                found += haproxy.sessions(worker, await self._ask(f"@!{worker} show sess all"))
        except _ERRORS:
            return found
        return [each for each in found if number_of(each.server)]

    async def metrics(self) -> dict[str, int]:
        """Return CloudWatch's metrics (AWS/NetworkELB) of what goes through the proxy: totals, and what is now."""
        async with self._busy:
            try:
                living = await self._count()
            except _ERRORS:
                living = ()
        found = dict.fromkeys(
            (f"{what}_{each}" for what in ("ActiveFlowCount", "NewFlowCount", "ProcessedBytes") for each in _PROTOCOLS),
            0,
        ) | {"ClientTLSNegotiationErrorCount": 0, "TargetTLSNegotiationErrorCount": 0}
        for worker, rows in self._counted.items():
            for row in rows:
                protocol = "TLS" if row.proxy.startswith("TLS") else "TCP"
                if not row.is_frontend:
                    found["TargetTLSNegotiationErrorCount"] += row.failed_handshakes
                    continue
                found[f"ActiveFlowCount_{protocol}"] += row.now if worker in living else 0
                found[f"NewFlowCount_{protocol}"] += row.total
                found[f"ProcessedBytes_{protocol}"] += row.bytes
                found["ClientTLSNegotiationErrorCount"] += row.failed_handshakes
        return found

    async def advance(self, seconds: float) -> list[Session]:
        """Let `seconds` pass for all connections: end those whose idle time is over by then, and return them."""
        flows = await self.flows()
        oldest = self._now() - LONGEST_IDLE_SECONDS
        self._jumps = [each for each in self._jumps if each.at > oldest]
        self._jumps.append(_Jump(self._now(), seconds, frozenset(map(_identity, flows))))
        idle = {each.name: each.idle_seconds for each in self._wanted.frontends}
        over = [each for each in flows if self._is_over(each, idle.get(each.frontend))]
        with suppress(*_ERRORS):
            for each in over:
                await self._ask(f"@!{each.worker} shutdown session {each.pointer}")
        return over

    def _is_over(self, session: Session, idle_seconds: int | None) -> bool:
        if idle_seconds is None:  # of a listener that is no more
            return False
        quiet_since = self._now() - (idle_seconds - session.expires_in_seconds)
        who = _identity(session)
        jumped = sum(each.seconds for each in self._jumps if who in each.seen and each.at >= quiet_since)
        return jumped >= session.expires_in_seconds

    # ---- inside ----
    def _watch(self) -> None:
        self._loop.call_after(WATCH_SECONDS, self._watch)
        if not self._busy.locked():  # else those who wait for a frozen HAProxy would become ever more
            self._loop.start(self._follow())

    async def _follow(self) -> None:
        """Bring HAProxy to what is wanted; where it cannot be told, the next look tries again."""
        async with self._busy:
            self._waiting = False
            wanted, ending = self._wanted, list(self._ending)  # more may come while HAProxy is told
            try:
                if not wanted.frontends:  # the lab lets it end with the connections that it has
                    self._applied, self.state = None, ""
                    await self._end(wanted, ending)
                    self._ending = self._ending[len(ending) :]
                    return
                self._write(wanted)
                await self._bring_to(wanted)
                await self._end(wanted, ending)
                self._ending = self._ending[len(ending) :]
                await self._count()
            except _ERRORS as error:
                self._applied = None
                why = getattr(error, "strerror", None) or "timed out"
                self.state = f"{SILENT}: {why}" if wanted.frontends else ""

    def _write(self, wanted: Proxy) -> None:
        written = proxy_text.text(wanted)
        if written != self._written:
            fresh = self._folder / f"{PROXY_CONFIGURATION}.new"
            fresh.write_text(written)
            fresh.rename(self._folder / PROXY_CONFIGURATION)
            self._written = written

    async def _bring_to(self, wanted: Proxy) -> None:
        described = proxy_text.description_of(self._written)
        running = haproxy.description(await self._ask("@1 show info"))
        if running == described:
            if running != self._loaded or self._applied is None:
                self._applied, self._loaded = wanted, running
        elif self._applied is None or running != self._loaded or self._applied.shape != wanted.shape:
            if described == self._refused or not await self._reload(described):
                return
            self._applied, self._loaded = wanted, described
        if commands := [f"@1 {each}" for each in proxy_text.changes(self._applied, wanted)]:
            await self._ask(";".join(commands))
            self._applied = wanted
        self.state = RUNNING

    async def _reload(self, described: str) -> bool:
        """Have the text read; return whether it runs now."""
        await self._count()
        refused = (await self._workers()).refused
        await self._ask("reload")
        give_up_at = self._now() + RELOAD_SECONDS
        while self._now() < give_up_at:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if haproxy.description(await self._ask("@1 show info")) == described:
                    return True
                if (await self._workers()).refused > refused:
                    self._refused = described
                    break
            except _ERRORS:  # the master is being replaced
                continue
        self.state = "does not take its configuration: its log says why"
        return False

    async def _end(self, wanted: Proxy, numbers: list[int]) -> None:
        if not numbers:
            return
        workers = await self._workers()
        if commands := [f"@1 {each}" for number in numbers for each in proxy_text.ends(wanted, number)]:
            await self._ask(";".join(commands))
        for worker in workers.former:  # which know servers no more, only connections
            sessions = haproxy.sessions(worker, await self._ask(f"@!{worker} show sess all"))
            over = [each.pointer for each in sessions if number_of(each.server) in numbers]
            if over:
                await self._ask(";".join(f"@!{worker} shutdown session {pointer}" for pointer in over))

    async def _count(self) -> tuple[int, ...]:
        """Read the counters of all workers; return which there are."""
        living = _all(await self._workers())
        for worker in living:
            self._counted[worker] = list(haproxy.counted(await self._ask(f"@!{worker} show stat")))
        return living

    async def _workers(self) -> Workers:
        return haproxy.workers(await self._ask("show proc"))

    async def _ask(self, request: str) -> str:
        return await haproxy.ask(self._folder / PROXY_SOCKET, request)


_PROTOCOLS = ("TCP", "TLS")


def _identity(session: Session) -> tuple[int, str, int]:
    return session.worker, session.pointer, session.source_port


def _all(workers: Workers) -> tuple[int, ...]:
    return (*filter(None, (workers.newest,)), *workers.former)
