"""The keeper's side of its node's HAProxy, whatever it does: what it is told, and what it says.

HAProxy is a process of the lab's own beside the keeper, which the lab has started in the node's namespace, in the
node's own folder. The keeper writes its text there and reloads it where the shape has changed, and tells it the states
of servers where not. It does so until HAProxy has taken it: one that was started again takes the newest text by itself.

A new text means a new worker; the former ones stay with what they have, and hear of no server any more (HAProxy 2.6:
"Proxy is disabled"). One that has nothing under way for IDLE_SECONDS is ended, so that connections which only wait
begin anew with what is wanted now; before that, one of HTTP is closed with the answer to its next request.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from gwlbemu.ports.loop import Loop
from gwlbemu.programs.haproxy import holding, master
from gwlbemu.programs.haproxy.description import description_of
from gwlbemu.programs.haproxy.holding import Holds
from gwlbemu.programs.haproxy.master import Counted, Session, Workers

WATCH_SECONDS = 1.0  # between two looks at what is running
IDLE_SECONDS = 2.0  # of a former worker
RELOAD_SECONDS, POLL_SECONDS = 10.0, 0.02
RUNNING, SILENT = "running", "does not answer"
ERRORS = (OSError, TimeoutError, asyncio.IncompleteReadError)
_NOBODY = (FileNotFoundError, ConnectionRefusedError)
_HOLD = ".hold"  # ends the name of the socket at which workers are held
_LONGEST_REQUEST = 8000  # bytes of commands that are sent at once: HAProxy reads 16 K


class Wanted(Protocol):
    """What an HAProxy shall do."""

    @property
    def shape(self) -> object:
        """The same without the states of servers: as long as it is equal, commands are enough."""

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to do: the lab lets an HAProxy end with the connections that it has."""

    def with_states_of(self, other: Self) -> Self:
        """Return the same with the states that its servers have in `other`; a server that is not there takes nothing
        new.
        """


W = TypeVar("W", bound=Wanted)


@dataclass(frozen=True, slots=True)
class Language(Generic[W]):
    """How something that is wanted is said.

    `text` is the configuration, with a description (see `description`); `changes` are the commands that make a running
    one of the first what the second wants, which has the same shape; `ends` are those that end whatever goes to the
    servers with these names, which may be known no more. `counters` are variables of the process that count.
    """

    text: Callable[[W], str]
    changes: Callable[[W, W], Iterator[str]]
    ends: Callable[[W, Sequence[str]], Iterator[str]]
    counters: tuple[str, ...] = ()


class Counters(NamedTuple):
    """What was counted: by all workers that there ever were, by those that there are; the sum of each variable."""

    ever: list[Counted]
    living: list[Counted]
    variables: Mapping[str, int]


class HaproxyKeeper(Generic[W]):
    """Keeps an HAProxy as it is wanted, by the socket of its master. `now` is seconds of real time.

    `state` is RUNNING, or in words why it is not; "" where nothing needs it any more.
    """

    def __init__(
        self,
        loop: Loop,
        socket: Path,
        configuration: Path,
        language: Language[W],
        wanted: W,
        now: Callable[[], float],
    ) -> None:
        self._loop, self._socket, self._configuration, self._now = loop, socket, configuration, now
        self._language = language
        self._holds = Holds(socket.with_name(f"{socket.name}{_HOLD}"))
        self.wanted = wanted
        self._applied: W | None = None  # what the newest worker does
        self._idle_since: dict[int, float] = {}  # of former workers
        self._loaded = ""  # the description of the text that the newest worker has read
        self._written = ""
        self._written_for: W | None = None
        # What HAProxy was told is not known: by a keeper before this one, or as an answer never came. A text that none
        # has had makes sure: it has a number, which no two keepers begin with.
        self._is_unsure = True
        self._again = round(now() * 1000)
        self._refused = ""  # the description of a text that is not to be tried again
        self._ending: list[str] = []
        self._counted: dict[int, list[Counted]] = {}  # by worker
        self._variables: dict[int, dict[str, int]] = {}
        self._past: dict[tuple[str, str], Counted] = {}  # what workers counted that are no more
        self._past_variables: Counter[str] = Counter()
        self._busy = asyncio.Lock()
        self._is_due = False  # somebody waits to follow
        self.state = "not started yet"
        self._loop.call_after(0, self._watch)

    def apply(self, wanted: W, ended: Iterable[str] = ()) -> None:
        """Let it be `wanted` as soon as it can be told, and end whatever goes to the servers with these names."""
        ending = list(ended)
        is_same = wanted == self.wanted and not ending  # as after most health checks
        self.wanted = wanted
        self._ending += ending
        if not is_same:
            self._follow_soon()

    async def sessions(self) -> list[Session]:
        """Return what goes on to a server now: connections (TCP) or requests (HTTP); none where nobody answers."""
        found: list[Session] = []
        if self.state.startswith(SILENT):
            return found  # the next look tells whether it answers again
        try:
            for worker in _all(await self._workers()):
                found += master.sessions(worker, await self._ask(f"@!{worker} show sess all"))
        except ERRORS:
            return found
        return [each for each in found if each.server]

    async def shut(self, sessions: Iterable[Session]) -> None:
        """End these, as far as HAProxy can be told."""
        with suppress(*ERRORS):
            await self._send(f"@!{each.worker} shutdown session {each.pointer}" for each in sessions)

    async def counted(self) -> Counters:
        """Return what has been counted up to now; where HAProxy does not answer, what was known before."""
        living: tuple[int, ...] = ()
        if not self.state.startswith(SILENT):  # else the next look tells whether it answers again
            async with self._busy:
                with suppress(*ERRORS):
                    living = await self._count()
        rows = [row for worker in living for row in self._counted.get(worker, ())]
        gone = [row for worker, of_worker in self._counted.items() if worker not in living for row in of_worker]
        variables = sum((Counter(each) for each in self._variables.values()), self._past_variables)
        return Counters([*self._past.values(), *gone, *rows], rows, variables)

    # ---- inside ----
    def _watch(self) -> None:
        self._loop.call_after(WATCH_SECONDS, self._watch)
        self._follow_soon()

    def _follow_soon(self) -> None:
        if not self._is_due:  # else those who wait for a frozen HAProxy would become ever more
            self._is_due = True
            self._loop.start(self._follow())

    async def _follow(self) -> None:
        """Bring HAProxy to what is wanted; where it cannot be told, the next look tries again."""
        async with self._busy:
            self._is_due = False
            wanted, ending = self.wanted, list(self._ending)  # more may come while HAProxy is told
            try:
                if wanted.is_nothing:
                    self._applied, self.state = None, ""
                    self._holds.keep_only(set())
                    if ending:
                        await self._end(wanted, ending)
                        self._ending = self._ending[len(ending) :]
                    return
                self._write(wanted)
                if ending:  # before there is another worker, so that what ends is counted
                    await self._end(wanted, ending)
                    self._ending = self._ending[len(ending) :]
                if await self._bring_to(wanted):
                    await self._count()
                    workers = await self._workers()
                    await self._holds.hold(workers.newest)
                    self._let_go(workers)
            except ERRORS as error:
                self._applied = None
                self._is_unsure |= not isinstance(error, _NOBODY)  # who is started anew reads the text
                why = getattr(error, "strerror", None) or "timed out"
                self.state = "" if wanted.is_nothing else f"{SILENT}: {why}"

    def _write(self, wanted: W) -> None:
        if wanted == self._written_for and not self._is_unsure:
            return
        written = self._language.text(wanted) + holding.section(f"{self._socket.name}{_HOLD}")
        if self._is_unsure:
            self._again += 1
            written = written.replace(description_of(written), f"{description_of(written)}-{self._again}", 1)
            self._is_unsure = False
        if written != self._written:
            fresh = self._configuration.with_name(f"{self._configuration.name}.new")
            fresh.write_text(written)
            fresh.rename(self._configuration)
            self._written = written
        self._written_for = wanted

    async def _bring_to(self, wanted: W) -> bool:
        """Return whether the newest worker does what is wanted."""
        described = description_of(self._written)
        running = master.description(await self._ask("@1 show info"))
        if running == described:
            if running != self._loaded or self._applied is None:
                self._applied, self._loaded = wanted, running
        elif self._applied is None or running != self._loaded or self._applied.shape != wanted.shape:
            if described == self._refused or not await self._reload(described):
                return False
            self._applied, self._loaded = wanted, described
        await self._change(self._applied, wanted)
        self.state = RUNNING
        return True

    async def _change(self, before: W, after: W, ending: Sequence[str] = ()) -> None:
        """Tell the newest worker the states of its servers, and what is to end."""
        if commands := [*self._language.changes(before, after), *self._language.ends(after, ending)]:
            self._is_unsure = True
            await self._send(f"@1 {each}" for each in commands)
            self._is_unsure = False
        self._applied = after

    async def _reload(self, described: str) -> bool:
        """Have the text read; return whether it runs now."""
        await self._count()
        refused = (await self._workers()).refused
        await self._ask("reload")
        give_up_at = self._now() + RELOAD_SECONDS
        while self._now() < give_up_at:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if master.description(await self._ask("@1 show info")) == described:
                    return True
                if (await self._workers()).refused > refused:
                    self._refused = described
                    break
            except ERRORS:  # the master is being replaced
                continue
        self.state = "does not take its configuration: its log says why"
        return False

    async def _end(self, wanted: W, names: Sequence[str]) -> None:
        """End what goes to these servers, which take nothing new before."""
        workers = await self._workers()
        unknown = list(workers.former)
        if self._applied is not None:
            await self._change(self._applied, self._applied.with_states_of(wanted), names)
        elif workers.newest:
            unknown.append(workers.newest)
        for worker in unknown:
            sessions = master.sessions(worker, await self._ask(f"@!{worker} show sess all"))
            over = [each.pointer for each in sessions if each.server in names]
            await self._send(f"@!{worker} shutdown session {pointer}" for pointer in over)

    def _let_go(self, workers: Workers) -> None:
        """End the former workers that have had nothing under way for a while, and those that nobody is connected to;
        what they have counted is known.
        """
        clients, busy = set(), set()
        for worker in workers.former:
            rows = self._counted.get(worker, ())
            clients |= {worker} if any(row.now for row in rows if not row.server) else set()
            busy |= {worker} if any(row.now for row in rows if row.server) else set()
        self._holds.keep_only({workers.newest, *clients, *busy})
        self._idle_since = {
            worker: self._idle_since.get(worker, self._now()) for worker in workers.former if worker not in busy
        }
        for worker, since in self._idle_since.items():
            if self._now() - since >= IDLE_SECONDS:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(worker, signal.SIGTERM)

    async def _count(self) -> tuple[int, ...]:
        """Read the counters of all workers; return which there are."""
        living = _all(await self._workers())
        for worker in living:
            found = master.counted(await self._ask(f"@!{worker} show stat"))
            if rows := [row for row in found if row.proxy != holding.FRONTEND]:  # none of one that has gone
                self._counted[worker] = rows
            if names := self._language.counters:
                answer = await self._ask(";".join(f"@!{worker} get var proc.{name}" for name in names))
                self._variables.setdefault(worker, {}).update(master.variables(answer))
        for worker in self._counted.keys() - set(living):
            for row in self._counted.pop(worker):
                key = row.proxy, row.server
                self._past[key] = row.past() if key not in self._past else self._past[key].plus(row)
            self._past_variables.update(self._variables.pop(worker, {}))
        return living

    async def _workers(self) -> Workers:
        return master.workers(await self._ask("show proc"))

    async def _send(self, commands: Iterable[str]) -> None:
        """Send commands whose answers say nothing, many at once."""
        together = ""
        for command in commands:
            if len(together) + len(command) >= _LONGEST_REQUEST:
                await self._ask(together)
                together = ""
            together = f"{together};{command}" if together else command
        if together:
            await self._ask(together)

    async def _ask(self, request: str) -> str:
        return await master.ask(self._socket, request)


def _all(workers: Workers) -> tuple[int, ...]:
    return (*filter(None, (workers.newest,)), *workers.former)
