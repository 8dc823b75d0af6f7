"""WebSocket, HTTP/2 and gRPC through an application load balancer, by HAProxy itself and real clients."""

from __future__ import annotations

import asyncio
import json
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gwlbemu.core.application.engine import Pool
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.tls import Tls
from gwlbemu.lab import engines
from tests.programs.application.http_lab import NODE, Http, engine, forward, listener, pool, running
from tests.programs.application.test_tls import Authority, curl

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the certificates of the listener and of targets."""
    authority = Authority("Lab")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    for name in "one", "target":
        authority.certificate(tmp_path, f"{name}.pem", f"{name}.example")
    return tmp_path


class _Http2Target(socketserver.BaseRequestHandler):
    """Answers each request over HTTP/2 with what it was asked."""

    context: ssl.SSLContext | None = None

    def handle(self) -> None:
        raw = self.request
        with suppress(OSError):
            if self.context:
                raw = self.context.wrap_socket(raw, server_side=True)
                assert raw.selected_alpn_protocol() == "h2"
            self._serve(raw)
            raw.close()

    def _serve(self, raw: socket.socket) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        raw.sendall(connection.data_to_send())
        asked: dict[int, dict[str, str]] = {}
        while data := raw.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                if isinstance(event, StreamEnded):
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, json.dumps(asked[event.stream_id]).encode(), end_stream=True)
            raw.sendall(connection.data_to_send())


@contextmanager
def _http2_target(address: str, context: ssl.SSLContext | None = None) -> Iterator[None]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    handler = type("Handler", (_Http2Target,), {"context": context})
    with Server((address, 8000), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _https(group: str) -> Listener:
    return listener(protocol="HTTPS", port=443, tls=Tls(("one.pem",)), default=(forward(group),))


def _pool(version: str, protocol: str = "HTTP") -> Pool:
    return pool("web", ("nobody", "127.0.2.1", 8000), protocol_version=version, protocol=protocol)


async def _echo(connection: ServerConnection) -> None:
    assert connection.request
    protocol = connection.request.headers["X-Forwarded-Proto"]
    async for message in connection:
        await connection.send(f"{protocol}: {message!s}")


async def _chat(*messages: str) -> list[object]:
    """Return what a target of WebSocket says to messages that go through the load balancer."""
    async with serve(_echo, "127.0.2.1", 8000), connect(f"ws://{NODE}/chat", proxy=None) as client:
        answers = []
        for message in messages:
            await client.send(message)
            answers.append(await asyncio.wait_for(client.recv(), 20))
        return [*answers]


@pytest.mark.contract("AL-18")
def test_websockets_go_through(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[_pool("HTTP1")])):
        assert asyncio.run(_chat("one", "two")) == ["http: one", "http: two"]


@pytest.mark.contract("AL-18")
@pytest.mark.parametrize("protocol", ["HTTP", "HTTPS"])
def test_http2_to_targets(protocol: str, folder: Path) -> None:
    context = None
    if protocol == "HTTPS":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "target.pem")
        context.set_alpn_protocols(["h2"])
    balancer = engine(_https("web"), listener(), pools=[_pool("HTTP2", protocol)])
    with _http2_target("127.0.2.1", context), running(folder, balancer) as lab:
        for _ in range(2):
            told = json.loads(curl(folder, "--http2", path="/a?b=c").body)
            assert (told[":path"], told[":authority"], told["x-forwarded-proto"]) == ("/a?b=c", "one.example", "https")
        with Http() as client:  # HTTP/1.1 to a group of HTTP/2
            assert client.ask().status == 464
        assert lab.counter("elb_464") == 1


@pytest.mark.contract("AL-18")
def test_grpc_and_its_status_go_through(folder: Path) -> None:
    balancer = engine(_https("web"), pools=[_pool("GRPC")])
    argv = [sys.executable, str(Path(__file__).with_name("grpc_peer.py")), "127.0.2.1:8000", f"{NODE}:443", "ca.pem"]
    with running(folder, balancer):
        told = subprocess.run(argv, cwd=folder, input=b"go\n", check=True, capture_output=True, timeout=60).stdout
        assert json.loads(told) == {
            "said": ["hello you 0", "hello you 1", "hello you 2"],
            "code": "NOT_FOUND",
            "details": "no such one",
        }
        assert curl(folder, "--http2").status == 464  # GET
        assert curl(folder, "--http1.1", "-X", "POST").status == 464


@pytest.mark.contract("AL-18")
def test_grpc_to_a_group_of_http1_is_464(folder: Path) -> None:
    web = pool("web", ("a", "127.0.2.1", 8000))
    with running(folder, engine(_https("web"), pools=[web])):
        words = ("-X", "POST", "-H", "Content-Type: application/grpc+proto")
        assert curl(folder, "--http2", *words).status == 464
        assert curl(folder, "--http1.1", *words).status == 200
        assert curl(folder, "--http2", "-d", "x").status == 200


@pytest.mark.contract("AL-18")
def test_nghttp_speaks_with_a_target_of_http2(folder: Path) -> None:
    balancer = engine(_https("web"), pools=[_pool("HTTP2")])
    with _http2_target("127.0.2.1"), running(folder, balancer):
        done = subprocess.run(["nghttp", f"https://{NODE}/x"], check=True, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)[":path"] == "/x"
