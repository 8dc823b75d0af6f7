"""Each appliance as a process in a namespace of its own, spoken to with ordinary kernel sockets and curl."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

from tests.appliances.appliance_helpers import APPLIANCE, CLIENT, GOLDEN_HEADER, NODE, SERVER
from tests.waiting import PATIENCE

HERE = Path(__file__).parents[2]
NAMESPACE = f"test-appliance-{os.getpid()}"
HEADER = GOLDEN_HEADER
SYN = IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="S", seq=100)
RULES = """
rules:
  - {name: web, action: allow, protocol: tcp, ports: 80}
  - {name: no-ssh, action: reject, protocol: tcp, ports: 22}
"""
Start = Callable[..., "Appliance"]


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def wire() -> Iterator[None]:
    """Two ends of a cable that carries real checksums: `node` here, `eth0` in a namespace."""
    run("ip", "netns", "add", NAMESPACE)
    try:
        run("ip", "link", "add", "node", "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        run("ethtool", "-K", "node", "tx", "off")
        run("ip", "addr", "add", f"{NODE}/24", "dev", "node")
        run("ip", "link", "set", "node", "up")
        run("ip", "-n", NAMESPACE, "addr", "add", f"{APPLIANCE}/24", "dev", "eth0")
        run("ip", "-n", NAMESPACE, "link", "set", "eth0", "up")
        run("ip", "netns", "exec", NAMESPACE, "ethtool", "-K", "eth0", "tx", "off")
        yield
    finally:
        run("ip", "netns", "del", NAMESPACE)


class Appliance:
    """A running appliance, and the load balancer's two ends of a tunnel to it."""

    def __init__(self, module: str, arguments: list[str], folder: Path, stack: ExitStack) -> None:
        self.control = folder / f"{module}.sock"
        command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-m", f"appliances.{module}"]
        command += ["--interface", "eth0", "--control", str(self.control), *arguments]
        self.process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
        stack.callback(self._end)
        assert self.process.stdout is not None
        assert "ready on eth0" in self.process.stdout.readline()
        # Connected, so that an ICMP port unreachable from the appliance's kernel would be an error here.
        self.to = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.to.bind((NODE, 60001))
        self.to.connect((APPLIANCE, 6081))
        # The kernel drops a return whose checksum is wrong.
        self.back = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.back.bind((NODE, 6081))
        self.back.settimeout(PATIENCE)

    def put(self, inner: Packet | bytes) -> None:
        self.to.send(HEADER + bytes(inner))

    def take(self) -> bytes:
        """The next return: GENEVE header and inner packet."""
        datagram, peer = self.back.recvfrom(65536)
        assert peer == (APPLIANCE, 60001)
        return datagram

    def returns_nothing_for(self, inner: Packet) -> bool:
        """Tell whether a packet is kept: the next thing that comes back is the return of a packet sent after it."""
        self.put(inner)
        self.put(SYN)
        return self.take() == HEADER + bytes(SYN)

    def ask(self, **request: object) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.control))
            control.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(control.makefile().readline())
            return answer

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(wire: None, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda module, *arguments: Appliance(module, [str(word) for word in arguments], tmp_path, stack)


def curl(path: str = "/") -> tuple[int, str]:
    """Exit code and HTTP status."""
    url = f"http://{APPLIANCE}{path}"
    done = subprocess.run(
        ["curl", "-s", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", url], capture_output=True, text=True
    )
    return done.returncode, done.stdout


@pytest.mark.namespace
def test_passthrough_returns_every_packet_as_it_came(start: Start) -> None:
    appliance = start("passthrough")
    packets = [bytes(IP(src=CLIENT, dst=SERVER) / UDP(sport=n, dport=9) / bytes(n % 90)) for n in range(1, 201)]
    for packet in packets:
        appliance.put(packet)
    assert [appliance.take() for _ in packets] == [HEADER + packet for packet in packets]
    status = appliance.ask(verb="status")
    assert status["ok"] is True
    assert status["counters"] == {
        "received": 200, "returned": 200, "undecodable": 0, "kernel drops": 0, "unsent": 0, "tagged": 0,
    }  # fmt: skip


@pytest.mark.namespace
def test_health_checks_are_answered_and_can_be_failed(start: Start) -> None:
    appliance = start("passthrough")
    assert curl() == (0, "200")
    assert curl("/any/path") == (0, "200")
    assert appliance.ask(verb="health", fail="http") == {"ok": True, "failing": "http"}
    assert curl() == (0, "503")
    with socket.create_connection((APPLIANCE, 80), timeout=PATIENCE):
        pass
    assert appliance.ask(verb="health", fail="tcp")["ok"] is True
    assert curl() == (7, "000"), "connection refused"
    assert appliance.ask(verb="health", fail="none")["ok"] is True
    assert curl() == (0, "200")


@pytest.mark.namespace
def test_a_client_that_ends_its_lines_with_a_bare_line_feed_is_answered(start: Start) -> None:
    start("passthrough")
    with socket.create_connection((APPLIANCE, 80), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.0\n\n")
        assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.namespace
def test_a_refused_request_says_why(start: Start) -> None:
    appliance = start("passthrough")
    assert appliance.ask(verb="health", fail="always") == {
        "ok": False,
        "error": "fail: expected one of none, http, tcp, got 'always'",
        "code": "InvalidInput",
    }
    assert appliance.ask(verb="dance")["error"] == "verb: expected one of status, health, got 'dance'"


@pytest.mark.namespace
@pytest.mark.parametrize("module", ["passthrough", "broken"])
def test_sigterm_ends_an_appliance_cleanly(start: Start, module: str) -> None:
    appliance = start(module)
    assert appliance.control.exists()
    assert appliance.terminate() == 0
    assert not appliance.control.exists()


@pytest.mark.namespace
def test_the_firewall_allows_denies_and_rejects_and_logs_it(start: Start, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    log = tmp_path / "log.jsonl"
    appliance = start("firewall", "--rules", tmp_path / "rules.yaml", "--log", log)
    appliance.put(SYN)
    assert appliance.take() == HEADER + bytes(SYN)
    assert appliance.returns_nothing_for(IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=23, flags="S"))
    appliance.put(IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=22, flags="S", seq=100))
    answer = appliance.take()
    assert answer[:40] == HEADER
    reset = IP(answer[40:])
    assert (reset.src, reset.dst, str(reset[TCP].flags), reset[TCP].ack) == (SERVER, CLIENT, "RA", 101)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["rule"], line["action"]) for line in lines] == [
        ("web", "allow"),
        ("default", "deny"),
        ("no-ssh", "reject"),
    ]
    assert lines[0]["endpoint"] == "vpce-02356de92d389839c"


@pytest.mark.namespace
def test_the_ids_returns_everything_and_writes_its_alert(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.rules").write_text('alert tcp any any -> any 80 (msg:"found"; content:"evil"; sid:7;)\n')
    eve = tmp_path / "eve.json"
    appliance = start("ids", "--rules", tmp_path / "x.rules", "--eve", eve)
    packet = IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="PA") / b"evil"
    appliance.put(packet)
    assert appliance.take() == HEADER + bytes(packet)
    (line,) = eve.read_text().splitlines()
    assert json.loads(line)["alert"]["signature"] == "found"


@pytest.mark.namespace
def test_the_ids_as_ips_keeps_what_a_drop_rule_matches(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.rules").write_text('drop udp any any -> any any (msg:"found"; content:"evil"; sid:7;)\n')
    appliance = start("ids", "--rules", tmp_path / "x.rules", "--eve", tmp_path / "eve.json", "--ips")
    assert appliance.returns_nothing_for(IP(src=CLIENT, dst=SERVER) / UDP() / b"evil")


@pytest.mark.namespace
def test_the_broken_one_changes_its_way_while_it_runs(start: Start) -> None:
    appliance = start("broken", "--mode", "healthy")
    appliance.put(SYN)
    assert appliance.take() == HEADER + bytes(SYN)
    assert appliance.ask(verb="set", mode="wrong-cookie")["ok"] is True
    appliance.put(SYN)
    assert appliance.take() == HEADER[:36] + bytes(byte ^ 0xFF for byte in HEADER[36:]) + bytes(SYN)
    assert appliance.ask(verb="set", mode="slow", delay=0.2)["ok"] is True
    appliance.put(SYN)
    assert appliance.ask(verb="status")["counters"]["replaced"] <= 2
    assert appliance.take() == HEADER + bytes(SYN)
    assert "mode: expected one of healthy" in str(appliance.ask(verb="set", mode="odd")["error"])


@pytest.mark.namespace
def test_a_packet_that_is_not_geneve_is_counted_and_no_icmp_error_answers_it(start: Start) -> None:
    appliance = start("passthrough")
    appliance.to.send(b"\x48" + HEADER[1:] + bytes(SYN))
    appliance.to.send(b"not GENEVE at all")
    assert appliance.returns_nothing_for(SYN / b"twice") is False, "a good packet is returned"
    counters = appliance.ask(verb="status")["counters"]
    assert counters["undecodable"] == 2
    appliance.to.setblocking(False)
    with pytest.raises(BlockingIOError):
        appliance.to.recv(1)


@pytest.mark.parametrize(
    ("module", "arguments", "complaint"),
    [
        ("firewall", ["--rules", "bad", "--log", "log"], "firewall: bad: rule 1: action: expected one of"),
        ("ids", ["--rules", "bad", "--eve", "log"], "ids: bad: line 1: "),
        ("firewall", ["--rules", "absent", "--log", "log"], "firewall: absent: cannot read the rules"),
        ("passthrough", ["--interface", "none0"], "passthrough: reading the MTU of interface none0"),
    ],
)
def test_what_a_user_got_wrong_is_one_line_on_stderr(
    tmp_path: Path, module: str, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "bad").write_text("rules: [{action: drop}]")
    done = subprocess.run(
        [sys.executable, "-m", f"appliances.{module}", *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["firewall", "ids", "passthrough", "broken"])
def test_help_tells_how_it_is_used_alone(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"appliances.{module}", "--help"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    assert f"usage: python -m appliances.{module} " in done.stdout
    assert "--health-port" in done.stdout
