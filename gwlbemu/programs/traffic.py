"""`python -m gwlbemu.programs.traffic ADDRESS`: live TCP connections that a drill watches.

Every connection asks a web server for numbered records at a steady pace, whether or not the last one has been answered,
so that there is always something on its way in both directions; a few may be unanswered, so that a machine that cannot
keep up is not buried. One JSON line says how every connection stands, a few times a second and at the end. SIGUSR1:
forget the longest gap so far. SIGTERM: print the last line and leave.
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

TELL_SECONDS = 0.2
CONNECT_SECONDS = 10.0  # TCP sends its SYN again after 1, 3 and 7 seconds
MOST_UNANSWERED = 5
MOST_UNSENT = 1 << 16
HEADER_END = b"\r\n\r\n"


@dataclass(slots=True)
class ConnectionState:
    """How one connection stands. Instants are seconds of the kernel's monotonic clock.

    `end`: connecting, open, reset (by a RST), closed (by a FIN), failed (never connected), garbled (a wrong answer).
    """

    port: int
    end: str = "connecting"
    records: int = 0
    bytes: int = 0
    last_at: float = 0.0  # when the newest data arrived
    gap_from: float = 0.0  # the longest time without data
    gap_to: float = 0.0
    end_at: float = 0.0
    told_at: float = 0.0  # when it stood so: what has arrived later is not in it


def parse_states(line: str) -> list[ConnectionState]:
    """Read one line of the program's output."""
    return [ConnectionState(**each) for each in json.loads(line)]


class Connection:
    """One connection: `ask` requests the next record, `exchange` sends and receives."""

    def __init__(self, address: str, port: int, now: float) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.connect_ex((address, port))
        self.state = ConnectionState(self.socket.getsockname()[1], last_at=now)
        self._asked = 0
        self._unsent = b""
        self._unread = b""

    @property
    def over(self) -> bool:
        """Whether it has ended, or never began."""
        return self.state.end not in ("connecting", "open")

    def ask(self) -> None:
        """Ask for the next record, unless too many are waiting for an answer."""
        if self._asked - self.state.records < MOST_UNANSWERED and len(self._unsent) < MOST_UNSENT:
            self._unsent += b"GET /record/%d HTTP/1.1\r\nHost: drill\r\n\r\n" % self._asked
            self._asked += 1

    def exchange(self, now: float) -> None:
        """Send and read what can be sent and read."""
        try:
            if self.state.end == "connecting" and not self._connected(now):
                return
            if self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            self._read(now)
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            self._over("reset", now)
        except OSError:
            self._over("failed" if not self.state.records else "closed", now)
        except ValueError:
            self._over("garbled", now)

    def _connected(self, now: float) -> bool:
        if number := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, "connect")
        try:
            self.socket.getpeername()
        except OSError:
            if now - self.state.last_at > CONNECT_SECONDS:
                self._over("failed", now)
            return False
        self.state.end = "open"
        return True

    def _read(self, now: float) -> None:
        while True:
            data = self.socket.recv(65536)
            if not data:
                return self._over("closed", now)
            self._note(now, len(data))
            self._unread += data
            while self._take_record():
                pass

    def _note(self, now: float, size: int) -> None:
        state = self.state
        if state.bytes and now - state.last_at > state.gap_to - state.gap_from:
            state.gap_from, state.gap_to = state.last_at, now
        state.last_at = now
        state.bytes += size

    def _take_record(self) -> bool:
        """Take one whole answer; ValueError when it is not HTTP, or says that it answers another request."""
        head, found, rest = self._unread.partition(HEADER_END)
        if not found:
            return False
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"none"))
        if len(rest) < length:
            return False
        if b"request: " in rest[:length] and b"/record/%d " % self.state.records not in rest[:length]:
            raise ValueError("an answer to another request")
        self._unread = rest[length:]
        self.state.records += 1
        return True

    def _over(self, end: str, now: float) -> None:
        self.state.end, self.state.end_at = end, now
        self.socket.close()


class Traffic:
    """All connections of the program."""

    def __init__(self, address: str, port: int, flows: int, pace: float, records: int) -> None:
        now = time.monotonic()
        self._now = now
        self._connections = [Connection(address, port, now) for _ in range(flows)]
        self._pace, self._records = pace, records
        self._leaving = self._forget = False

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: print the last line and end."""
        self._leaving = True

    def forget(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: forget each connection's longest gap so far."""
        self._forget = True

    def run(self) -> None:
        """Ask and listen until told to leave, or until every connection is over or has its records."""
        ask_at = tell_at = time.monotonic()
        while not self._leaving and not all(map(self._done, self._connections)):
            now = self._now = time.monotonic()
            if self._forget:
                self._forget = False
                for connection in self._connections:
                    connection.state.gap_from = connection.state.gap_to = 0.0
            if now >= ask_at:
                ask_at = max(ask_at + self._pace, now)
                for connection in self._connections:
                    connection.ask()
            for connection in self._connections:
                if not connection.over:
                    connection.exchange(now)
            if now >= tell_at:
                tell_at = now + TELL_SECONDS
                self.tell()
            self._sleep(min(ask_at, tell_at) - time.monotonic())
        self.tell()

    def tell(self) -> None:
        """Print the state of every connection, as one line of JSON."""
        for each in self._connections:
            each.state.told_at = self._now
        line = [{name: getattr(each.state, name) for name in ConnectionState.__slots__} for each in self._connections]
        print(json.dumps(line), flush=True)

    def _done(self, connection: Connection) -> bool:
        return connection.over or 0 < self._records <= connection.state.records

    def _sleep(self, seconds: float) -> None:
        """Until something arrives, at most `seconds`."""
        with selectors.DefaultSelector() as selector:
            for connection in self._connections:
                if not connection.over:
                    selector.register(connection.socket, selectors.EVENT_READ)
            selector.select(max(seconds, 0.001))


def main(arguments: Sequence[str]) -> int:
    """Run until a signal, or until every connection is over; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gwlbemu.programs.traffic", description="Live TCP connections.")
    parser.add_argument("address", help="of the web server")
    parser.add_argument("--port", type=int, default=80, help="(default: 80)")
    parser.add_argument("--flows", type=int, default=1, help="how many connections (default: 1)")
    parser.add_argument("--pace", type=float, default=0.1, help="seconds from one record to the next (default: 0.1)")
    parser.add_argument(
        "--records", type=int, default=0, help="leave when each connection has as many (default: never)"
    )
    options = parser.parse_args(arguments)
    traffic = Traffic(options.address, options.port, options.flows, options.pace, options.records)
    signal.signal(signal.SIGTERM, traffic.leave)
    signal.signal(signal.SIGUSR1, traffic.forget)
    traffic.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
