"""A client, the node of a network load balancer with its keeper, and two targets, with nothing but wires in between.

    nlbclient 10.0.9.2 --eni-- nlbnode 10.0.9.10 --bridge 10.0.1.1-- nlbt1 10.0.1.11, nlbt2 10.0.1.12, ...

The targets' way back to the client leads by the node. Sockets of all of them live in the test's own process.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.network_attributes import NetworkAttributes, group_defaults
from gwlbemu.core.elb.target import Target
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener
from gwlbemu.net import conntrack
from gwlbemu.net.conntrack import Entry
from gwlbemu.net.inside import inside
from gwlbemu.ports.control import parse_request
from gwlbemu.programs import start
from gwlbemu.programs.network.config import NodeConfig, balancer_to_json
from tests.waiting import PATIENCE, wait_until

CLIENT, NODE = "10.0.9.2", "10.0.9.10"
NETNS = Path("/run/netns")
PORT = 80


def address_of(number: int) -> str:
    """The address of target t1, t2, ..."""
    return f"10.0.1.{10 + number}"


def target(number: int, port: int = PORT, zone: str = "a") -> Target:
    return Target(f"t{number}", socket.inet_aton(address_of(number)), zone, port)


def group(
    name: str, *targets: Target, protocol: str = "TCP", target_type: str = "instance", **attributes: str
) -> Group:
    """A group whose attributes are AWS's defaults but for these; `__` stands for a dot."""
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    texts = NetworkAttributes.from_text(target_group=group_defaults(protocol, target_type) | given)
    check = HealthCheck(port=PORT, interval_seconds=5, timeout_seconds=2, healthy_threshold_count=2)
    return Group(name, protocol, target_type, texts.as_text("target-group"), check, targets)


def listener(
    *groups: tuple[str, int], protocol: str = "TCP", port: int = PORT, sticky: bool = False, idle: int = 350
) -> Listener:
    attributes = {"tcp.idle_timeout.seconds": str(idle)}
    return Listener(protocol, port, Forward(groups, sticky), attributes)


def balancer(listeners: tuple[Listener, ...], *groups: Group, cross_zone: bool = False) -> Balancer:
    texts = NetworkAttributes.from_text(load_balancer={"load_balancing.cross_zone.enabled": str(cross_zone).lower()})
    return Balancer(texts.as_text("load-balancer"), listeners, groups)


def plain(*targets: Target, **attributes: str) -> Balancer:
    """One TCP listener on port 80, one group."""
    return balancer((listener(("web", 1)),), group("web", *targets, **attributes))


class Bench:
    """The namespaces, and a keeper's process with its control socket."""

    def __init__(self, stack: ExitStack, folder: Path, targets: int) -> None:
        self.stack, self.folder = stack, folder
        self.names = ["nlbclient", "nlbnode", *(f"nlbt{number}" for number in range(1, targets + 1))]
        self._process: subprocess.Popen[bytes] | None = None
        for name in self.names:
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "delete", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        self.ip("nlbclient", "link add eth0 type veth peer name eni netns nlbnode")
        self.ip("nlbclient", f"addr add {CLIENT}/24 dev eth0", "link set eth0 up")
        self.ip("nlbnode", f"addr add {NODE}/24 dev eni", "link set eni up", "link add fabric type bridge")
        self.ip("nlbnode", "addr add 10.0.1.1/24 dev fabric", "link set fabric up")
        for number in range(1, targets + 1):
            name = f"nlbt{number}"
            self.ip(name, f"link add eth0 type veth peer name t{number} netns nlbnode")
            self.ip("nlbnode", f"link set t{number} master fabric up")
            self.ip(name, f"addr add {address_of(number)}/24 dev eth0", "link set eth0 up")
            self.ip(name, "route add default via 10.0.1.1")
        _run("ip", "netns", "exec", "nlbnode", "sysctl", "-qw", "net.ipv4.ip_forward=1")

    @staticmethod
    def ip(name: str, *commands: str) -> None:
        for command in commands:
            _run("ip", "-n", name, *command.split())

    def start(self, told: Balancer, user: int = 0, **emulation: Any) -> None:
        """Start the keeper, which becomes `user` if that is not root, and wait until it answers."""
        config = NodeConfig(
            "web-node-a", "web", "a", ("a", "b"), 7, NODE, "", balancer_to_json(told),
            {"initial_health_check_interval_seconds": 0.05} | emulation, str(self.folder / "control"),
        )  # fmt: skip
        path = self.folder / "config.json"
        path.write_text(config.to_json())
        os.chown(self.folder, user, user)
        with inside(NETNS / "nlbnode"), open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, start.__file__, f"--user={user}", "", "gwlbemu.programs.network.keeper", str(path)]
                if user
                else [sys.executable, "-m", "gwlbemu.programs.network.keeper", str(path)],
                stderr=log,
            )
        self.stack.callback(self.stop)
        process = self._process
        wait_until(lambda: (self.folder / "control").exists() or process.poll() is not None)
        assert process.poll() is None, (self.folder / "log").read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(PATIENCE) == 0, (self.folder / "log").read_text()
            self._process = None

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

    def states(self) -> dict[str, str]:
        return {each["id"]: each["state"] for each in self.ask("targets")["targets"]}

    def wait_for_states(self, **states: str) -> None:
        wait_until(lambda: self.states() == states, lambda: f"{states}, there are {self.states()}")

    # ---- sockets ----
    def inside(self, name: str) -> Any:
        return inside(NETNS / name)

    def open_socket(self, name: str, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
        """A socket in a namespace, closed with the bench."""
        with self.inside(name):
            sock = self.stack.enter_context(socket.socket(socket.AF_INET, kind, protocol))
        sock.settimeout(PATIENCE)
        return sock

    def serve(self, number: int, port: int = PORT) -> socket.socket:
        """A target's listening socket: connections to it succeed, whoever accepts them."""
        sock = self.open_socket(f"nlbt{number}")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))
        sock.listen(4096)
        return sock

    def accept(self, server: socket.socket, count: int, peer: str = CLIENT) -> dict[int, socket.socket]:
        """Accept connections until there are `count` from `peer`, by their source ports; others are probes."""
        found: dict[int, socket.socket] = {}
        while len(found) < count:
            connection, address = server.accept()
            self.stack.enter_context(connection)
            connection.settimeout(PATIENCE)
            if address[0] == peer:
                found[address[1]] = connection
        return found

    def silence(self, *numbers: int) -> None:
        """Let targets get nothing any more, so that connections to them stay half open."""
        for number in numbers:
            self.ip(f"nlbt{number}", "link set eth0 down")
            self.ip("nlbnode", f"neigh replace {address_of(number)} lladdr 02:00:00:00:00:01 dev fabric")

    def connect(self, port: int = PORT) -> socket.socket:
        """A client's connection to the node."""
        sock = self.open_socket("nlbclient")
        sock.connect((NODE, port))
        return sock

    def raw(self, flags: int, source_port: int, port: int = PORT, sequence: int = 0, source: str = CLIENT) -> bytes:
        """An IPv4 packet with a TCP header of the client, with checksums."""
        addresses = socket.inet_aton(source) + socket.inet_aton(NODE)
        tcp = struct.pack(">HHIIBBHHH", source_port, port, sequence, 0x01020304, 0x50, flags, 65535, 0, 0)
        tcp = tcp[:16] + struct.pack(">H", _checksum(addresses + struct.pack(">HH", 6, len(tcp)) + tcp)) + tcp[18:]
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses
        return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + tcp

    def send_raw(self, packets: list[bytes]) -> None:
        """Send packets of the client, whatever its own kernel thinks of them."""
        sock = self.open_socket("nlbclient", socket.SOCK_RAW, socket.IPPROTO_RAW)
        for packet in packets:
            sock.sendto(packet, (NODE, 0))

    def entries(self) -> list[Entry]:
        """The node's tracked connections through the load balancer."""
        with self.inside("nlbnode"):
            return [each for some in conntrack.entries() for each in some if each.mark]

    def nft(self, *words: str) -> str:
        return _run("ip", "netns", "exec", "nlbnode", "nft", *words)


@contextmanager
def bench(folder: Path, targets: int = 2) -> Iterator[Bench]:
    """A bench whose keeper has not been started."""
    NETNS.mkdir(exist_ok=True)
    with ExitStack() as stack:
        yield Bench(stack, folder, targets)


def is_reset(sock: socket.socket) -> bool:
    """Whether a packet on this connection is answered by a reset; TimeoutError when by nothing."""
    try:
        sock.send(b"x")
        sock.recv(1)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
