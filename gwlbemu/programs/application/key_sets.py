"""The keys of the JWKS endpoints that rules name: fetched from inside the node's namespace, and again and again.

Names are asked of the resolver of the node's subnet; an endpoint has to show a certificate of the lab's own authority,
as an HTTPS listener of the lab does. How often AWS fetches is not documented: here every minute, and every two seconds
while there are no keys. An endpoint that fails leaves the keys that were there (our choice, too).
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from gwlbemu.core.application.engine import Engine
from gwlbemu.errors import GwlbemuError, WireError
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.application.jwks import MOST_BYTES, JwksError, Key, write
from gwlbemu.wire import dns

LOG = logging.getLogger("keeper")
AGAIN_SECONDS, SOON_SECONDS = 60.0, 2.0
_STEP_SECONDS, _WHOLE_SECONDS = 5.0, 15.0  # for one step of a fetch, for all of it


@dataclass(frozen=True, slots=True)
class Place:
    """From where keys are fetched: the node's address, its resolver's, the file with the authority's certificate."""

    address: str
    resolver: str
    authority: str


def endpoints(engine: Engine) -> frozenset[str]:
    """Return the JWKS endpoints that an engine's actions name."""
    return frozenset(_named(engine))


def _named(engine: Engine) -> Iterator[str]:
    for listener in engine.listeners:
        rules = (action for rule in listener.rules for action in rule.actions)
        for action in (*rules, *listener.default_actions):
            if action.jwt_validation is not None:
                yield action.jwt_validation.jwks_endpoint


class KeySets:
    """The keys that were found at each endpoint; `changed` is called when they are others."""

    def __init__(self, loop: Loop, place: Place, folder: Path, changed: Callable[[], None]) -> None:
        self.keys: dict[str, tuple[Key, ...]] = {}
        self._loop, self._place, self._folder, self._changed = loop, place, folder, changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, str] = {}

    def follow(self, wanted: Collection[str]) -> None:
        """Fetch the keys of these endpoints and no others."""
        for endpoint in self._tasks.keys() - set(wanted):
            self._tasks.pop(endpoint).cancel()
            self.keys.pop(endpoint, None)
            self._said.pop(endpoint, None)
        for endpoint in wanted:
            if endpoint not in self._tasks:
                self._tasks[endpoint] = self._loop.start(self._keep(endpoint))

    async def _keep(self, endpoint: str) -> None:
        while True:
            try:
                document = await asyncio.to_thread(fetch, endpoint, self._place)
                found = write(document, self._folder)
                said = f"{len(found)} keys"
            except (OSError, ValueError, GwlbemuError, http.client.HTTPException) as error:
                found, said = self.keys.get(endpoint, ()), f"no keys: {error}"
            if said != self._said.get(endpoint):
                LOG.info("JWKS %s: %s", endpoint, said)
            self._said[endpoint] = said
            if found != self.keys.get(endpoint, ()):
                self.keys[endpoint] = found
                self._changed()
            await asyncio.sleep(AGAIN_SECONDS if self.keys.get(endpoint) else SOON_SECONDS)


def fetch(endpoint: str, place: Place) -> bytes:
    """Return what an endpoint, https://HOST[:PORT]/PATH, answers. It blocks, for seconds at most.

    Raises OSError, HTTPException or GwlbemuError, with what is wrong in words.
    """
    parts = urlsplit(endpoint)
    host, path = parts.hostname or "", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    give_up_at = time.monotonic() + _WHOLE_SECONDS
    context = ssl.create_default_context(cafile=place.authority)
    address = _address(host, place)
    with (
        socket.create_connection((address, parts.port or 443), _STEP_SECONDS, (place.address, 0)) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        asking = http.client.HTTPConnection(host, parts.port or 443)
        asking.sock = secure
        asking.request("GET", path, headers={"Host": parts.netloc, "Accept": "application/json", "Connection": "close"})
        answer = asking.getresponse()
        if answer.status != http.client.OK:
            raise JwksError(f"the endpoint answers {answer.status}")
        document = b""
        while len(document) <= MOST_BYTES and (part := answer.read1(65536)):
            document += part
            if time.monotonic() > give_up_at:
                raise JwksError(f"no whole answer within {_WHOLE_SECONDS:g} s")
        return document


def _address(host: str, place: Place) -> str:
    """The IPv4 address of a name, which may be one."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    identity = secrets.randbelow(1 << 16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_STEP_SECONDS)
        sock.bind((place.address, 0))
        sock.connect((place.resolver, dns.PORT))
        sock.send(dns.encode_question(identity, host, dns.A))
        try:
            found = dns.decode_addresses(sock.recv(dns.LONGEST), identity)
        except WireError as error:
            raise JwksError(f"{host}: {error}") from error
    if not found:
        raise JwksError(f"there is no {host}")
    return str(ip_address(found[0]))
