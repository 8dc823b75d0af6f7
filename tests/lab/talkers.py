"""Plain programs that tests run inside instances: clients and servers that know nothing of gwlbemu."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gwlbemu.public import Client, Lab
from tests.waiting import PATIENCE, wait_until

_TALK = """
import json, socket, sys, threading, time
address, count = sys.argv[1], int(sys.argv[2])
state = {}
def talk(connection):
    port = connection.getsockname()[1]
    while True:
        try:
            connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            if not connection.recv(65536):
                raise ConnectionError
        except OSError as error:
            state[port] = (state[port][0], type(error).__name__)
            return
        state[port] = (state[port][0] + 1, "open")
        time.sleep(0.06)
connections = [socket.create_connection((address, 80), 30) for _ in range(count)]
for connection in connections:
    connection.settimeout(300)
    state[connection.getsockname()[1]] = (0, "open")
    threading.Thread(target=talk, args=(connection,), daemon=True).start()
while True:
    print(json.dumps(state), flush=True)
    time.sleep(0.05)
"""
_IDLE = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 80), 30)
print(connection.getsockname()[1], flush=True)
time.sleep(600)
"""
_IDLE_UNTIL_TOLD = """
import pathlib, socket, sys, time
connection = socket.create_connection((sys.argv[1], 80), 30)
connection.settimeout(30)
print(connection.getsockname()[1], flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
try:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print("answered" if connection.recv(65536) else "closed")
except OSError as error:
    print(type(error).__name__)
"""
_ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 7))
print("ready", flush=True)
while True:
    data, peer = sock.recvfrom(65535)
    sock.sendto(data, peer)
"""
_ASK = """
import socket, sys
address, size, ports = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for port in map(int, ports):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", port))
    sock.settimeout(10)
    sock.connect((address, 7))
    sock.send(b"x" * size)
    try:
        print(port, len(sock.recv(65535)), flush=True)
    except OSError as error:
        print(port, type(error).__name__, flush=True)
"""


class Talk:
    """TCP connections on which a client asks again and again: per source port, how many answers and how it stands."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def state(self) -> dict[int, tuple[int, str]]:
        lines = self._client.output().splitlines()
        return {int(port): (count, how) for port, (count, how) in json.loads(lines[-1]).items()} if lines else {}


def until_unhealthy(lab: Lab, target: str) -> None:
    """Let time run fast until the target's health checks have failed often enough for every node that knows it."""

    def failed() -> bool:
        lab.advance(1)
        return all(each.state == "unhealthy" for each in lab.targets() if each.id == target)

    lab.wait_until(failed, timeout=PATIENCE, what=f"{target} to be unhealthy")


@contextmanager
def talking(lab: Lab, count: int, address: str = "203.0.113.10") -> Iterator[Talk]:
    """Keep `count` connections from the client busy; all have had answers when the block begins."""
    client = lab.spawn("client", [sys.executable, "-c", _TALK, address, str(count)])
    talk = Talk(client)
    try:
        lab.wait_until(
            lambda: len(talk.state()) == count and all(answers > 1 for answers, _ in talk.state().values()),
            timeout=PATIENCE,
            what="answers",
        )
        yield talk
    finally:
        client.kill()


@contextmanager
def idle(lab: Lab, address: str = "203.0.113.10") -> Iterator[int]:
    """Keep one TCP connection open and silent; yields its source port."""
    client = lab.spawn("client", [sys.executable, "-c", _IDLE, address])
    try:
        yield int(wait_until(lambda: client.output().strip(), what="a connection"))
    finally:
        client.kill()


@contextmanager
def idle_until_told(lab: Lab, file: str, address: str = "203.0.113.10") -> Iterator[Client]:
    """A connection that is silent until `file` exists, then asks once; its output ends in what came of it."""
    client = lab.spawn("client", [sys.executable, "-c", _IDLE_UNTIL_TOLD, address, file])
    try:
        wait_until(client.output, what="a connection")
        yield client
    finally:
        client.kill()


@contextmanager
def echoing(lab: Lab, server: str) -> Iterator[None]:
    """A UDP echo server on port 7 of an instance."""
    client = lab.spawn(server, [sys.executable, "-c", _ECHO])
    try:
        wait_until(client.output, what="the echo server")
        yield
    finally:
        client.kill()


def ask(lab: Lab, ports: Sequence[int], *, size: int = 10, address: str = "203.0.113.10") -> dict[int, str]:
    """A datagram of `size` bytes to the echo server from each source port: its answer's size, or an error's name."""
    words = [sys.executable, "-c", _ASK, address, str(size), *map(str, ports)]
    out = lab.exec("client", words, timeout=2 * PATIENCE).stdout
    return {int(port): answer for port, answer in (line.split() for line in out.splitlines())}
