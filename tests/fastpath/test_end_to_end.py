"""A fast node between a client and a server, kernel stacks at both ends, a reflector as appliance; tcpdump and tshark
judge the ENI.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fastpath.fastpath_lab import ENI_DEVICE, SERVER, SERVER6, Lab
from tests.waiting import PATIENCE, wait_until, wait_until_quiet

pytestmark = pytest.mark.namespace
HERE = Path(__file__).parent
LISTEN = """
import socket, sys
with socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as one:
            while data := one.recv(1 << 16):
                one.sendall(data)
"""
TALK = """
import socket, sys
size = int(sys.argv[2])
sent = bytes(i * 7 % 251 for i in range(size))
with socket.create_connection((sys.argv[1], 80), timeout=60) as one:
    for start in range(0, size, 65536):
        part = sent[start:start + 65536]
        one.sendall(part)
        got = b""
        while len(got) < len(part):
            got += one.recv(len(part) - len(got))
        assert got == part
    one.shutdown(socket.SHUT_WR)
    assert one.recv(1) == b""
"""


class Running:
    """A lab that is up, its processes, and a line of questions to its node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._processes: list[subprocess.Popen[str]] = []

    def begin(self, cache: Path, compiled: Path) -> None:
        self.lab.up()
        python = sys.executable
        self.start("ap", python, str(HERE / "fastpath_reflector.py"), str(compiled))
        self.start("sv", python, "-c", LISTEN)
        self.node = self.start(
            "gw", python, str(HERE / "fastpath_node.py"), str(cache), *(["offload"] if self.lab.offload else [])
        )

    def start(self, role: str, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.lab.inside(role, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def ask(self, question: str) -> Any:
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.write(question + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())

    def talk(self, address: str, size: int) -> None:
        self.lab.run("cl", sys.executable, "-c", TALK, address, str(size))

    def received(self, role: str) -> tuple[int, int]:
        """Packets and bytes that have arrived at an end."""
        (link,) = json.loads(self.lab.run(role, "ip", "-j", "-s", "link", "show", "eth0"))
        return link["stats64"]["rx"]["packets"], link["stats64"]["rx"]["bytes"]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def running(usable: None, cache: Path, compiled: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(**options: Any) -> Running:
        one = Running(Lab("fp", **options))
        made.append(one)
        one.begin(cache, compiled)
        return one

    yield make
    for one in made:
        one.stop()
        one.lab.down()


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[Callable[[Lab], Callable[[], Path]]]:
    """Start tcpdump at the ENI; the callable it returns ends it and gives the file."""
    started: list[subprocess.Popen[bytes]] = []

    def start(lab: Lab) -> Callable[[], Path]:
        path = tmp_path / "eni.pcap"
        tcpdump = subprocess.Popen(
            lab.inside("gw", "tcpdump", "-Z", "root", "-U", "-i", ENI_DEVICE, "-w", str(path), "udp"),
            stderr=subprocess.PIPE,
        )
        started.append(tcpdump)
        assert tcpdump.stderr is not None
        while b"listening" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None

        def finish() -> Path:
            wait_until_quiet(path)
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait(PATIENCE)
            return path

        return finish

    yield start
    for one in started:
        one.kill()
        one.communicate()


def fields(path: Path, *names: str) -> set[tuple[str, ...]]:
    """Distinct values of fields as tshark reads them, checksums verified."""
    options = [word for name in names for word in ("-e", name)]
    verify = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=a", *verify, *options],
        capture_output=True,
        text=True,
        check=True,
    )
    return {tuple(line.split("\t")) for line in done.stdout.splitlines()}


def frames(path: Path) -> list[bytes]:
    """The frames of a classic pcap file in this machine's byte order."""
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        (size,) = struct.unpack_from("=I", data, at + 8)
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return found


@pytest.mark.contract("GV-01", "GV-02", "GV-03", "GV-05", "GV-06", "GV-08")
@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_a_connection_is_carried_and_every_packet_at_the_eni_is_as_the_contract_says(
    running: Callable[..., Running], capture: Callable[[Lab], Callable[[], Path]], address: str
) -> None:
    one = running()
    finish = capture(one.lab)
    one.talk(address, 200_000)
    path = finish()
    held = one.ask("stats")
    assert held["encapsulated"] == held["decapsulated"] > 100
    assert held["drops"] == {}
    assert held["read"] < 40
    assert held["lost"] == held["failed"] == 0
    outside = fields(path, "ip.src", "ip.dst", "udp.dstport", "geneve.version", "geneve.vni", "geneve.proto_type")
    proto = "0x0800" if address == SERVER else "0x86dd"
    v4 = {tuple(value.split(",")[0] for value in row) for row in outside}
    assert {row[:3] for row in v4} == {("10.9.0.1", "10.9.0.2", "6081"), ("10.9.0.2", "10.9.0.1", "6081")}
    assert {row[5] for row in v4} == {proto}
    assert {row[0].split(",")[0] for row in fields(path, "udp.checksum.status")} == {"1"}
    assert {row[0] for row in fields(path, "tcp.checksum.status")} == {"1"}
    heads = {
        tuple(value.split(",")[0] for value in row)
        for row in fields(path, "ip.ttl", "ip.id", "ip.dsfield", "ip.flags.df", "ip.checksum.status")
    }
    assert len(heads) == 1
    ttl, identification, field, fragment, status = heads.pop()
    assert (ttl, int(identification, 16), int(field, 16), fragment, status) == ("255", 0, 0, fragment, "1")
    assert fragment in ("0", "False")
    headers = {(frame[34:36], frame[42:82]) for frame in frames(path)}
    assert len(headers) == 1, "both directions have one source port and one GENEVE header"


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_super_packets_stay_whole_and_arrive_unharmed(running: Callable[..., Running], address: str) -> None:
    one = running(offload=True)
    one.talk(address, 3_000_000)
    for role in ("cl", "sv"):
        packets, size = one.received(role)
        assert size > 2_900_000
        assert size / packets > 3000, f"packets were cut before they came to {role}"
    held = one.ask("stats")
    assert held["failed"] == held["lost"] == 0
    assert held["drops"] == {}
    flows = one.ask("flows")
    packets, size = (sum(flow[i] for flow in flows) for i in (0, 1))
    assert size > 2 * 2_900_000
    assert size / packets > 3000, "packets were cut"


def test_a_ping_of_either_family_is_carried_after_its_first_packet(running: Callable[..., Running]) -> None:
    one = running()
    for address in (SERVER, SERVER6):
        assert "5 received" in one.lab.run("cl", "ping", "-c", "5", "-i", "0.05", address)
    held = one.ask("stats")
    assert (held["read"], held["encapsulated"], held["decapsulated"]) == (4, 18, 18)


def test_datagrams_that_miss_reach_python_once_and_in_order(running: Callable[..., Running]) -> None:
    one = running()
    receiver = one.start(
        "sv",
        sys.executable,
        "-c",
        (
            "import socket\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 9)); s.settimeout(60)\n"
            "print('ready', flush=True)\n"
            "for _ in range(200): print(int.from_bytes(s.recv(9), 'big'), flush=True)\n"
            "s.settimeout(0.5)\n"
            "try: print('once more', s.recv(9))\n"
            "except TimeoutError: pass\n"
        ),
    )
    sender = (
        "import socket, time\n"
        "socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]\n"
        f"for i, s in enumerate(socks): s.sendto(i.to_bytes(4, 'big'), ('{SERVER}', 9))\n"
    )
    one.lab.run("cl", sys.executable, "-c", sender)
    out, _ = receiver.communicate()
    assert out.splitlines() == [str(number) for number in range(200)]
    held = one.ask("stats")
    assert (held["read"], held["lost"], held["entries"]) == (400, 0, 200)


def test_a_closed_connection_leaves_the_fast_path(running: Callable[..., Running]) -> None:
    one = running()
    one.talk(SERVER, 1000)
    wait_until(lambda: one.ask("stats")["entries"] == 0)
    assert [flow[0] > 0 for flow in one.ask("flows")] == [True]


def test_nothing_is_left_of_a_node_that_is_killed(running: Callable[..., Running]) -> None:
    one = running()
    one.talk(SERVER, 1000)
    held = ids_of(one.node.pid)
    assert {kind: len(held[kind]) for kind in held} == {"prog": 3, "link": 2, "map": 6}
    assert all(held[kind] <= ids_here(kind) for kind in held)
    assert len(interfaces(one)) == 5
    one.node.kill()
    one.node.wait()
    wait_until(lambda: not any(held[kind] & ids_here(kind) for kind in held))
    assert interfaces(one) == {"lo", "vpce", "eni"}


def ids_of(pid: int) -> dict[str, set[int]]:
    """The programs, links and maps that a process holds."""
    found: dict[str, set[int]] = {"prog": set(), "link": set(), "map": set()}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        words = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        kind = "link" if "link_id" in words else "prog" if "prog_id" in words else "map"
        if f"{kind}_id" in words:
            found[kind].add(int(words[f"{kind}_id"]))
    return found


def ids_here(kind: str) -> set[int]:
    done = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, text=True, check=True)
    return {item["id"] for item in json.loads(done.stdout)}


def interfaces(one: Running) -> set[str]:
    return {link["ifname"] for link in json.loads(one.lab.run("gw", "ip", "-j", "link"))}
