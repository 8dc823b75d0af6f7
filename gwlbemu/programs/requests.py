"""`python -m gwlbemu.programs.requests URL`: live HTTP requests that a drill watches.

Requests begin at a steady pace, whether or not the ones before have been answered: each takes the connection that has
been idle for longest or opens one, by the address that the resolver gives first at that moment. A connection is kept as
long as the other side keeps it. A request whose connection was kept and ends before any answer is sent once more over a
new one, as browsers and curl do (RFC 9110, 9.2.2). One JSON line says what became of each request, as soon as it is
known. SIGTERM: begin no more, wait for those under way, leave.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

MOST_CONNECTIONS = 1000
MOST_RATE = 200.0  # requests a second
MOST_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. Instants are seconds of the kernel's monotonic clock.

    `status` is 0 without an answer; `error` says why in a word: refused, reset, closed, timeout, name, no connection
    (all that there may be are in use), garbled.
    """

    began_at: float
    ended_at: float
    address: str = ""
    status: int = 0
    target: str = ""  # X-Served-By
    error: str = ""
    again: bool = False  # it was sent once more


def parse_outcomes(text: str) -> list[Outcome]:
    """Read the whole lines of the program's output."""
    return [Outcome(**json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]


class _Connection:
    """One connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.reader, self.writer, self.address = reader, writer, address
        self.kept = False  # it has had a request

    async def exchange(self, request: bytes) -> tuple[int, str, bool]:
        """Send a request; return status, who answered, and whether the connection stays."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await self.reader.readexactly(int(fields.get("content-length", 0)))
        self.kept = True
        stays = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        return int(status), fields.get("x-served-by", ""), stays

    def close(self) -> None:
        """End it at once."""
        with suppress(RuntimeError):
            self.writer.transport.abort()


class Requests:
    """All requests of the program."""

    def __init__(self, url: str, rate: float, connections: int, patience: float, authority: str) -> None:
        self._url = urlsplit(url)
        self._rate, self._patience = min(rate, MOST_RATE), patience
        self._tls = ssl.create_default_context(cafile=authority or None) if self._url.scheme == "https" else None
        self._idle: deque[_Connection] = deque()
        self._open, self._least = 0, connections
        self._leaving = asyncio.Event()
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._request = f"GET {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n\r\n".encode()

    def leave(self) -> None:
        """Begin no more."""
        self._leaving.set()

    async def run(self, count: int) -> None:
        """Send requests until told to leave, or `count` of them (0: no bound)."""
        tasks: set[asyncio.Task[None]] = set()
        due, begun = time.monotonic(), 0
        while not self._leaving.is_set() and (not count or begun < count):
            task = asyncio.create_task(self._one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            begun += 1
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), max(due - time.monotonic(), 0))
        if tasks:
            await asyncio.gather(*tasks)
        for connection in self._idle:
            connection.close()

    async def _one(self) -> None:
        began, found = time.monotonic(), Outcome(0.0, 0.0, error="timeout")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                found, may_again = await self._exchange(fresh=False)
                if may_again:
                    found = replace((await self._exchange(fresh=True))[0], again=True)
        print(json.dumps(asdict(replace(found, began_at=began, ended_at=time.monotonic()))), flush=True)

    async def _exchange(self, *, fresh: bool) -> tuple[Outcome, bool]:
        """Send the request; return what became of it, and whether it may be sent once more."""
        connection, stays = None, False
        try:
            connection = await self._take(fresh=fresh)
            if connection is None:
                return Outcome(0.0, 0.0, error="no connection"), False
            status, target, stays = await connection.exchange(self._request)
            return Outcome(0.0, 0.0, connection.address, status, target), False
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            kept = connection is not None and connection.kept and _word(error) in ("closed", "reset")
            return Outcome(0.0, 0.0, connection.address if connection else "", error=_word(error)), kept
        finally:
            if connection is not None and stays:
                self._idle.append(connection)
            elif connection is not None:
                connection.close()
                self._open -= 1

    async def _take(self, *, fresh: bool) -> _Connection | None:
        while self._idle and not fresh and self._open >= self._least:
            connection = self._idle.popleft()
            if not connection.reader.at_eof():
                return connection
            connection.close()
            self._open -= 1
        if self._open >= MOST_CONNECTIONS:
            return None
        self._open += 1
        try:
            return await self._connect()
        except BaseException:
            self._open -= 1
            raise

    async def _connect(self) -> _Connection:
        host = self._url.hostname or ""
        port = self._url.port or (443 if self._tls else 80)
        loop = asyncio.get_running_loop()
        address = str((await loop.getaddrinfo(host, port))[0][4][0])
        name = host if self._tls else None
        reader, writer = await asyncio.open_connection(
            address, port, ssl=self._tls, server_hostname=name, limit=MOST_HEAD
        )
        return _Connection(reader, writer, address)


def _word(error: Exception) -> str:
    words: tuple[tuple[type[Exception], str], ...] = (
        (socket.gaierror, "name"),
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "refused"),
        (ConnectionResetError, "reset"),
        (BrokenPipeError, "reset"),
        (EOFError, "closed"),
        (OSError, "unreachable"),
    )
    return next((word for kind, word in words if isinstance(error, kind)), "garbled")


def main(arguments: Sequence[str]) -> int:
    """Run until a signal, or until there were as many requests as wanted; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gwlbemu.programs.requests", description="Live HTTP requests.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second, at most 200 (default: 100)")
    parser.add_argument("--count", type=int, default=0, help="how many (default: until a signal)")
    parser.add_argument("--connections", type=int, default=1, help="open as many before one is kept (default: 1)")
    parser.add_argument("--patience", type=float, default=15.0, help="seconds for one request (default: 15)")
    parser.add_argument("--authority", default="", help="a file of certificates that HTTPS is verified against")
    options = parser.parse_args(arguments)

    async def run() -> None:
        requests = Requests(options.url, options.rate, options.connections, options.patience, options.authority)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, requests.leave)
        await requests.run(options.count)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
