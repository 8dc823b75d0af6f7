"""The lab's resolver: one process, with sockets in the namespace of every subnet and of the internet.

    python -m gwlbemu.programs.resolver.resolver CONFIG.json

It answers whom its sockets hear: the instances of that subnet, since a socket takes nothing from another device. Where
a client is follows from the socket, not from its address. Nothing is ever asked of anybody else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from gwlbemu.errors import WireError
from gwlbemu.net.inside import inside
from gwlbemu.ports import privileges
from gwlbemu.ports.arguments import Arguments
from gwlbemu.ports.control import ControlServer, Verb
from gwlbemu.ports.loop import Loop
from gwlbemu.programs import zone_news
from gwlbemu.programs.process import run_logged
from gwlbemu.programs.resolver.config import Place, ResolverConfig
from gwlbemu.programs.resolver.names import TTL, Names
from gwlbemu.wire import dns

LOG = logging.getLogger("resolver")
PORT = 53
BATCH = 100  # datagrams of a socket before another has a turn
PATIENCE = 5.0  # seconds for a question by TCP to come, and its answer to be read
MOST_CONNECTIONS = 100
_CODES = {
    dns.NOERROR: "answered", dns.NXDOMAIN: "no such name", dns.REFUSED: "refused", dns.FORMERR: "malformed",
    dns.NOTIMP: "malformed",
}  # fmt: skip


class Resolver:
    """Everything of the process, opened on `stack`."""

    def __init__(self, config: ResolverConfig, loop: Loop, stack: ExitStack) -> None:
        self._loop = loop
        self._names = Names(config.domains, config.hosts, config.balancers, random.Random(config.seed))
        self._counts = dict.fromkeys([*_CODES.values(), "unanswered", "news", "news refused"], 0)
        self._connections = 0
        self._sockets = [pair for place in config.places for pair in _open(place, stack)]
        self._news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        stack.callback(self._news.close)
        Path(config.news).unlink(missing_ok=True)
        self._news.bind(config.news)
        privileges.give(config.news)
        self._news.setblocking(False)
        stack.callback(Path(config.news).unlink, missing_ok=True)
        verbs: dict[str, Verb] = {"status": self.status}
        self._control = ControlServer(config.control, verbs, faults=loop.faults)
        stack.callback(self._control.close)

    def start(self) -> None:
        """Listen to clients, nodes and the control socket."""
        for place, sock in self._sockets:
            if sock.type == socket.SOCK_DGRAM:
                self._loop.add_reader(sock.fileno(), lambda place=place, sock=sock: self._datagrams(place, sock))  # type: ignore[misc]
            else:
                self._loop.add_reader(sock.fileno(), lambda place=place, sock=sock: self._accept(place, sock))  # type: ignore[misc]
        self._loop.add_reader(self._news.fileno(), self._take_news)
        self._loop.run_until_complete(self._control.open())

    def _datagrams(self, place: Place, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data, client = sock.recvfrom(dns.LONGEST)
            except BlockingIOError:
                return
            answer = self._answer(place, data)
            if answer:
                with suppress(OSError):  # no room, or no way back
                    sock.sendto(answer, client)

    def _accept(self, place: Place, sock: socket.socket) -> None:
        try:
            connection, _ = sock.accept()
        except OSError:
            return
        if self._connections >= MOST_CONNECTIONS:
            connection.close()
            return
        self._connections += 1
        self._loop.start(self._serve(place, connection))

    async def _serve(self, place: Place, connection: socket.socket) -> None:
        """Answer the questions of a TCP connection, each behind its length (RFC 1035 section 4.2.2)."""
        writer = None
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 16)
            while True:
                async with asyncio.timeout(PATIENCE):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    answer = self._answer(place, await reader.readexactly(length))
                    if not answer:
                        return
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):  # it has asked enough, or is gone
            return
        finally:
            self._connections -= 1
            if writer is None:
                connection.close()
            else:
                writer.close()

    def _answer(self, place: Place, data: bytes) -> bytes:
        """Return the answer to a message, b"" for one that gets none."""
        try:
            question = dns.decode_question(data)
        except WireError:
            self._counts["unanswered"] += 1
            return b""
        code, addresses = question.code, list[bytes]()
        if code == dns.NOERROR:
            code, addresses = self._names.answer(question.name, question.kind, place.vpc, place.zone)
        self._counts[_CODES[code]] += 1
        return dns.encode_answer(question, code, addresses, TTL)

    def _take_news(self) -> None:
        for _ in range(BATCH):
            try:
                known = self._names.hear(zone_news.decode(self._news.recv(zone_news.LARGEST)))
            except BlockingIOError:
                return
            except WireError:
                self._counts["news refused"] += 1
                continue
            self._counts["news" if known else "news refused"] += 1

    def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer how many questions had which end, and the zones that are not in DNS by load balancer."""
        return {
            "counts": dict(self._counts),
            "withdrawn": self._names.withdrawn(),
            "faults": dict(self._loop.faults.counts),
        }


def _open(place: Place, stack: ExitStack) -> list[tuple[Place, socket.socket]]:
    """Open the sockets of a place, UDP and TCP at each of its addresses, for what comes by its device alone."""
    found = []
    with inside(Path(place.namespace)):
        for address in place.addresses:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                stack.callback(sock.close)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.device.encode() + b"\0")
                sock.bind((address, PORT))
                if kind == socket.SOCK_STREAM:
                    sock.listen()
                found.append((place, sock))
    return found


def main(argv: list[str]) -> int:
    """Answer until a signal ends it; return the exit code."""

    def work(loop: Loop, stack: ExitStack) -> None:
        resolver = Resolver(ResolverConfig.from_json(Path(argv[0]).read_text()), loop, stack)
        resolver.start()
        privileges.drop()
        LOG.info("the resolver is ready")
        loop.run()

    return run_logged("resolver", work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
