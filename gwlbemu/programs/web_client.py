"""`python -m gwlbemu.programs.web_client URL`: GET requests, and what became of each, one JSON object a line.

Each request has a connection of its own, or all have one (--keep-alive), which is opened anew where the other side has
closed it. Names are asked of the resolver of whoever runs it, for each connection. HTTPS verifies the server against
--authority. Redirects are told and not followed. With --cookies a cookie file comes by standard input, and the last
line has what it is afterwards; for one of another form the only line is `refused`, with the reason. Ends with 0 however
the requests ended.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from gwlbemu.programs.cookies import Cookie, CookieJar, parse

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 75.0  # longer than a load balancer waits for a target by default
MOST_BODY = 1 << 16  # bytes of a body that are looked at
_BLOCK = 1 << 16
_GOODBYE_SECONDS = 1.0


class Session:
    """Requests of one client for one URL."""

    def __init__(self, url: str, jar: CookieJar | None, authority: str, *, keep_alive: bool) -> None:
        self._url, self._jar, self._authority, self._keep_alive = urlsplit(url), jar, authority, keep_alive
        self._connection: HTTPConnection | None = None
        self._connections = 0

    def request(self, number: int) -> dict[str, object]:
        """Send one request; return what became of it."""
        url, began = self._url, time.monotonic()
        path = url.path or "/"
        sent = self._fitting(url, path)
        told: dict[str, object] = {"number": number, "cookies_sent": {each.name: each.value for each in sent}}
        try:
            connection = self._opened()
            told |= _ends(connection) | {"connection": self._connections}
            headers = {"Accept": "application/json", "User-Agent": "gwlbemu"}
            if sent:
                headers["Cookie"] = "; ".join(f"{each.name}={each.value}" for each in sent)
            connection.request("GET", path + (f"?{url.query}" if url.query else ""), headers=headers)
            told |= self._answer(connection.getresponse(), path)
        except (OSError, HTTPException) as error:
            told["error"] = _why(error, url)
            self.close()
        told["seconds"] = round(time.monotonic() - began, 6)
        if not self._keep_alive:
            self.close()
        return told

    def close(self) -> None:
        """End the connection, if there is one; of TLS in turn, so that nobody has to reset it."""
        if self._connection is not None:
            sock = self._connection.sock
            if isinstance(sock, ssl.SSLSocket):
                sock.settimeout(_GOODBYE_SECONDS)
                with suppress(OSError, ValueError):
                    sock.unwrap()
            self._connection.close()
        self._connection = None

    def _opened(self) -> HTTPConnection:
        if self._connection is not None and self._connection.sock is not None:
            return self._connection
        url = self._url
        host = url.hostname or ""
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self._authority or None)
            self._connection = HTTPSConnection(host, url.port, timeout=CONNECT_SECONDS, context=context)
        else:
            self._connection = HTTPConnection(host, url.port, timeout=CONNECT_SECONDS)
        self._connections += 1
        self._connection.connect()
        assert self._connection.sock is not None
        self._connection.sock.settimeout(ANSWER_SECONDS)
        return self._connection

    def _answer(self, response: HTTPResponse, path: str) -> dict[str, object]:
        body, size = b"", 0
        while part := response.read(_BLOCK):
            body, size = (body + part)[:MOST_BODY], size + len(part)
        now = time.time()
        host = self._url.hostname or ""
        found = (parse(each, host, path, now) for each in response.headers.get_all("Set-Cookie", []))
        cookies = [each for each in found if each is not None]
        for each in cookies:
            if self._jar is not None:
                self._jar.take(each, now)
        return {
            "status": response.status,
            "reason": response.reason,
            "headers": [list(each) for each in response.headers.items()],
            "cookies_set": [asdict(each) for each in cookies],
            "bytes": size,
            "facts": _facts(body, response.headers.get("Content-Type", "")),
        }

    def _fitting(self, url: SplitResult, path: str) -> list[Cookie]:
        if self._jar is None:
            return []
        return self._jar.fitting(url.hostname or "", path, secure=url.scheme == "https", now=time.time())


def _ends(connection: HTTPConnection) -> dict[str, object]:
    address, port = connection.sock.getpeername()[:2]
    return {"address": address, "port": port, "source_port": connection.sock.getsockname()[1]}


def _facts(body: bytes, kind: str) -> dict[str, object]:
    """What a web server of ours says of the request; {} of anybody else's answer."""
    if not kind.startswith("application/json"):
        return {}
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and "peer_address" in said else {}


def _why(error: Exception, url: SplitResult) -> str:
    """Why there was no answer, in words."""
    if isinstance(error, socket.gaierror):
        return f"{url.hostname} has no address ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no answer of HTTP: {type(error).__name__}: {error}"


def main(arguments: Sequence[str]) -> int:
    """Send the requests; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gwlbemu.programs.web_client", description="GET requests.")
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=1, help="how many requests, one after the other (default: 1)")
    parser.add_argument("--keep-alive", action="store_true", help="all of them over one connection")
    parser.add_argument("--authority", default="", help="a file of certificates that HTTPS is verified against")
    parser.add_argument("--cookies", action="store_true", help="a cookie file comes by standard input")
    parser.add_argument("--within", type=float, default=120.0, help="seconds; no request begins later (default: 120)")
    options = parser.parse_args(arguments)
    try:
        jar = CookieJar.from_text(sys.stdin.read()) if options.cookies else None
    except ValueError as error:
        print(json.dumps({"refused": str(error)}))
        return 0
    session = Session(options.url, jar, options.authority, keep_alive=options.keep_alive)
    give_up_at = time.monotonic() + options.within
    try:
        for number in range(1, options.count + 1):
            if time.monotonic() >= give_up_at:
                break
            print(json.dumps(session.request(number)), flush=True)
    finally:
        session.close()
    if jar is not None:
        print(json.dumps({"cookies": jar.to_text()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
