"""Holding a worker of HAProxy, so that it does not go with its last connection before it was asked what it has counted.

A former worker ends when nobody is connected to it any more. So the keeper has a connection to each worker from the
beginning, at a Unix socket in the folder of the text, and lets it go when the last count is known.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

FRONTEND = "held.by.keeper"  # no listener and no target group has a name with a dot
_SECONDS = 3.0
_ASK = b"GET / HTTP/1.1\r\nHost: keeper\r\n\r\n"


def section(name: str) -> str:
    """Return the section that a text has for it; `name` is the socket's."""
    return f"""\
frontend {FRONTEND}
  mode http
  bind unix@{name} mode 600
  option idle-close-on-response
  timeout client 20d
  timeout http-request 20d
  timeout http-keep-alive 20d
  http-request return status 200 content-type text/plain lf-string %pid
"""


class Holds:
    """The workers that are held, by their pids, at the socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[int, socket.socket] = {}

    async def hold(self, worker: int) -> None:
        """Hold the newest worker, unless it is held; where that is not possible, the next call tries again."""
        if worker in self._held:
            return
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        answer = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await loop.sock_connect(sock, str(self._path))
                await loop.sock_sendall(sock, _ASK)
                answer = await loop.sock_recv(sock, 4096)
        if answer.rpartition(b"\r\n")[2] == str(worker).encode():
            self._held[worker] = sock
        else:
            sock.close()

    def keep_only(self, workers: Collection[int]) -> None:
        """Let all others go."""
        for worker in self._held.keys() - set(workers):
            self._held.pop(worker).close()
