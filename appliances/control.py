"""The control socket: one JSON object per line in, one per line out.

`{"verb": "status"}` is answered by `{"ok": true, ...}`, a refused request by
`{"ok": false, "error": "...", "code": "ValidationError"}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

from gwlbemu.errors import SettingError

Request = Mapping[str, object]
Verb = Callable[[Request], Awaitable[Mapping[str, object]]]
LONGEST_LINE = 65536


class ControlServer:
    """Serves `verbs` on the Unix socket `path`."""

    def __init__(self, path: Path, verbs: Mapping[str, Verb]) -> None:
        self._path = path
        self._verbs = verbs
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket file that a dead process left is replaced."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self._answer), path=str(self._path))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except ValueError as error:
            return _refusal(f"not JSON: {error}")
        verb = request.get("verb") if isinstance(request, dict) else None
        if not isinstance(verb, str) or verb not in self._verbs:
            return _refusal(f"verb: expected one of {', '.join(self._verbs)}, got {verb!r}")
        try:
            return {"ok": True, **await self._verbs[verb](request)}
        except SettingError as error:
            return _refusal(str(error), error.code)


def _refusal(text: str, code: str = "ValidationError") -> Mapping[str, object]:
    return {"ok": False, "error": text, "code": code}


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Callable[[bytes], Awaitable[Mapping[str, object]]]) -> None:
        self._answer = answer
        self._pending = b""
        self._work: asyncio.Task[None] | None = None
        self._lines: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        self._lines += lines
        if len(self._pending) > LONGEST_LINE:
            self._transport.abort()
        elif self._lines and self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._lines:
            answer = await self._answer(self._lines.pop(0))
            self._transport.write(json.dumps(answer).encode() + b"\n")
        self._work = None
