"""The health check port under people who only connect: the next check gets in."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from appliances.health import MOST_CONNECTIONS, HealthServer

pytestmark = pytest.mark.namespace
PORT = 8080


def test_more_than_a_thousand_idle_connections_keep_no_check_out() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    async def work() -> HealthServer:
        server = HealthServer(asyncio.get_running_loop(), PORT, "fw")
        await server.fail("none")
        idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            async with asyncio.timeout(60):
                for _ in range(20):
                    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", PORT) for _ in range(60)))
                    for _, old in idle:
                        old.close()
                    idle = list(opened)
                    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
                    writer.write(b"GET / HTTP/1.1\r\n\r\n")
                    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
                    writer.close()
                held = [await asyncio.open_connection("127.0.0.1", PORT) for _ in range(MOST_CONNECTIONS + 50)]
                idle += held
                reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
                writer.close()
                assert await held[0][0].read() == b""
            assert len(server._connections) <= MOST_CONNECTIONS
        finally:
            for _, each in idle:
                each.close()
            server.close()
        return server

    server = asyncio.run(work())
    assert server.closed_early >= 50
    assert server.requests == 21
