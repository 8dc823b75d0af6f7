"""The control socket of a process: how it is asked and told, one JSON object per line each way.

request  {"verb": "flows", "limit": 10}
answer   {"ok": true, ...}  or  {"ok": false, "error": "one sentence", "code": "ValidationError"}
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gwlbemu.errors import GwlbemuError, SettingError

LONGEST_REQUEST = 1 << 20

Arguments = dict[str, Any]
Answer = Mapping[str, Any]
Verb = Callable[[Arguments], Answer | Awaitable[Answer]]


class ControlServer:
    """Answer requests at `path` with `verbs`; a verb may raise GwlbemuError, which becomes the answer."""

    def __init__(self, path: str | os.PathLike[str], verbs: Mapping[str, Verb]) -> None:
        self._path, self._verbs = Path(path), verbs
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen; whoever sees the socket at its path can connect. One that a dead process left there makes way."""
        fresh = Path(f"{self._path}.new")
        fresh.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(os.fspath(fresh))
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LONGEST_REQUEST)
        fresh.rename(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):  # gone, or a request that is too long
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            name = request.pop("verb", None) if isinstance(request, dict) else None
            verb = self._verbs.get(name) if isinstance(name, str) else None
            if verb is None:
                raise SettingError(f"verb: expected one of {', '.join(self._verbs)}, got {name!r}")
            answer = verb(request)
            return {"ok": True, **(answer if isinstance(answer, Mapping) else await answer)}
        except GwlbemuError as error:
            return {"ok": False, "error": str(error), "code": error.code}
        except KeyError as error:
            return {"ok": False, "error": f"argument {error} is missing", "code": SettingError.code}
        except (TypeError, ValueError) as error:
            return {"ok": False, "error": f"a request that is not understood: {error}", "code": SettingError.code}

    def close(self) -> None:
        """Stop listening, end every conversation and remove the socket."""
        for writer in self._writers:
            writer.transport.abort()
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
