"""The keys that tokens are signed with, fetched from the JWKS endpoints that rules name, from inside the node.

ALB guide, Verify JWTs. Choices of ours, where AWS says nothing: keys are fetched when a rule first names an endpoint,
then every REFRESH_SECONDS; what was found stays while an endpoint does not answer; the certificate of an endpoint is
not verified, since a lab's has one of its own authority, or none that anybody knows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from gwlbemu.core.application.settings import Balancer
from gwlbemu.errors import GwlbemuError, WireError
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.application import jwks
from gwlbemu.programs.application.jwks import Key
from gwlbemu.wire import dns

LOG = logging.getLogger("keeper")
REFRESH_SECONDS, RETRY_SECONDS, FETCH_SECONDS, ASK_SECONDS = 60.0, 2.0, 10.0, 1.0
RESOLVER = "169.254.169.253"  # VPC guide, Amazon DNS server
_QUESTIONS = 3  # before a resolver that says nothing is given up
_PORTS = {"http": 80, "https": 443}
_LARGEST_HEAD = 65536


class FetchError(GwlbemuError):
    """There are no keys at an endpoint, with the reason."""


class KeySets:
    """Keeps the keys of endpoints in `folder`; `changed` is called when there are others. `source` is our address."""

    def __init__(self, loop: Loop, folder: Path, source: str, changed: Callable[[], None]) -> None:
        self._loop, self._folder, self._source, self._changed = loop, folder, source, changed
        self._endpoints: frozenset[str] = frozenset()
        self._running: set[str] = set()
        self._said: dict[str, str] = {}
        self.keys: dict[str, tuple[Key, ...]] = {}

    def follow(self, endpoints: Iterable[str]) -> None:
        """Keep the keys of these endpoints from now on."""
        self._endpoints = frozenset(endpoints)
        self.keys = {name: keys for name, keys in self.keys.items() if name in self._endpoints}
        for endpoint in sorted(self._endpoints - self._running):
            self._running.add(endpoint)
            self._start(endpoint)

    def _start(self, endpoint: str) -> None:
        if endpoint in self._endpoints:
            self._loop.start(self._refresh(endpoint))
        else:
            self._running.discard(endpoint)
            self._said.pop(endpoint, None)

    async def _refresh(self, endpoint: str) -> None:
        seconds = RETRY_SECONDS
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = jwks.write(await fetch(endpoint, self._source), self._folder)
            said, seconds = f"{len(keys)} keys", REFRESH_SECONDS
            if endpoint in self._endpoints and keys != self.keys.get(endpoint):
                self.keys = self.keys | {endpoint: keys}
                self._changed()
        except TimeoutError:
            said = f"no answer within {FETCH_SECONDS:g} s"
        except (OSError, GwlbemuError) as error:
            said = str(error)
        finally:
            self._loop.call_after(seconds, partial(self._start, endpoint))
        if self._said.get(endpoint) != said:
            LOG.info("keys at %s: %s", endpoint, said)
        self._said[endpoint] = said


def endpoints_of(balancer: Balancer) -> set[str]:
    """Return the JWKS endpoints that any rule or default action names."""
    actions = [
        action
        for listener in balancer.listeners
        for some in (listener.default_actions, *(rule.actions for rule in listener.rules))
        for action in some
    ]
    return {each.jwt_validation.jwks_endpoint for each in actions if each.jwt_validation is not None}


async def fetch(url: str, source: str) -> bytes:
    """Return what is at a URL, asked from the address `source`. Raises FetchError or OSError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise FetchError(f"'{url}' is no URL of HTTP or HTTPS") from None
    context = None
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = await address_of(host)
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=host if context else None, local_addr=(source, 0)
    )
    try:
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        name = host if port == _PORTS[parts.scheme] else f"{host}:{port}"
        writer.write(f"GET {target} HTTP/1.0\r\nHost: {name}\r\nAccept: application/json\r\n\r\n".encode())
        answer = await reader.read(_LARGEST_HEAD + jwks.MOST_BYTES)
        while more := await reader.read(_LARGEST_HEAD):
            answer += more
            if len(answer) > _LARGEST_HEAD + jwks.MOST_BYTES:
                break
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if len(status) < 2 or not status[0].startswith(b"HTTP/1"):
        raise FetchError("the answer is not HTTP")
    if status[1] != b"200":
        raise FetchError(f"the answer has status {status[1].decode(errors='replace')[:10]}")
    return body


async def address_of(host: str, resolver: str = RESOLVER, port: int = 53) -> str:
    """Return an IPv4 address of a host, which may be one. Raises FetchError where there is none."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    loop, identity = asyncio.get_running_loop(), secrets.randbelow(65536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((resolver, port))
        for _ in range(_QUESTIONS):
            try:
                await loop.sock_sendall(sock, dns.encode_question(identity, host))
                async with asyncio.timeout(ASK_SECONDS):
                    found = dns.decode_addresses(await loop.sock_recv(sock, 65536), identity)
            except (TimeoutError, WireError):
                continue
            if not found:
                raise FetchError(f"there is no host {host}")
            return str(ipaddress.IPv4Address(found[0]))
    raise FetchError(f"the resolver does not say where {host} is")
