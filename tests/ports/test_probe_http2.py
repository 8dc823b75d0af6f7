"""Health checks by HTTP/2 and gRPC against servers of others: h2 and grpcio."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.ports.probe import Check, ProbeResult, probe
from tests.ports.test_probe import PROBER, SERVER, server

pytestmark = [pytest.mark.namespace, pytest.mark.contract("AL-18")]
grpc = pytest.importorskip("grpc")
connection = pytest.importorskip("h2.connection")
config = pytest.importorskip("h2.config")
events = pytest.importorskip("h2.events")
HEALTH = "/AWS.ALB/healthcheck"


@pytest.fixture(autouse=True)
def loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def probed(
    port: int, version: str, statuses: tuple[int, int], protocol: str = "HTTP", path: str = "/up"
) -> ProbeResult:
    check = Check(protocol, port, path, 5.0, (statuses,), version=version)
    return asyncio.run(probe(SERVER, check, local_address=PROBER))


def speaks(status: str, seen: list[dict[str, str]], *, many: int = 0) -> Callable[[socket.socket], None]:
    """A server of HTTP/2 that answers with a status, after `many` bytes of a body."""

    def serve(sock: socket.socket) -> None:
        http = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        http.ping(b"are you?")
        sock.sendall(http.data_to_send())
        while data := sock.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    seen.append(dict(event.headers))
                    answer = [(":status", status), ("x-long", "v" * 3000), ("server", "h2")]
                    http.send_headers(event.stream_id, answer, end_stream=not many)
                    if many:
                        http.send_data(event.stream_id, b"x" * many, end_stream=True)
            sock.sendall(http.data_to_send())

    return serve


@pytest.mark.parametrize("many", [0, 1000])
def test_a_status_of_http2(many: int) -> None:
    seen: list[dict[str, str]] = []
    with server(speaks("204", seen, many=many)) as (port, callers):
        assert probed(port, "HTTP2", (200, 299)) == ProbeResult(True)
        bad = probed(port, "HTTP2", (200, 200))
        assert (bad.ok, bad.reason) == (False, "Target.ResponseCodeMismatch")
        assert "[204]" in bad.description
    assert set(callers) == {PROBER}
    assert seen[0] == {
        ":method": "GET", ":scheme": "http", ":authority": f"{SERVER}:{port}", ":path": "/up",
        "user-agent": "ELB-HealthChecker/2.0",
    }  # fmt: skip


def test_a_status_of_http2_over_tls(tmp_path: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    subprocess.run([*words, "-keyout", "k.pem", "-out", "c.pem"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    context.set_alpn_protocols(["h2"])
    seen: list[dict[str, str]] = []
    with server(speaks("200", seen), tls=context) as (port, _):
        assert probed(port, "HTTP2", (200, 200), "HTTPS").ok
    assert seen[0][":scheme"] == "https"


def test_a_server_of_http1_is_told_as_that() -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with server(serve) as (port, _):
        found = probed(port, "HTTP2", (200, 499))
        assert not found.ok
        assert "not an HTTP/2 answer: HTTP/1.1" in found.description


@pytest.mark.parametrize(
    "junk", [b"", b"\0", b"\0\0\0\4\0\0\0\0\0" * 3, b"\0\0\4\4\0\0\0\0\0" + b"x" * 50, b"x" * 600_000]
)
def test_nothing_that_a_server_sends_is_an_answer(junk: bytes) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(junk)

    with server(serve) as (port, _):
        assert not probed(port, "HTTP2", (200, 499)).ok


class _Method(grpc.GenericRpcHandler):  # type: ignore[name-defined,misc]
    """Answers each method of HEALTH with a code, of no other."""

    def __init__(self, code: Any) -> None:
        self._code = code

    def service(self, details: Any) -> Any:
        def handle(request: bytes, context: Any) -> bytes:
            context.set_code(self._code)
            return request

        return grpc.unary_unary_rpc_method_handler(handle) if details.method == HEALTH else None


@contextmanager
def grpc_server(code: Any) -> Iterator[int]:
    made = grpc.server(futures.ThreadPoolExecutor(2), handlers=[_Method(code)])
    port = made.add_insecure_port(f"{SERVER}:0")
    made.start()
    try:
        yield port
    finally:
        made.stop(None).wait()


def test_a_code_of_grpc() -> None:
    with grpc_server(grpc.StatusCode.OK) as port:
        assert probed(port, "GRPC", (0, 0), path=HEALTH) == ProbeResult(True)
        assert probed(port, "GRPC", (12, 12), path="/no.such/method") == ProbeResult(True)  # UNIMPLEMENTED, the default
        bad = probed(port, "GRPC", (12, 12), path=HEALTH)
        assert (bad.ok, bad.reason) == (False, "Target.ResponseCodeMismatch")
    with grpc_server(grpc.StatusCode.UNAVAILABLE) as port:
        assert not probed(port, "GRPC", (0, 12), path=HEALTH).ok
        assert probed(port, "GRPC", (14, 14), path=HEALTH).ok
