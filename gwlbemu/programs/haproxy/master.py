"""Asking a running HAProxy, by the socket of its master, and reading what it answers.

A new text means a new worker; the former ones stay with the connections that they have until those have ended.
Management guide of HAProxy, "Master CLI", "show stat", "show sess".
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ANSWER_SECONDS = 5.0
_MOST_BYTES = 64 << 20  # of an answer
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BEGIN = re.compile(r"^(0x[0-9a-f]+): \[.*\] id=(\d+) proto=tcpv[46] source=(\S+):(\d+)", re.MULTILINE)
_FRONTEND = re.compile(r"frontend=(\S+) .*?addr=(\S+):(\d+)")
_SERVER = re.compile(r"server=(\S+) .*?addr=(\S+):(\d+)")
_VARIABLE = re.compile(r"^proc\.(\S+): type=sint value=<(-?\d+)>", re.MULTILINE)
_TOTAL, _EXPIRY, _AGE = re.compile(r" total=(\d+)\)"), re.compile(r" rex=(\w+)"), re.compile(r" age=(\w+)\)")


class Workers(NamedTuple):
    """The workers' pids: the newest, 0 where there is none, and the former ones; how many texts were refused."""

    newest: int
    former: tuple[int, ...]
    refused: int


class Session(NamedTuple):
    """A connection to a frontend and on to a server; `server` is "" as long as there is none."""

    worker: int
    pointer: str  # by which the worker knows it
    frontend: str
    server: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    target_address: str
    target_port: int
    bytes: int  # both ways
    age_seconds: int
    expires_in_seconds: int
    number: int  # of the worker's, ascending by their beginnings


class Counted(NamedTuple):
    """What one worker has counted at a frontend (`server` is ""), or with a server of a backend."""

    proxy: str
    server: str
    now: int  # connections of clients; with a server what it does now: connections (TCP) or requests (HTTP)
    total: int  # connections of clients; with a server what it was given: connections or requests
    bytes: int  # both ways
    failed_handshakes: int
    connections: int  # to the server, now: in use, and idle ones that may be used again
    connects: int  # connections made to the server
    failed_connects: int
    responses: tuple[int, ...]  # HTTP: 1xx to 5xx
    response_seconds: float  # mean of the last 1024 requests, from the server's connection to its header

    def past(self) -> Counted:
        """Return the same of a worker that is no more."""
        return self._replace(now=0, connections=0)

    def plus(self, other: Counted) -> Counted:
        """Return this, of the past, with what another worker that is no more counted at the same place."""
        return self._replace(
            total=self.total + other.total,
            bytes=self.bytes + other.bytes,
            failed_handshakes=self.failed_handshakes + other.failed_handshakes,
            connects=self.connects + other.connects,
            failed_connects=self.failed_connects + other.failed_connects,
            responses=tuple(map(sum, zip(self.responses, other.responses, strict=True))),
        )


async def ask(path: Path, request: str) -> str:
    """Send a line of commands to the master and return all that is answered; "" where it is cut off by a new text.

    Raises OSError where nobody is there, or no answer comes within ANSWER_SECONDS.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(f"{request}\n".encode())
            writer.write_eof()
            answer = b""
            while data := await reader.read(65536):
                answer += data
                if len(answer) > _MOST_BYTES:
                    break
            return answer.decode(errors="replace")
        finally:
            writer.close()


def workers(answer: str) -> Workers:
    """Read the answer to `show proc`."""
    newest, former, refused, part = 0, [], 0, ""
    for line in answer.splitlines():
        words = line.split()
        if line.startswith("# "):
            part = line[2:]
        elif len(words) > 1 and words[1] == "master":
            failed = re.search(r"\[failed: (\d+)\]", line)
            refused = int(failed[1]) if failed else 0
        elif len(words) > 1 and words[1] == "worker" and part == "workers":
            newest = int(words[0])
        elif len(words) > 1 and words[1] == "worker":
            former.append(int(words[0]))
    return Workers(newest, tuple(former), refused)


def description(answer: str) -> str:
    """Read the description out of the answer to `show info`, "" where there is none."""
    found = re.search(r"^description: (\S+)", answer, re.MULTILINE)
    return found[1] if found else ""


def counted(answer: str) -> Iterator[Counted]:
    """Read the answer to `show stat`: each frontend and each server."""
    header, _, lines = answer.strip().partition("\n")
    for row in csv.DictReader(io.StringIO(f"{header.removeprefix('# ')}\n{lines}")):
        if row["svname"] == "BACKEND":
            continue

        def number(key: str, row: dict[str, str] = row) -> int:
            return int(row.get(key) or 0)

        yield Counted(
            proxy=row["pxname"],
            server="" if row["svname"] == "FRONTEND" else row["svname"],
            now=number("scur"),
            total=number("stot"),
            bytes=number("bin") + number("bout"),
            failed_handshakes=number("ssl_failed_handshake"),
            connections=number("used_conn_cur") + number("idle_conn_cur") + number("safe_conn_cur"),
            connects=number("connect"),
            failed_connects=number("econ"),
            responses=(
                number("hrsp_1xx"), number("hrsp_2xx"), number("hrsp_3xx"), number("hrsp_4xx"), number("hrsp_5xx")
            ),
            response_seconds=number("rtime") / 1000,
        )  # fmt: skip


def variables(answer: str) -> dict[str, int]:
    """Read the answers to several `get var proc.NAME`: the numbers by name."""
    return {name: int(number) for name, number in _VARIABLE.findall(answer)}


def sessions(worker: int, answer: str) -> Iterator[Session]:
    """Read the answer to `show sess all`, but for what are no connections of clients."""
    begins = list(_BEGIN.finditer(answer))
    for number, begin in enumerate(begins):
        end = begins[number + 1].start() if number + 1 < len(begins) else len(answer)
        block = answer[begin.start() : end]
        frontend, server = _FRONTEND.search(block), _SERVER.search(block)
        if frontend is None:
            continue
        waits = [_seconds(each) for each in _EXPIRY.findall(block)]
        yield Session(
            worker=worker,
            pointer=begin[1],
            frontend=frontend[1],
            server="" if server is None else server[1],
            source=begin[3],
            source_port=int(begin[4]),
            destination=frontend[2],
            destination_port=int(frontend[3]),
            target_address="" if server is None else server[2],
            target_port=0 if server is None else int(server[3]),
            bytes=sum(map(int, _TOTAL.findall(block))),
            age_seconds=next((_seconds(each) for each in _AGE.findall(block)), 0),
            expires_in_seconds=min(waits, default=0),
            number=int(begin[2]),
        )


def _seconds(text: str) -> int:
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))
