"""An HAProxy that runs by the text of an application load balancer, and small HTTP targets, all on 127.0.0.0/8 of the
test's own network namespace.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from gwlbemu.core.application.engine import Engine, Pool, Server
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.rules import FORWARD, Action, WeightedTargetGroup
from gwlbemu.lab import engines
from gwlbemu.programs.application import text as haproxy_text
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.haproxy.description import description_of
from tests.waiting import wait_until

NODE, CLIENT = "127.0.1.1", "127.0.9.9"
DNS_NAME = "web-1234.elb.example"
SECONDS = 20.0  # that a test waits for an answer


class Seen(NamedTuple):
    """A request as a target got it, headers with their spelling."""

    target: str  # the name of who got it
    method: str
    url: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: tuple[str, int]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        return ", ".join(self.values(name)) if self.values(name) else None


class Answer(NamedTuple):
    """What a client got."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        return ", ".join(self.values(name)) if self.values(name) else None

    @property
    def seen(self) -> Seen:
        """The request, as the target that echoes it has got it."""
        told = json.loads(self.body)
        return Seen(
            told["target"],
            told["method"],
            told["url"],
            told["version"],
            tuple((name, value) for name, value in told["headers"]),
            told["body"].encode("latin-1"),
            (told["peer"][0], told["peer"][1]),
        )


def made(status: int = 200, body: bytes = b"", *headers: str) -> bytes:
    """Return an answer of HTTP/1.1."""
    lines = [f"HTTP/1.1 {status} Made", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def echo(seen: Seen) -> bytes:
    """Answer with the request itself."""
    told = {**seen._asdict(), "body": seen.body.decode("latin-1")}
    return made(200, json.dumps(told).encode(), "Content-Type: application/json")


class Target:
    """An HTTP/1.1 server. What `answer` returns is sent; with None the connection is reset."""

    def __init__(self, name: str, address: str, port: int, answer: Callable[[Seen], bytes | None] = echo) -> None:
        self.name, self.address, self.port, self.answer = name, address, port, answer
        self.requests: list[Seen] = []
        self._connections: set[socket.socket] = set()
        target = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                target._connections.add(self.request)
                with suppress(OSError, ValueError):
                    while target._serve(self):
                        pass

        class TcpServer(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            request_queue_size = 512

        self._server = TcpServer((address, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _serve(self, connection: socketserver.StreamRequestHandler) -> bool:
        line = connection.rfile.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return False
        headers = []
        while given := connection.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = given.partition(":")
            headers.append((name, value.strip()))
        lower = {name.lower(): value for name, value in headers}
        body = connection.rfile.read(int(lower.get("content-length", "0")))
        if lower.get("transfer-encoding") == "chunked":
            while size := int(connection.rfile.readline(), 16):
                body += connection.rfile.read(size)
                connection.rfile.readline()
            connection.rfile.readline()
        method, url, version = line.split(" ")
        seen = Seen(self.name, method, url, version, tuple(headers), body, connection.client_address)
        self.requests.append(seen)
        answer = self.answer(seen)
        if answer is None:
            connection.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return False
        connection.wfile.write(answer)
        return "close" not in lower.get("connection", "")

    def close(self) -> None:
        self._server.shutdown()
        for each in self._connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()


class Http:
    """A connection of a client that says what it is told to say."""

    def __init__(self, port: int = 80, address: str = NODE, source: str = CLIENT) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(SECONDS)
        try:
            self.socket.bind(("::1" if ":" in address and source == CLIENT else source, 0))
            self.socket.connect((address, port))
        except OSError:
            self.socket.close()
            raise
        self.source_port: int = self.socket.getsockname()[1]
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def read(self, method: str = "GET") -> Answer:
        """Return the next answer. Raises EOFError where the connection ends instead."""
        line = self._file.readline().decode("latin-1")
        if not line:
            raise EOFError
        _, status, reason = line.rstrip("\r\n").split(" ", 2)
        headers = []
        while given := self._file.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = given.partition(":")
            headers.append((name, value.strip()))
        lower = {name.lower(): value for name, value in headers}
        body = b"" if method == "HEAD" or int(status) < 200 else self._file.read(int(lower.get("content-length", "0")))
        return Answer(int(status), reason, tuple(headers), body)

    def ask(
        self,
        target: str = "/",
        *headers: str,
        method: str = "GET",
        version: str = "1.1",
        host: str | None = "web.example",
        body: bytes = b"",
    ) -> Answer:
        lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return self.read(method)

    def is_closed(self) -> bool:
        """Whether the other side ends the connection, waiting for it."""
        return self._file.read(1) == b""


@dataclass
class Lab:
    """What runs."""

    folder: Path
    engine: Engine
    options: dict[str, Any]
    targets: dict[str, Target] = field(default_factory=dict)

    def ask(self, target: str = "/", *headers: str, port: int = 80, **options: Any) -> Answer:
        """Return the answer to one request over a connection of its own."""
        with Http(port) as client:
            return client.ask(target, *headers, **options)

    def command(self, said: str) -> str:
        """Return what the worker says to a command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(str(self.folder / "engine"))
            connection.sendall(f"@1 {said}\n".encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        return answer.decode()

    def counter(self, name: str) -> int:
        """Return a counter of the process."""
        found = re.search(r"value=<(\d+)>", self.command(f"get var proc.{name}"))
        assert found, name
        return int(found[1])

    def change(self, after: Engine) -> None:
        """Let states and weights be those of `after`."""
        for command in haproxy_text.changes(self.engine, after):
            assert self.command(command).strip() == "", command
        self.engine = after


def forward(*groups: str | tuple[str, int], sticky_seconds: int = 0) -> Action:
    """Return a forward action to groups, with weights."""
    tuples = (each if isinstance(each, tuple) else (each, 1) for each in groups)
    weighted = tuple(WeightedTargetGroup(name, weight) for name, weight in tuples)
    return Action(FORWARD, weighted, sticky=sticky_seconds > 0, sticky_seconds=sticky_seconds)


def listener(*rules: Any, default: Sequence[Action] = (forward("web"),), port: int = 80, **more: Any) -> Listener:
    """Return a listener that forwards to `web` where no rule matches."""
    given: dict[str, Any] = {"protocol": "HTTP", "attributes": {}, **more}
    return Listener(port=port, rules=rules, default_actions=tuple(default), **given)


def pool(name: str = "web", *targets: tuple[str, str, int], **more: Any) -> Pool:
    """Return a pool; a target is its server's name, its address, its port."""
    servers = tuple(Server(server, f"i-{server}", address, port, True) for server, address, port in targets)
    given = {"protocol": "HTTP", "protocol_version": "HTTP1", "attributes": {}, "registered": len(servers), **more}
    return Pool(name=name, servers=servers, **given)


def engine(*listeners: Listener, pools: Sequence[Pool] = (), **attributes: str) -> Engine:
    """Return an engine; the keys of attributes have _ for AWS's dots."""
    return Engine(
        (NODE,), DNS_NAME, b"a secret of the nodes", _keys(attributes), listeners or (listener(),), tuple(pools)
    )


def with_attributes(before: Engine, **attributes: str) -> Engine:
    """Return an engine with attributes more; the keys have _ for AWS's dots, and __ for _."""
    return replace(before, attributes={**before.attributes, **_keys(attributes)})


def _keys(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key.replace("__", "\0").replace("_", ".").replace("\0", "_"): value for key, value in attributes.items()}


@contextmanager
def running(
    folder: Path,
    wanted: Engine,
    targets: Mapping[str, Callable[[Seen], bytes | None]] | None = None,
    *,
    access_log: str = "",
    keys: Mapping[str, Sequence[Key]] | None = None,
    connect_seconds: float = 10,
    keep_alive_seconds: int = 0,
) -> Iterator[Lab]:
    """Run an HAProxy as `wanted`, and a target for each of its servers: one that echoes, or what `targets` says."""
    options: dict[str, Any] = {
        "access_log": access_log,
        "keys": keys,
        "connect_seconds": connect_seconds,
        "keep_alive_seconds": keep_alive_seconds,
    }
    (folder / "engine.cfg").write_text(haproxy_text.text(wanted, **options))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lab = Lab(folder, wanted, options)
    with ExitStack() as stack:
        for pool_ in wanted.pools:
            for server in pool_.servers:
                answer = (targets or {}).get(server.name, echo)
                if server.name not in lab.targets and server.name not in NOT_MADE:
                    lab.targets[server.name] = Target(server.name, server.address, server.port, answer)
                    stack.callback(lab.targets[server.name].close)
        argv = [engines.haproxy().path, "-W", "-S", "unix@engine,level,admin", "-f", "engine.cfg"]
        log = stack.enter_context((folder / "engine.log").open("wb"))
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        described = description_of((folder / "engine.cfg").read_text())

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "engine.log").read_text()
            with suppress(OSError):
                return described in lab.command("show info")
            return False

        wait_until(is_ready, lambda: (folder / "engine.log").read_text(), seconds=SECONDS)
        yield lab


NOT_MADE = frozenset({"nobody", "silent"})  # servers for which there is no target
