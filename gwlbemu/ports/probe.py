"""One health check of one target: connect, perhaps ask, judge, close.

GWLB guide, "Health checks for GWLB target groups": TCP, HTTP and HTTPS; the connection is closed after each check; a
target that speaks only TLS 1.3 fails; certificates are not verified. What AWS's HTTP client forgives is not documented:
this one takes HTTP/1.0 answers and header lines that end in a bare LF, as real appliances send them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.ports import http2

# AWS's reason codes (Elastic Load Balancing API, TargetHealth), each with the beginning of its description.
RESPONSE_CODE_MISMATCH = "Target.ResponseCodeMismatch"
TIMEOUT = "Target.Timeout"
FAILED = "Target.FailedHealthChecks"
INTERNAL_ERROR = "Elb.InternalError"
USER_AGENT = "ELB-HealthChecker/2.0"
LONGEST_ANSWER_HEAD = 65536
READ_BYTES = 16384
ANY_PORT = range(1)  # one that the kernel chooses
HTTP2, GRPC = "HTTP2", "GRPC"
_EMPTY_MESSAGE = bytes(5)  # gRPC over HTTP/2: not compressed, of no bytes
# The PROXY protocol, version 2: signature, version and command LOCAL, no address family, no addresses.
_LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a 20 00 0000")
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # an alert, a handshake
STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([0-9]{3})(?: |\r?\n)")


class ProbeResult(NamedTuple):
    """What a health check found. Of one that failed, `reason` is AWS's code and `description` AWS's words with what was
    seen behind them; both are empty when `ok`.
    """

    ok: bool
    reason: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """How to probe; `port` 0 is each target's own, `statuses` pass, given as the lowest and highest of each range.

    `version` is of HTTP: "" for 1.1, HTTP2, or GRPC, of which `statuses` are gRPC's.
    `host` is what HTTP is told in the header of that name, "" the target's address and port. With `proxy_header` the
    header of proxy protocol v2 comes first, of a connection that is nobody's (NLB guide, Proxy protocol).
    """

    protocol: str = "TCP"  # TCP, HTTP or HTTPS
    port: int = 80
    path: str = "/"
    timeout_seconds: float = 5.0
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    host: str = ""
    proxy_header: bool = False
    version: str = ""


class _BadAnswer(Exception):
    pass


@dataclass(slots=True)
class _Progress:
    """How far a check has come; `waits_for` says what was missing when it ended there."""

    waits_for: str


@cache
def _tls_without_verification(alpn: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


class _Plain:
    """A connection; text in the clear. `socket` is connected and does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop, self._socket = asyncio.get_running_loop(), sock

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._loop.sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        """Return what comes next, b"" at the end."""
        return await self._loop.sock_recv(self._socket, READ_BYTES)


class _Secure:
    """TLS over a connection.

    asyncio's own TLS transport keeps 256 KiB and itself alive in reference cycles after a handshake that was given up,
    until a full garbage collection, which a node almost never makes. This one is gone with its last reference.
    """

    def __init__(self, plain: _Plain, server_name: str, alpn: str = "") -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _tls_without_verification(alpn).wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name
        )

    async def shake_hands(self) -> None:
        """Do the handshake. Raises ssl.SSLError, and ConnectionResetError when the other side hangs up meanwhile."""
        while not self._step(self._tls.do_handshake):
            if not await self._exchange():
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        await self._flush()

    async def send(self, data: bytes) -> None:
        """Send all of it, at most as much as one record holds."""
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        """Return what comes next, b"" at the end."""
        while True:
            try:
                return self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                if not await self._exchange():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    @staticmethod
    def _step(step: Callable[[], None]) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _exchange(self) -> bool:
        """Send what TLS has to say and take what the other side says; False when that is nothing any more."""
        await self._flush()
        data = await self._plain.receive()
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._plain.send(self._outgoing.read())


async def _lines(connection: _Plain | _Secure) -> AsyncGenerator[bytes, None]:
    """Yield line after line with its end, and what stands behind the last one."""
    unread = b""
    while data := await connection.receive():
        *whole, unread = (unread + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(unread) > LONGEST_ANSWER_HEAD:
            raise _BadAnswer("answer headers without end")
    if unread:
        yield unread


async def _status(connection: _Plain | _Secure, check: Check, host: str) -> int:
    request = (f"GET {check.path} HTTP/1.1", f"Host: {host}", f"User-Agent: {USER_AGENT}", "Connection: close", "", "")
    await connection.send("\r\n".join(request).encode())
    status, length = 0, 0
    async with aclosing(_lines(connection)) as lines:
        async for line in lines:
            length += len(line)
            if not status:
                match = STATUS_LINE.match(line)
                if match is None:
                    what = "TLS, where HTTP was expected" if line.startswith(_TLS_RECORDS) else repr(line[:40])
                    raise _BadAnswer(f"not an HTTP answer: {what}")
                status = int(match.group(1))
            if not line.strip():
                break
            if length > LONGEST_ANSWER_HEAD:
                raise _BadAnswer("answer headers without end")
    if not status:
        raise _BadAnswer("connection closed without an answer")
    return status


async def _http2_status(connection: _Plain | _Secure, check: Check, host: str) -> int:
    """Return the status of an answer of HTTP/2, of gRPC gRPC's (trailer grpc-status)."""
    is_grpc = check.version == GRPC
    headers = [
        (":method", "POST" if is_grpc else "GET"),
        (":scheme", check.protocol.lower()),
        (":authority", host),
        (":path", check.path),
        ("user-agent", USER_AGENT),
    ]
    if is_grpc:
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
    try:
        found = await http2.ask(connection, headers, _EMPTY_MESSAGE if is_grpc else b"")
    except WireError as error:
        raise _BadAnswer(str(error)) from None
    wanted = b"grpc-status" if is_grpc else b":status"
    if not found.get(wanted, b"").isdigit():
        raise _BadAnswer(f"an answer without {wanted.decode()}")
    return int(found[wanted])


async def _connected(place: tuple[str, int], local_address: str, local_ports: Sequence[int]) -> socket.socket:
    """Return a connection from one of the local ports: the first that is free, from any of them on."""
    start, last = random.randrange(len(local_ports)), len(local_ports) - 1
    for number in range(len(local_ports)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            port = local_ports[(start + number) % len(local_ports)]
            if port:  # many connections may have it, each to another place
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((local_address, port))
            await asyncio.get_running_loop().sock_connect(sock, place)
        except BaseException as error:
            sock.close()
            taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
            if not taken or number == last:
                raise
        else:
            return sock
    raise ValueError("no local port to connect from")


async def _attempt(
    address: str, check: Check, local_address: str, local_ports: Sequence[int], progress: _Progress
) -> ProbeResult:
    with await _connected((address, check.port), local_address, local_ports) as sock:
        if check.proxy_header:
            await asyncio.get_running_loop().sock_sendall(sock, _LOCAL)
        if check.protocol == "TCP":
            return ProbeResult(True)
        plain = _Plain(sock)
        secure = _Secure(plain, address, "h2" if check.version else "") if check.protocol == "HTTPS" else None
        if secure is not None:
            progress.waits_for = f"TLS handshake at port {check.port}"
            await secure.shake_hands()
        progress.waits_for = f"answer from port {check.port}"
        ask = _http2_status if check.version in (HTTP2, GRPC) else _status
        status = await ask(secure or plain, check, check.host or f"{address}:{check.port}")
        if any(low <= status <= high for low, high in check.statuses):
            return ProbeResult(True)
        expected = "expected " + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in check.statuses)
        text = f"Health checks failed with these codes: [{status}], {expected}"
        return ProbeResult(False, RESPONSE_CODE_MISMATCH, text)


async def probe(
    address: str, check: Check, *, local_address: str, local_ports: Sequence[int] = ANY_PORT
) -> ProbeResult:
    """Check the target at `address` once, from `local_address` and one of `local_ports`; nothing that a target does
    makes it raise.
    """
    progress = _Progress(f"connection to port {check.port}")
    try:
        async with asyncio.timeout(check.timeout_seconds):
            return await _attempt(address, check, local_address, local_ports, progress)
    except TimeoutError:
        text = f"Request timed out: no {progress.waits_for} within {check.timeout_seconds:g} s"
        return ProbeResult(False, TIMEOUT, text)
    except _BadAnswer as error:
        return _failed(f"{error} (port {check.port})")
    except ssl.SSLError as error:
        return _failed(f"no {progress.waits_for}: {_tls_words(error)}")
    except OSError as error:
        words = (os.strerror(error.errno) if error.errno else str(error)).lower()
        return _failed(f"no {progress.waits_for}: {words}")


def _failed(seen: str) -> ProbeResult:
    return ProbeResult(False, FAILED, f"Health checks failed: {seen}")


def _tls_words(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words; what it means where a health check gives one a meaning."""
    words = (error.reason or "the target did not go on").replace("_", " ").lower()
    if "alert protocol version" in words:
        return f"{words} (health checks speak TLS 1.2 at most)"
    if "wrong version number" in words:
        return f"{words} (as of an answer that is not TLS)"
    return words
