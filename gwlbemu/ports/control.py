"""The control socket of a process: how it is asked and told, one JSON object per line each way.

request  {"verb": "flows", "limit": 10}
answer   {"ok": true, ...}  or  {"ok": false, "error": "one sentence", "code": "ValidationError"}

Nothing that is sent here ends a process. A request that is not understood, or that raises, is answered with an error;
one that is too long, or only half sent for `PATIENCE` seconds, is answered and the connection closed. Of more than
`MOST_CONNECTIONS` the one that has been idle longest is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from gwlbemu.errors import GwlbemuError, SettingError
from gwlbemu.ports.arguments import Arguments, shown
from gwlbemu.ports.faults import Faults

LONGEST_REQUEST = 1 << 20  # bytes
DEEPEST_REQUEST = 10  # objects and lists inside each other
MOST_CONNECTIONS = 64
IDLE_SECONDS = 300.0  # for a connection that asks nothing
PATIENCE = 10.0  # seconds from the first byte of a request to its end, and for an answer to be read
LAST_WORDS_SECONDS = 2.0  # for a client to read why it is being closed
FAULT = "InternalError"  # the code of an answer to a request that has raised

Answer = Mapping[str, Any]
Verb = Callable[[Arguments], Answer | Awaitable[Answer]]


@dataclass(eq=False, slots=True)
class _Connection:
    """A client. `asked_at` is the loop's time of its last request, `busy` while it is answered."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asked_at: float
    lines: deque[bytes] = field(default_factory=deque)  # that have come and are not answered yet
    unread: bytes = b""  # the beginning of the next one
    busy: bool = False


class ControlServer:
    """Answer requests at `path` with `verbs`.

    A verb may raise GwlbemuError, which becomes the answer; any other exception is a bug, answered too, and noted in
    `faults`.
    """

    def __init__(
        self, path: str | os.PathLike[str], verbs: Mapping[str, Verb], *, faults: Faults | None = None
    ) -> None:
        self._path, self._verbs = Path(path), verbs
        self._faults = Faults() if faults is None else faults
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def open(self) -> None:
        """Listen; whoever sees the socket at its path can connect. One that a dead process left there makes way."""
        fresh = Path(f"{self._path}.new")
        fresh.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(os.fspath(fresh))
        self._server = await asyncio.start_unix_server(self._serve, sock=sock)
        fresh.rename(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, asyncio.get_running_loop().time())
        self._connections.add(connection)
        try:
            self._make_room()
            while line := await self._request(connection):
                connection.busy = True
                writer.write(await self._answer(line))
                async with asyncio.timeout(PATIENCE):
                    await writer.drain()
                await asyncio.sleep(
                    0
                )  # what came meanwhile, packets above all, is not kept waiting by a queue of requests
                connection.busy, connection.asked_at = False, asyncio.get_running_loop().time()
            writer.close()
        except SettingError as error:
            writer.write(_refusal(error))
            if not reader.at_eof():
                await _let_go(connection)
            writer.close()
        except (OSError, asyncio.CancelledError):  # gone, or does not read its answer
            writer.transport.abort()
        finally:
            self._connections.discard(connection)

    def _make_room(self) -> None:
        """Close who has been idle longest, or who came last where everybody is being answered."""
        if len(self._connections) > MOST_CONNECTIONS:
            oldest = min(self._connections, key=lambda each: (each.busy, each.asked_at))
            self._connections.discard(oldest)
            self._faults.note_text("control: more connections than are served, the longest idle one was closed")
            oldest.writer.transport.abort()

    async def _request(self, connection: _Connection) -> bytes:
        """Return the next line without its end, b"" when there is none. Raises SettingError for one without end."""
        patience, began = IDLE_SECONDS, False
        while True:
            while connection.lines:
                line = connection.lines.popleft()
                if len(line) > LONGEST_REQUEST:
                    raise SettingError(f"a request longer than {LONGEST_REQUEST} bytes")
                if line.strip():
                    return line
            if len(connection.unread) > LONGEST_REQUEST:
                raise SettingError(f"a request longer than {LONGEST_REQUEST} bytes")
            if connection.unread and not began:
                began, patience = True, asyncio.get_running_loop().time() + PATIENCE
            try:
                async with asyncio.timeout_at(patience if began else asyncio.get_running_loop().time() + patience):
                    data = await connection.reader.read(1 << 16)
            except TimeoutError:
                if began:
                    raise SettingError(f"half a request, and nothing more for {PATIENCE:g} s") from None
                return b""
            if not data:
                line, connection.unread = connection.unread, b""
                return line
            *whole, connection.unread = (connection.unread + data).split(b"\n")
            connection.lines.extend(whole)

    async def _answer(self, line: bytes) -> bytes:
        name: object = None
        try:
            request = parse_request(line)
            name = request.pop("verb", None)
            verb = self._verbs.get(name) if isinstance(name, str) else None
            if verb is None:
                raise SettingError(f"verb: expected one of {', '.join(self._verbs)}, got {shown(name)}")
            answer = verb(request)
            return _line({"ok": True, **(answer if isinstance(answer, Mapping) else await answer)})
        except GwlbemuError as error:
            return _refusal(error)
        except Exception as error:
            self._faults.note(f"the request {shown(name)}", error)
            sentence = f"the request {shown(name)} failed: {type(error).__name__}"
            return _line({"ok": False, "error": sentence, "code": FAULT})

    def close(self) -> None:
        """Stop listening, end every conversation and remove the socket."""
        for connection in self._connections:
            connection.writer.transport.abort()
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)


async def _let_go(connection: _Connection) -> None:
    """Tell the client that this was all, and wait a moment for it to hang up: what is unread would reset the line."""
    connection.writer.write_eof()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            while await connection.reader.read(1 << 16):
                pass


def parse_request(line: bytes) -> Arguments:
    """Return the JSON object in a line.

    Raises SettingError for anything else, also for what JSON does not have (Infinity, NaN), a name given twice, and
    more than `DEEPEST_REQUEST` levels.
    """
    try:
        request = json.loads(line, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise SettingError(f"a request deeper than {DEEPEST_REQUEST} levels") from None
    except ValueError as error:
        raise SettingError(f"a request that is not JSON: {str(error)[:100]}") from None
    if not isinstance(request, dict):
        raise SettingError(f"a request: expected an object, got {shown(request)}")
    level: list[object] = [request]
    for _ in range(DEEPEST_REQUEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return request
    if any(isinstance(each, dict | list) for each in level):
        raise SettingError(f"a request deeper than {DEEPEST_REQUEST} levels")
    return request


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name, count in counts.items() if count > 1)[:50]!r} is there twice")
    return found


def _refusal(error: GwlbemuError) -> bytes:
    return _line({"ok": False, "error": str(error), "code": error.code})


def _line(answer: Answer) -> bytes:
    return json.dumps(answer).encode() + b"\n"
