"""Security groups bind those who read raw packets as well: the group of an appliance that forgets UDP 6081."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.up import up
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.port_drops import read_port_drops
from gwlbemu.views.targets import read_targets
from gwlbemu.views.waiting import wait_until_healthy
from tests.inside import run_inside
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
MINIMAL = TOPOLOGIES / "minimal.yaml"
HEALTH_CHECK = {"protocol": "tcp", "ports": 80, "source": "10.254.0.0/16"}
GENEVE = {"protocol": "udp", "ports": 6081, "source": "10.254.1.0/24"}
FROM_ELSEWHERE = {"protocol": "udp", "ports": 6081, "source": "10.254.9.0/24"}
ETH_P_ALL = 3


@contextmanager
def lab(appliance: list[dict[str, Any]], web: list[dict[str, Any]] | None = None) -> Iterator[RunningLab]:
    """minimal.yaml with a security group of these ingress rules at the appliance (and at the web server)."""
    data = yaml.safe_load(MINIMAL.read_text())
    for vpc, ingress in zip(data["vpcs"], (web, appliance), strict=True):
        if ingress is not None:
            name = f"group-of-{vpc['name']}"
            vpc["security_groups"] = [{"name": name, "ingress": ingress}]
            vpc["instances"][0]["security_groups"] = [name]
    plan = load(yaml.safe_dump(data), "groups.yaml")
    try:
        running = up(plan)
        assert wait_until_healthy(running, PATIENCE) == []
        yield running
    finally:
        down(plan.lab)


def curl(seconds: str) -> int:
    words = ["curl", "-s", "-o", "/dev/null", "-m", seconds, "http://203.0.113.10/"]
    return run_inside(path_of("minimal-client"), words)


def verdicts(running: RunningLab) -> tuple[int, int]:
    metrics = running.call("inspect-node-a", "metrics")["metrics"]
    return metrics["verdicts_to_target"], metrics["verdicts_to_endpoint"]


@pytest.mark.contract("EP-08")
@pytest.mark.parametrize("rules", [[HEALTH_CHECK], [HEALTH_CHECK, FROM_ELSEWHERE]], ids=["no-6081", "6081-of-others"])
def test_an_appliance_whose_group_does_not_let_geneve_in_is_healthy_and_gets_no_packet(
    rules: list[dict[str, Any]],
) -> None:
    with lab(rules) as running:
        assert curl("1") == 28  # curl: timed out
        (target,) = read_targets(running).complete()
        assert target.state == "healthy"
        to_target, to_endpoint = verdicts(running)
        assert to_target > 0
        assert to_endpoint == 0


@pytest.mark.contract("EP-08")
def test_an_appliance_whose_group_lets_geneve_in_from_the_nodes_subnet_gets_every_packet() -> None:
    with lab([HEALTH_CHECK, GENEVE]) as running:
        assert curl("30") == 0
        wait_until(lambda: len(set(verdicts(running))) == 1)  # the last packet may still be on its way
        assert verdicts(running)[0] > 0


@pytest.mark.contract("EP-08")
def test_a_raw_reader_inside_an_instance_sees_what_its_group_allows_and_answers_but_nobody_who_begins() -> None:
    with lab([HEALTH_CHECK, GENEVE], web=[{"protocol": "tcp", "ports": 81, "source": "0.0.0.0/0"}]):
        with inside(path_of("minimal-web")):
            reader = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with reader:
            reader.bind(("eth0", ETH_P_ALL))
            for port in (80, 81):
                run_inside(path_of("minimal-client"), ["curl", "-s", "-m", "0.5", f"http://203.0.113.10:{port}/"])
            run_inside(path_of("minimal-client"), ["ping", "-q", "-c", "1", "-W", "0.3", "203.0.113.10"])
            listener = "import socket; s = socket.create_server(('', 8000)); s.accept()"
            server = subprocess.Popen(
                ["ip", "netns", "exec", "minimal-client", sys.executable, "-c", listener], stderr=subprocess.DEVNULL
            )
            try:
                ask = ["curl", "-s", "-m", "5", "http://198.51.100.10:8000/"]
                wait_until(lambda: run_inside(path_of("minimal-web"), ask) != 7)  # 7: refused, it does not listen yet
                server.wait(PATIENCE)
            finally:
                server.kill()
                server.wait()
            reader.settimeout(0.1)
            seen = _incoming(reader)
    assert (6, 80) not in seen
    assert (6, 81) in seen
    assert (1, 8) not in seen
    assert any(protocol == 6 and port > 1024 for protocol, port in seen)  # answers to what the server began


@pytest.mark.contract("EP-08")
def test_a_protocol_without_ports_is_let_in_by_its_number() -> None:
    """GRE is 47; ESP (50), which no rule names, is dropped at the port."""
    with lab([HEALTH_CHECK, GENEVE], web=[{"protocol": 47, "source": "198.51.100.0/24"}]) as running:
        with inside(path_of("minimal-web")):
            readers = [socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) for protocol in (47, 50)]
        with inside(path_of("minimal-client")):
            senders = [socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) for protocol in (50, 47)]
        try:
            for sender in senders:
                sender.sendto(bytes(8), ("203.0.113.10", 0))
            readers[0].settimeout(PATIENCE)
            assert readers[0].recv(100)[20:] == bytes(8)
            wait_until(lambda: [each for each in read_port_drops(running) if each.instance == "web"])
            (drops,) = read_port_drops(running)
            assert (drops.instance, drops.direction, drops.reason, drops.packets) == ("web", "received", "group", 1)
            readers[1].setblocking(False)
            with pytest.raises(BlockingIOError):
                readers[1].recv(100)
        finally:
            for each in (*readers, *senders):
                each.close()


def _incoming(reader: socket.socket) -> set[tuple[int, int]]:
    """(6, destination port) of TCP and (1, type) of ICMP packets that came in."""
    seen: set[tuple[int, int]] = set()
    while True:
        try:
            frame, (_, _, kind, *_) = reader.recvfrom(2048)
        except TimeoutError:
            return seen
        if kind == socket.PACKET_HOST and frame[12:14] == b"\x08\x00":
            protocol, at = frame[23], 14 + (frame[14] & 15) * 4
            seen.add((protocol, frame[at] if protocol == 1 else int.from_bytes(frame[at + 2 : at + 4], "big")))
