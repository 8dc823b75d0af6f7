"""`python -m gwlbemu.programs.web`: the web server of an instance. It answers with its own name, who asked, and how.

GET /            name, peer address and port, request line and headers, as text; JSON with `?json` or Accept
GET /bytes/N     a body of N bytes, at most a gigabyte
GET /status/N    as /, with the status N (200 to 599)
GET /delay/S     as /, after S seconds, at most an hour
GET /login       as /, and a cookie `session`, or by another name (?cookie=NAME), of this server and this request
HEAD, POST, PUT  the same; a request body is read and its length reported
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

from gwlbemu.ports import privileges

BLOCK = bytes(range(32, 127)) * 689  # just under 64 KiB of text
LARGEST = 1_000_000_000
LONGEST = 3600.0  # seconds
V4_IN_V6 = "::ffff:"  # RFC 4291, 2.5.5.2


class Server(ThreadingHTTPServer):
    """Listens on IPv6 and IPv4 through one socket, on IPv4 alone where the kernel has no IPv6."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        super().__init__(("::" if self.address_family == socket.AF_INET6 else "0.0.0.0", port), Handler)

    def server_bind(self) -> None:
        """Listen on both address families, as `http.server` asks for it."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    server_version = "gwlbemu-web"
    timeout = 3600  # longer than any idle timeout that a lab is used to show
    disable_nagle_algorithm = True  # a head waits for no acknowledgement of the one before
    server: Server

    def do_GET(self) -> None:
        """Answer one request."""
        body_length = self._read_body()
        path, _, query = self.path.partition("?")
        _, word, wanted = ("", *path.split("/", 2)[1:], "", "")[:3]
        status, cookie = int(HTTPStatus.OK), ""
        if word == "bytes":
            return self._send_bytes(wanted)
        if word == "status":
            if not (wanted.isascii() and wanted.isdigit() and 200 <= int(wanted) < 600):
                return self.send_error(HTTPStatus.BAD_REQUEST, "expected /status/N with N from 200 to 599")
            status = int(wanted)
        elif word == "delay":
            seconds = _seconds(wanted)
            if seconds is None:
                return self.send_error(HTTPStatus.BAD_REQUEST, f"expected /delay/S with S from 0 to {LONGEST:g}")
            time.sleep(seconds)
        elif word == "login":
            named = [each.removeprefix("cookie=") for each in query.split("&") if each.startswith("cookie=")]
            cookie = f"{named[0] if named else 'session'}={self.server.name}-{secrets.token_hex(8)}"
        facts = self._facts(body_length)
        if "json" in query or "application/json" in self.headers.get("Accept", ""):
            return self._send(json.dumps(facts, indent=2) + "\n", "application/json", status, cookie)
        headers = "".join(f"  {name}: {value}\n" for name, value in self.headers.items())
        peer = f"{facts['peer_address']} port {facts['peer_port']}"
        text = f"{self.server.name}\npeer: {peer}\nrequest: {self.requestline}\n{headers}"
        return self._send(text, "text/plain", status, cookie)

    do_HEAD = do_POST = do_PUT = do_GET

    def version_string(self) -> str:
        """Return the Server header."""
        return self.server_version

    def log_message(self, format: str, *values: object) -> None:
        """Write one line per request to standard output."""
        print(f"{self._peer()[0]} {format % values}", flush=True)

    def _peer(self) -> tuple[str, int]:
        address, port = self.client_address[:2]
        return str(address).removeprefix(V4_IN_V6), int(port)

    def _facts(self, body_length: int) -> dict[str, object]:
        address, port = self._peer()
        return {
            "name": self.server.name,
            "peer_address": address,
            "peer_port": port,
            "method": self.command,
            "path": self.path,
            "headers": {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers},
            "body_length": body_length,
        }

    def _read_body(self) -> int:
        length = left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (part := self.rfile.read(min(left, 65536))):
            left -= len(part)
        return length

    def _send(self, text: str, kind: str, status: int, cookie: str) -> None:
        body = b"" if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED) else text.encode()
        self._send_head(len(body), kind, status, cookie)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_bytes(self, count: str) -> None:
        if not count.isascii() or not count.isdigit() or int(count) > LARGEST:
            self.send_error(HTTPStatus.BAD_REQUEST, f"expected /bytes/N with N from 0 to {LARGEST}")
            return
        left = int(count)
        self._send_head(left, "text/plain")
        while left > 0 and self.command != "HEAD":
            left -= self.wfile.write(BLOCK[:left])

    def _send_head(self, length: int, kind: str, status: int = HTTPStatus.OK, cookie: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Served-By", self.server.name)
        if cookie:
            self.send_header("Set-Cookie", f"{cookie}; Path=/")
        self.end_headers()


def _seconds(text: str) -> float | None:
    """The seconds that a request asks for, None for what is no time."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST else None


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; return the exit code, 2 when the port cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m gwlbemu.programs.web", description="The web server of an instance."
    )
    parser.add_argument("--name", default="web", help="what it calls itself (default: web)")
    parser.add_argument("--port", type=int, default=80, help="(default: 80)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        server = Server(options.name, options.port)
    except OSError as error:
        print(f"{options.name}: cannot listen on port {options.port}: {error.strerror}", file=sys.stderr)
        return 2
    with server:
        privileges.drop()
        print(f"{options.name}: ready on port {options.port}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
