"""The node of an application load balancer: its keeper and its HAProxy as a lab starts them, and HTTP targets, all on
127.0.0.0/8 of the test's own network namespace. Node 127.0.1.1, target t1 127.0.2.1, t2 127.0.2.2, ...
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gwlbemu.core.application.settings import Balancer, Group, Listener, Settings
from gwlbemu.core.application.targets import server_name
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.health import TRAFFIC_PORT, HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.lab import engines
from gwlbemu.ports.control import parse_request
from gwlbemu.programs.application.config import (
    ENGINE_CONFIGURATION,
    ENGINE_SOCKET,
    NodeConfig,
    balancer_to_json,
)
from tests.programs.application import http_lab
from tests.programs.application.http_lab import NODE, Seen, forward, made
from tests.waiting import PATIENCE, wait_until

PORT, TARGET_PORT = 80, 8080
HEALTH = "/health"
FORCED_MAINTENANCE = 1  # HAProxy's SRV_ADMF_FMAINT


def address_of(number: int) -> str:
    return f"127.0.2.{number}"


def target(number: int, zone: str = "a") -> Target:
    return Target(f"t{number}", socket.inet_aton(address_of(number)), zone, TARGET_PORT)


def group(name: str, *targets: Target, protocol_version: str = "HTTP1", **attributes: str) -> Group:
    """A group whose attributes are AWS's defaults but for these; `__` stands for a dot."""
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    texts = ApplicationAttributes.from_text(target_group=given).as_text("target-group")
    check = HealthCheck("HTTP", TRAFFIC_PORT, HEALTH, 0.5, 0.4, 2, 2, "200")
    return Group(name, "HTTP", protocol_version, "instance", texts, check, targets)


def listener(*groups: str, rules: tuple[Any, ...] = (), port: int = PORT) -> Listener:
    return Listener("HTTP", port, rules, (forward(*groups),), {})


def balancer(listeners: tuple[Listener, ...], *groups: Group, **attributes: str) -> Balancer:
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    texts = ApplicationAttributes.from_text(load_balancer=given)
    return Balancer(texts.as_text("load-balancer"), listeners, groups)


def plain(*targets: Target, **attributes: str) -> Balancer:
    """One listener on port 80, one group."""
    return balancer((listener("web"),), group("web", *targets, **attributes))


class Answering:
    """What a target answers: its name; `/health` as long as it is healthy; it may be made to wait."""

    def __init__(self, name: str) -> None:
        self.name, self.is_healthy = name, True
        self.before: Callable[[Seen], None] = lambda seen: None

    def __call__(self, seen: Seen) -> bytes | None:
        if seen.url == HEALTH:
            return made(200 if self.is_healthy else 500, b"")
        self.before(seen)
        return made(200, self.name.encode())


class Bench:
    """A folder with a node's keeper and HAProxy, and targets by number."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.answers: dict[int, Answering] = {}
        self.targets: dict[int, http_lab.Target] = {}
        self.engine: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def serve(self, *numbers: int) -> None:
        """Let targets run."""
        for number in numbers:
            self.answers.setdefault(number, Answering(f"t{number}"))
            self.targets[number] = http_lab.Target(f"t{number}", address_of(number), TARGET_PORT, self.answers[number])
            self.stack.callback(self.kill, number)

    def kill(self, number: int) -> None:
        """Let a target be dead: connections to it are refused, those that there are end."""
        if number in self.targets:
            self.targets.pop(number).close()

    def start(self, told: Balancer, **emulation: Any) -> None:
        """Start HAProxy and the keeper, and wait until the one does what the other says."""
        fast = {"initial_health_check_interval_seconds": 0.05} | emulation
        settings = Settings(
            "web", "a", ("a", "b"), socket.inet_aton(NODE), dns_name="web.elb.example", cookie_secret=b"s" * 32,
            emulation=Emulation(**fast),
        )  # fmt: skip
        config = NodeConfig("web-node-a", settings, told, str(self.folder / "control"))
        (self.folder / "config.json").write_text(config.to_json())
        self.start_engine()
        self.start_keeper()

    def start_keeper(self) -> None:
        """Start the keeper with the configuration that there is, and wait until HAProxy does what it says."""
        (self.folder / "control").unlink(missing_ok=True)
        with (self.folder / "keeper.log").open("ab") as log:
            argv = [sys.executable, "-m", "gwlbemu.programs.application.keeper", str(self.folder / "config.json")]
            self._keeper = subprocess.Popen(argv, stderr=log)
        self.stack.callback(self.stop)
        wait_until(self._is_up, self.log)
        self.wait_for_engine()

    def start_engine(self) -> None:
        """Start HAProxy as a lab does (`lab/engines`)."""
        if not (self.folder / ENGINE_CONFIGURATION).exists():
            (self.folder / ENGINE_CONFIGURATION).write_text(engines._EMPTY)
        (self.folder / ENGINE_SOCKET).unlink(missing_ok=True)
        argv = [engines.haproxy().path, "-W", "-S", f"unix@{ENGINE_SOCKET},mode,600,level,admin"]
        with (self.folder / "engine.log").open("ab") as log:
            self.engine = subprocess.Popen(
                [*argv, "-f", ENGINE_CONFIGURATION], cwd=self.folder, stdout=log, stderr=log, process_group=0
            )
        self.stack.callback(self.kill_engine)

    def kill_engine(self) -> None:
        """Kill HAProxy with all its workers."""
        if self.engine is not None:
            os.killpg(self.engine.pid, signal.SIGKILL)
            self.engine.wait(PATIENCE)
            self.engine = None

    def kill_keeper(self) -> None:
        """Kill the keeper."""
        assert self._keeper is not None
        self._keeper.kill()
        self._keeper.wait(PATIENCE)
        self._keeper = None

    def stop(self) -> None:
        """End the keeper."""
        if self._keeper is not None:
            self._keeper.terminate()
            assert self._keeper.wait(PATIENCE) == 0, self.log()
            self._keeper = None

    def log(self) -> str:
        """What both have printed."""
        return "".join((self.folder / name).read_text() for name in ("keeper.log", "engine.log"))

    def _is_up(self) -> bool:
        assert self._keeper is not None
        assert self._keeper.poll() is None, self.log()
        return (self.folder / "control").exists()

    def wait_for_engine(self) -> None:
        """Wait until the engine runs as it is wanted."""
        wait_until(lambda: self.ask("status")["proxy"] == "running", self.log)

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the keeper; AssertionError with its words when it refuses."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.folder / "control"))
            sock.sendall(json.dumps({"verb": verb} | arguments).encode() + b"\n")
            with sock.makefile("rb") as file:
                answer = parse_request(file.readline())
        assert answer.pop("ok"), answer
        return answer

    def configure(self, told: Balancer) -> None:
        self.ask("configure", balancer=balancer_to_json(told))

    def metrics(self) -> dict[str, float]:
        return dict(self.ask("metrics")["metrics"])

    def targets_told(self) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in self.ask("targets")["targets"]}

    def states(self) -> dict[str, str]:
        return {name: each["state"] for name, each in self.targets_told().items()}

    def wait_for_states(self, **states: str) -> None:
        wait_until(lambda: self.states() == states, lambda: f"{states}, there are {self.states()}")

    def servers(self) -> dict[str, tuple[bool, int]]:
        """Whether each target takes requests, as HAProxy has it, and its weight."""
        names = {server_name(b"s" * 32, "web", target(number)): f"t{number}" for number in range(1, 9)}
        found = {}
        for line in self.command("@1 show servers state").splitlines()[2:]:
            words = line.split()
            if len(words) > 8:  # srv_name, srv_admin_state, srv_uweight
                found[names.get(words[3], words[3])] = not int(words[6]) & FORCED_MAINTENANCE, int(words[7])
        return found

    def taking(self) -> set[str]:
        """The targets that take requests, as HAProxy has it."""
        return {name for name, (takes, _) in self.servers().items() if takes}

    def command(self, said: str) -> str:
        """What HAProxy says to a command; while its master is being replaced nobody says anything."""
        return wait_until(lambda: self._said(said), self.log)

    def _said(self, said: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection, suppress(ConnectionError, FileNotFoundError):
            connection.settimeout(PATIENCE)
            connection.connect(str(self.folder / ENGINE_SOCKET))
            connection.sendall(said.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65536):
                answer += data
            return answer.decode()
        return ""


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A bench whose keeper has not been started."""
    with ExitStack() as stack:
        yield Bench(stack, folder)
