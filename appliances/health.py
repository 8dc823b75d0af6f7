"""The health check port: answers TCP connects and HTTP requests, and can be told to fail either.

Every request gets the same answer, 200 or 503, on whatever path: the load balancer's check is the only client.
"""

from __future__ import annotations

import asyncio
from typing import cast

FAILURES = ("none", "http", "tcp")
LONGEST_REQUEST = 8192
PATIENCE = 10.0  # seconds for a client to send its request, and as many to take its answer
MOST_CONNECTIONS = 128  # open at once; whoever has been there longest makes way, so that the next check gets in


class HealthServer:
    """Listens on `port`. `fail` makes it unhealthy: http answers 503, tcp refuses connections, none ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, name: str) -> None:
        self.failing = "none"
        self.requests = 0
        self.closed_early = 0  # connections that made way
        self._connections: dict[_Answer, None] = {}  # in the order of their coming
        self._loop = loop
        self._port = port
        self._name = name
        self._server: asyncio.Server | None = None

    async def fail(self, what: str) -> None:
        """Start or stop failing; `what` is one of FAILURES."""
        self.failing = what
        if what == "tcp":
            self.close()
        elif self._server is None:
            self._server = await self._loop.create_server(lambda: _Answer(self), host="0.0.0.0", port=self._port)

    def close(self) -> None:
        """Stop listening; connects are refused from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def enter(self, connection: _Answer) -> None:
        """Take a new connection in, and close the oldest where there are too many."""
        self._connections[connection] = None
        if len(self._connections) > MOST_CONNECTIONS:
            self.closed_early += 1
            self.leave(oldest := next(iter(self._connections)))
            oldest.abort()

    def leave(self, connection: _Answer) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)

    def answer(self) -> bytes:
        """Return the whole HTTP answer for now."""
        self.requests += 1
        status, text = ("200 OK", "healthy") if self.failing == "none" else ("503 Service Unavailable", "told to fail")
        body = f"{self._name}: {text}\n"
        fields = ("Content-Type: text/plain", f"Content-Length: {len(body)}", "Connection: close")
        return "\r\n".join((f"HTTP/1.1 {status}", *fields, "", body)).encode()


class _Answer(asyncio.Protocol):
    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._transport.abort)
        self._server.enter(self)

    def data_received(self, data: bytes) -> None:
        self._request += data
        if b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            self._transport.write(self._server.answer())
            self._transport.close()  # whoever does not take the answer is ended by `_patience`
        elif len(self._request) > LONGEST_REQUEST:
            self._transport.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._patience.cancel()
        self._server.leave(self)
