"""Health checks against real servers inside the test's own namespace."""

from __future__ import annotations

import asyncio
import gc
import http.server
import queue
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gwlbemu.ports.probe import Check, ProbeResult, probe
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace
SERVER, PROBER = "127.0.0.1", "127.0.0.7"


@pytest.fixture(autouse=True)
def loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextmanager
def server(
    serve: Callable[[socket.socket], object], *, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[str]]]:
    """A server that handles one connection at a time with `serve`; yields its port and the addresses of its callers."""
    listener = socket.create_server((SERVER, 0))
    callers: list[str] = []

    def run() -> None:
        while True:
            try:
                connection, (address, _) = listener.accept()
            except OSError:
                return
            callers.append(address)
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    if tls is None:
                        serve(connection)
                    else:
                        with tls.wrap_socket(connection, server_side=True) as secure:
                            serve(secure)
                except OSError:
                    continue

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1], callers
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return serve


def ask(port: int, protocol: str = "HTTP", *, timeout: float = PATIENCE, path: str = "/") -> ProbeResult:
    check = Check(protocol=protocol, port=port, path=path, timeout_seconds=timeout)
    return asyncio.run(probe(SERVER, check, local_address=PROBER))


@pytest.mark.contract("TG-03")
def test_a_probe_comes_from_the_given_address() -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as (port, callers):
        assert ask(port) == ProbeResult(True)
    assert callers == [PROBER]


def test_a_tcp_check_closes_its_connection() -> None:
    ends: queue.Queue[bytes] = queue.Queue()
    with server(lambda connection: ends.put(connection.recv(100))) as (port, _):
        assert ask(port, "TCP") == ProbeResult(True)
        assert ends.get(timeout=PATIENCE) == b""


@pytest.mark.contract("NL-04")
def test_a_check_can_begin_with_the_header_of_proxy_protocol_2_that_names_no_client() -> None:
    heard: queue.Queue[bytes] = queue.Queue()

    def serve(connection: socket.socket) -> None:
        heard.put(connection.recv(16, socket.MSG_WAITALL))
        answering(b"HTTP/1.1 200 OK\r\n\r\n")(connection)

    with server(serve) as (port, _):
        check = Check("HTTP", port, timeout_seconds=PATIENCE, proxy_header=True)
        assert asyncio.run(probe(SERVER, check, local_address=PROBER)).ok
    assert heard.get(timeout=PATIENCE) == b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


def test_a_closed_port_fails_with_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind((SERVER, 0))
        port = unused.getsockname()[1]
        seen = f"Health checks failed: no connection to port {port}: connection refused"
        assert ask(port, "TCP") == ProbeResult(False, "Target.FailedHealthChecks", seen)


@pytest.mark.contract("TG-02")
@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (302, True), (399, True), (400, False), (404, False), (500, False)]
)
def test_statuses_from_200_to_399_are_healthy(status: int, ok: bool) -> None:
    with server(answering(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)) as (port, _):
        words = f"Health checks failed with these codes: [{status}], expected 200-399"
        assert ask(port) == ProbeResult(True) if ok else ProbeResult(False, "Target.ResponseCodeMismatch", words)


@pytest.mark.contract("NL-06")
@pytest.mark.parametrize(("status", "ok"), [(200, True), (201, False), (301, True), (302, True), (303, False)])
def test_statuses_that_are_a_list_of_ranges_are_healthy(status: int, ok: bool) -> None:
    with server(answering(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)) as (port, _):
        check = Check("HTTP", port, statuses=((200, 200), (301, 302)))
        found = asyncio.run(probe(SERVER, check, local_address=PROBER))
        words = f"Health checks failed with these codes: [{status}], expected 200,301-302"
        assert found == ProbeResult(True) if ok else ProbeResult(False, "Target.ResponseCodeMismatch", words)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nCache-Control: no-cache\n\nbody",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n",
    ],
    ids=["bare LF", "HTTP/1.0", "no phrase", "closed after the status line"],
)
def test_odd_but_clear_answers_are_understood(answer: bytes) -> None:
    with server(answering(answer)) as (port, _):
        assert ask(port) == ProbeResult(True)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not an HTTP answer: b'SSH-2.0-OpenSSH\\r\\n'"),
        (b"HTTP/1.1 abc\r\n\r\n", "not an HTTP answer: b'HTTP/1.1 abc\\r\\n'"),
        (bytes.fromhex("15030100020246"), "not an HTTP answer: TLS, where HTTP was expected"),
        (b"x" * 200_000, "answer headers without end"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "answer headers without end"),
    ],
)
def test_an_answer_that_is_not_http_fails_with_what_was_seen(answer: bytes, seen: str) -> None:
    with server(answering(answer)) as (port, _):
        result = ask(port)
    assert result == ProbeResult(False, "Target.FailedHealthChecks", f"Health checks failed: {seen} (port {port})")


def test_a_connection_that_is_reset_before_the_answer_is_told_as_that() -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1)  # what stays unread makes the kernel reset when it is closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(reset) as (port, _):
        seen = f"Health checks failed: no answer from port {port}: connection reset by peer"
        assert ask(port) == ProbeResult(False, "Target.FailedHealthChecks", seen)


@pytest.mark.parametrize("protocol", ["HTTP", "HTTPS"])
def test_a_silent_server_is_given_up_at_the_timeout(protocol: str) -> None:
    with server(lambda connection: (connection.recv(4096), connection.recv(1))) as (port, _):
        began = time.monotonic()
        result = ask(port, protocol, timeout=0.2)
        assert 0.2 <= time.monotonic() - began < 30
    missing = f"answer from port {port}" if protocol == "HTTP" else f"TLS handshake at port {port}"
    assert result == ProbeResult(False, "Target.Timeout", f"Request timed out: no {missing} within 0.2 s")


def test_the_request_is_one_that_a_real_http_server_takes() -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["User-Agent"], self.headers["Host"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer((SERVER, 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.handle_request)
        thread.start()
        assert ask(httpd.server_port, path="/health") == ProbeResult(True)
        thread.join()
        assert seen == [("/health", "ELB-HealthChecker/2.0", f"{SERVER}:{httpd.server_port}")]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=somebody-else",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True,
    )  # fmt: skip
    return folder


def tls_server(folder: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = version
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_https_does_not_care_whose_certificate_it_is(certificate: Path) -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\n\r\n"), tls=tls_server(certificate, ssl.TLSVersion.TLSv1_2)) as (
        port,
        _,
    ):
        assert ask(port, "HTTPS") == ProbeResult(True)


@pytest.mark.contract("TG-02")
def test_a_target_that_speaks_only_tls_1_3_fails(certificate: Path) -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\n\r\n"), tls=tls_server(certificate, ssl.TLSVersion.TLSv1_3)) as (
        port,
        _,
    ):
        result = ask(port, "HTTPS")
    assert not result.ok
    assert result.reason == "Target.FailedHealthChecks"
    assert result.description.startswith(f"Health checks failed: no TLS handshake at port {port}: ")
    assert result.description.endswith("alert protocol version (health checks speak TLS 1.2 at most)")


def test_plain_http_on_an_https_check_fails() -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as (port, _):
        result = ask(port, "HTTPS")
    assert result.reason == "Target.FailedHealthChecks"
    assert result.description.endswith(f"port {port}: wrong version number (as of an answer that is not TLS)")


def test_a_probe_comes_from_the_port_that_is_free_among_its_own() -> None:
    """Others are taken: by a listener, and by a connection to the same place."""
    ports = range(9512, 9515)
    with (
        socket.create_server((SERVER, 0)) as listener,
        socket.create_server((PROBER, ports[0])),
        socket.create_connection(listener.getsockname(), source_address=(PROBER, ports[2])),
    ):
        listener.accept()[0].close()
        check = Check("TCP", listener.getsockname()[1], timeout_seconds=PATIENCE)
        assert asyncio.run(probe(SERVER, check, local_address=PROBER, local_ports=ports)).ok
        connection, place = listener.accept()
        connection.close()
        assert place == (PROBER, ports[1])


def test_without_a_free_port_a_probe_fails_and_says_so() -> None:
    with socket.create_server((SERVER, 0)) as listener, socket.create_server((PROBER, 9512)):
        check = Check("TCP", listener.getsockname()[1], timeout_seconds=PATIENCE)
        result = asyncio.run(probe(SERVER, check, local_address=PROBER, local_ports=range(9512, 9513)))
    assert result.description.endswith("address already in use")


def test_a_probe_can_be_cancelled() -> None:
    async def cancelled(port: int) -> bool:
        task = asyncio.create_task(probe(SERVER, Check("HTTP", port), local_address=PROBER))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    with server(lambda connection: connection.recv(4096) and connection.recv(1)) as (port, _):
        assert asyncio.run(cancelled(port))


@pytest.mark.parametrize(
    ("protocol", "behaviour"),
    [("HTTPS", "silent"), ("HTTPS", "garbage"), ("HTTPS", "half a handshake"), ("HTTP", "silent"), ("TCP", "refused")],
)
def test_thousands_of_probes_that_fail_leave_nothing_in_memory(protocol: str, behaviour: str) -> None:
    """Without any garbage collection: a node makes none that is worth the name."""
    half = bytes.fromhex("1603030040020000") if behaviour == "half a handshake" else b""
    listener = socket.create_server((SERVER, 0), backlog=4096)
    port, accepted = listener.getsockname()[1], list[socket.socket]()
    if behaviour == "refused":
        listener.close()

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(connection)
            connection.send(half or (b"" if behaviour == "silent" else b"not TLS at all\n" * 100))
            if len(accepted) > 50:
                accepted.pop(0).close()

    async def probes(count: int) -> None:
        check = Check(protocol=protocol, port=port, timeout_seconds=0.02)
        for _ in range(count // 50):
            results = await asyncio.gather(*(probe(SERVER, check, local_address=PROBER) for _ in range(50)))
            assert not any(result.ok for result in results)

    thread = threading.Thread(target=answer)
    thread.start()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(probes(100))
        gc.collect()
        gc.disable()
        before = len(gc.get_objects())
        loop.run_until_complete(probes(2000))
        grown = len(gc.get_objects()) - before
    finally:
        gc.enable()
        loop.close()
        if behaviour != "refused":
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in accepted:
            connection.close()
    assert grown < 200
