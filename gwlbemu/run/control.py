"""Asking and telling a running process over its Unix socket: one JSON object per line each way.

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

from gwlbemu.errors import GwlbemuError, LabError, NetError, SettingError

LONGEST_REQUEST = 1 << 20
TIMEOUT = 30.0  # seconds that `call` waits for an answer

Arguments = dict[str, Any]
Answer = Mapping[str, Any]
Verb = Callable[[Arguments], Answer | Awaitable[Answer]]


class ControlServer:
    """Answer requests at `path` with `verbs`; a verb may raise GwlbemuError, which becomes the answer."""

    def __init__(self, path: str, verbs: Mapping[str, Verb]) -> None:
        self._path, self._verbs = path, verbs
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
            verb = self._verbs.get(request.pop("verb")) if isinstance(request, dict) and "verb" in request else None
            if verb is None:
                raise SettingError(f"unknown verb, expected one of: {', '.join(sorted(self._verbs))}")
            answer = verb(request)
            return {"ok": True, **(answer if isinstance(answer, Mapping) else await answer)}
        except GwlbemuError as error:
            return {"ok": False, "error": str(error), "code": getattr(error, "code", "ValidationError")}
        except KeyError as error:
            return {"ok": False, "error": f"argument {error} is missing", "code": "ValidationError"}
        except (TypeError, ValueError) as error:
            return {"ok": False, "error": f"a request that is not understood: {error}", "code": "ValidationError"}

    def close(self) -> None:
        """Stop listening, end every conversation and remove the socket."""
        for writer in self._writers:
            writer.transport.abort()
        if self._server is not None:
            self._server.close()
            Path(self._path).unlink(missing_ok=True)


def call(
    path: str | os.PathLike[str], verb: str, *, within_seconds: float = TIMEOUT, **arguments: Any
) -> dict[str, Any]:
    """Send one request and return the answer.

    Raises LabError when nobody answers at `path` in time, SettingError when the process refuses, NetError without root.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(within_seconds)
            sock.connect(os.fspath(path))
            sock.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            with sock.makefile("rb") as stream:
                line = stream.readline()
        answer = json.loads(line)
    except PermissionError:
        raise NetError(f"control socket {Path(path).name} answers root only: run it with sudo") from None
    except (OSError, ValueError) as error:
        reason = str(error) if isinstance(error, OSError) else "it closed the connection"
        raise LabError(f"no answer at control socket {Path(path).name}: {reason}") from None
    if not isinstance(answer, dict):
        raise LabError(f"control socket {Path(path).name} gave an answer that is not understood")
    if not answer.pop("ok", False):
        raise SettingError(str(answer.get("error", "refused")), str(answer.get("code", "ValidationError")))
    return answer
