"""A lab of four namespaces around one real node process: client, node, appliance, server."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gwlbemu.lab.control import call
from gwlbemu.ports.filters import ip_to_us, udp_port_to_us
from gwlbemu.ports.packet import PacketPort
from gwlbemu.programs.gateway.config import EndpointInterface, Eni, NodeConfig
from tests.paths import ROOT
from tests.waiting import PATIENCE, wait_until

ENDPOINT, OTHER_ENDPOINT = "vpce-01122334455667788", "vpce-0aabbccddeeff0011"
NODE, TARGET, OTHER_TARGET = "10.9.0.1", "10.9.0.2", "10.9.0.3"
ENI_GATEWAY_MAC = "02:00:00:00:09:02"  # the far end of the ENI's wire: it is every target and the gateway
WIRES = {  # far namespace: (its MAC, the node's device, the node's MAC)
    "tclient": ("02:00:00:00:01:02", "vpce", "02:00:00:00:01:01"),
    "ttarget": ("02:00:00:00:09:02", "eni", "02:00:00:00:09:01"),
    "tother": ("02:00:00:00:02:02", "vpce2", "02:00:00:00:02:01"),
}


def ip(*argv: str, ns: str = "") -> None:
    subprocess.run(["ip", *(["-n", ns] if ns else []), *argv], check=True, capture_output=True)


@contextmanager
def namespaces() -> Iterator[None]:
    """Namespaces tclient, tnode, ttarget; devices are called eth0 at the far ends."""
    names = ("tnode", *WIRES)
    try:
        for name in names:
            ip("netns", "add", name)
            subprocess.run(
                [
                    "ip",
                    "netns",
                    "exec",
                    name,
                    "sysctl",
                    "-qw",
                    "net.ipv6.conf.default.disable_ipv6=1",
                    "net.ipv6.conf.all.disable_ipv6=1",
                ],
                check=True,
            )
            ip("link", "set", "lo", "up", ns=name)
        for far, (mac, device, node_mac) in WIRES.items():
            ip("link", "add", device, "netns", "tnode", "address", node_mac, "mtu", "9001", "type", "veth",
               "peer", "name", "eth0", "netns", far, "address", mac, "mtu", "9001")  # fmt: skip
            ip("link", "set", device, "up", ns="tnode")
            ip("link", "set", "eth0", "up", ns=far)
        ip("addr", "add", f"{NODE}/24", "dev", "eni", ns="tnode")
        for address in (TARGET, OTHER_TARGET):
            ip("addr", "add", f"{address}/24", "dev", "eth0", ns="ttarget")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Be in the namespace `name` for as long as it takes to open something."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        assert libc.setns(there, 0) == 0
        yield
    finally:
        assert libc.setns(here, 0) == 0
        os.close(here)
        os.close(there)


def second_endpoint(endpoint_id: str = OTHER_ENDPOINT) -> EndpointInterface:
    """An endpoint at the wire to tother, for those who need two."""
    mac, device, node_mac = WIRES["tother"]
    return EndpointInterface("vpce-other", endpoint_id, device, node_mac, mac)


def config(folder: Path, **changes: Any) -> NodeConfig:
    mac, device, node_mac = WIRES["tclient"]
    plain = NodeConfig(
        name="firewall-a",
        load_balancer="firewall",
        zone="a",
        zones=("a",),
        target_group="firewalls",
        seed=7,
        eni=Eni("eni", NODE, "02:00:00:00:09:01", ENI_GATEWAY_MAC, {TARGET: "02:00:00:00:09:02"}),
        endpoints=(EndpointInterface("vpce-fw", ENDPOINT, device, node_mac, mac),),
        targets=(("fw1", TARGET, "a"),),
        attributes={"load-balancer": {}, "listener": {}, "target-group": {}},
        health_check={
            "protocol": "TCP", "port": 80, "path": "/", "interval_seconds": 10, "timeout_seconds": 5,
            "healthy_threshold_count": 2, "unhealthy_threshold_count": 2, "matcher": "200-399",
        },
        emulation={"initial_health_check_interval_seconds": 0.02},
        datapath="python",
        offload=False,
        control=str(folder / "node.sock"),
        discards="",
    )  # fmt: skip
    return replace(plain, **changes)


@dataclass
class Bench:
    """A running node and the far ends of its wires."""

    config: NodeConfig
    process: subprocess.Popen[bytes]
    log: Path
    client: PacketPort
    target: PacketPort
    other: PacketPort
    stack: ExitStack = field(repr=False)

    def call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return call(self.config.control, verb, **arguments)

    def wait_for_state(self, state: str) -> None:
        wait_until(
            lambda: {each["state"] for each in self.call("targets")["targets"]} == {state},
            lambda: f"{state}: {self.call('targets')}",
        )

    def take(self, port: PacketPort, count: int = 1) -> list[bytes]:
        """The next `count` frames at a port; fails when they do not come."""
        frames: list[bytes] = []
        while len(frames) < count:
            assert select.select([port.fileno()], [], [], PATIENCE)[0], (
                f"{len(frames)} of {count} frames came; {self.log.read_text()}"
            )
            frames += port.recv()
        return frames

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


def _answer_probes(address: str) -> socket.socket:
    """A server that accepts nothing: a TCP probe is happy with the kernel's word."""
    with inside("ttarget"):
        return socket.create_server((address, 80), backlog=4096)


@contextmanager
def running(
    settings: NodeConfig, folder: Path, *, healthy: Sequence[str] = (TARGET,), command: Sequence[str] = ()
) -> Iterator[Bench]:
    """A node process in tnode (run by `command`), packet ports at its far ends; wire ends are opened first.

    At the addresses `healthy` somebody answers probes.
    """
    with ExitStack() as stack:
        stack.enter_context(namespaces())
        with inside("tclient"):
            client = PacketPort("eth0", program=ip_to_us())
        stack.callback(client.close)
        with inside("tother"):
            other = PacketPort("eth0", program=ip_to_us())
        stack.callback(other.close)
        with inside("ttarget"):
            target = PacketPort("eth0", program=udp_port_to_us(6081))
        stack.callback(target.close)
        for address in healthy:
            stack.callback(_answer_probes(address).close)
        path, log = folder / "node.json", folder / "node.log"
        path.write_text(settings.to_json())
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("nsenter", "--net=/run/netns/tnode", *command),
                    *(sys.executable, "-m", "gwlbemu.programs.gateway.node", str(path)),
                ],
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        bench = Bench(settings, process, log, client, target, other, stack)
        wait_until(lambda: process.poll() is not None or Path(settings.control).exists(), log.read_text)
        assert process.poll() is None, log.read_text()
        yield bench


__all__ = ["ENDPOINT", "OTHER_ENDPOINT", "Bench", "config", "inside", "namespaces", "running", "second_endpoint"]
