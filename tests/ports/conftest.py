"""Two ends of a wire, of every kind that a port can be."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator

import pytest

from gwlbemu.ports.memory import pair
from gwlbemu.ports.packet import PacketPort
from gwlbemu.ports.port import Port
from tests.waiting import PATIENCE, wait_until


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def wait_until_up(device: str) -> None:
    """Linux sends nothing through an interface before it has noticed the other end (net/core/link_watch.c)."""
    show = ["ip", "link", "show", device]
    wait_until(lambda: "state UP" in subprocess.run(show, capture_output=True, text=True).stdout, f"{device} to be up")


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two joined interfaces of the test's own namespace, MTU 9001, without addresses."""
    run("ip", "link", "add", "wa", "address", "02:00:00:00:00:0a", "mtu", "9001", "type", "veth",
        "peer", "name", "wb", "address", "02:00:00:00:00:0b", "mtu", "9001")  # fmt: skip
    for device in ("wa", "wb"):
        run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
        run("ip", "link", "set", device, "up")
    for device in ("wa", "wb"):
        wait_until_up(device)
    yield "wa", "wb"
    run("ip", "link", "del", "wa")


@pytest.fixture(params=["memory", pytest.param("packet", marks=pytest.mark.namespace)])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Port, Port]]:
    a: Port
    b: Port
    if request.param == "memory":
        a, b = pair()
    else:
        first, second = request.getfixturevalue("veth")
        a, b = PacketPort(first), PacketPort(second)
    yield a, b
    a.close()
    b.close()


def arrived(port: Port, count: int) -> list[bytes]:
    """Return `count` frames in the order of their arrival, or those that came within a long time."""
    got: list[bytes] = []
    while len(got) < count and select.select([port.fileno()], [], [], PATIENCE)[0]:
        got += port.recv()
    return got


def frame(payload: bytes, *, to: bytes = bytes.fromhex("02000000000b"), kind: int = 0x0800) -> bytes:
    return to + bytes.fromhex("02000000000a") + kind.to_bytes(2, "big") + payload


__all__ = ["arrived", "frame", "run"]
