"""The steady requests of a drill, against servers of the test's own."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable

import pytest

from gwlbemu.programs.requests import Outcome, Requests, parse_outcomes

pytestmark = pytest.mark.namespace
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Served-By: web-a\r\n\r\nok"


@pytest.fixture(autouse=True)
def _loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def outcomes(
    serve: Serve | None, count: int, capsys: pytest.CaptureFixture[str], *, connections: int = 1, patience: float = 30.0
) -> list[Outcome]:
    """What becomes of `count` requests to a server that serves so; without `serve` nobody listens."""

    async def run() -> None:
        port = 8081
        server = None if serve is None else await asyncio.start_server(serve, "127.0.0.1", port)
        try:
            await Requests(f"http://127.0.0.1:{port}/", 200.0, connections, patience, "").run(count)
        finally:
            if server is not None:
                server.close()

    asyncio.run(run())
    return parse_outcomes(capsys.readouterr().out)


def serving(*answers: bytes | None) -> tuple[Serve, list[int]]:
    """A server that gives each connection these answers in turn, the last for ever; None closes without one. The list
    has the number of requests of each connection.
    """
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(counts)
        counts.append(0)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = answers[min(counts[number], len(answers) - 1)]
                counts[number] += 1
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve, counts


def test_connections_are_kept_and_who_answered_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    serve, counts = serving(OK)
    found = outcomes(serve, 12, capsys, connections=3)
    assert [(each.status, each.target, each.error, each.again) for each in found] == [(200, "web-a", "", False)] * 12
    assert sum(counts) == 12
    assert len(counts) >= 3
    assert all(each.address == "127.0.0.1" and each.ended_at >= each.began_at for each in found)


def test_a_request_on_a_kept_connection_that_ends_is_sent_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    serve, _ = serving(OK, None)  # each connection answers one request and then ends
    found = outcomes(serve, 4, capsys)
    assert [each.status for each in found] == [200] * 4
    assert any(each.again for each in found)


def test_a_request_that_was_never_answered_on_a_new_connection_failed(capsys: pytest.CaptureFixture[str]) -> None:
    serve, counts = serving(None)
    found = outcomes(serve, 2, capsys)
    assert [(each.status, each.error, each.again) for each in found] == [(0, "closed", False)] * 2
    assert sum(counts) == 2


def test_a_connection_that_is_to_be_closed_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    serve, counts = serving(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert {each.status for each in outcomes(serve, 3, capsys)} == {200}
    assert counts == [1, 1, 1]


def test_errors_are_told_in_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert {each.error for each in outcomes(None, 2, capsys)} == {"refused"}
    garbled, _ = serving(b"nonsense\r\n\r\n")
    assert {each.error for each in outcomes(garbled, 2, capsys)} == {"garbled"}

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    assert {each.error for each in outcomes(silent, 2, capsys, patience=0.05)} == {"timeout"}
