"""What a namespace's kernel tells of its sockets, against sockets of the test's own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gwlbemu.net.inside import in_fresh_namespace
from gwlbemu.net.sockets import SocketDrops, read_sockets, wrong_checksums
from gwlbemu.ports.sink import hold_udp_port
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
PACKETS = 100


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A namespace of the test's own: its counters begin at 0."""
    with in_fresh_namespace():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield


def drops(what: str) -> list[SocketDrops]:
    return [each for each in read_sockets().drops if each.what == what]


@pytest.mark.parametrize(
    ("what", "family", "kind", "protocol"),
    [
        ("UDP sockets", socket.AF_INET, socket.SOCK_DGRAM, 0),
        ("raw socket", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP),
        ("packet socket", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
    ],
)
def test_a_receive_buffer_without_room_is_counted(what: str, family: int, kind: int, protocol: int) -> None:
    assert drops(what) == []
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, kind, protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        if kind == socket.SOCK_DGRAM:
            sock.bind(("127.0.0.1", 6081))
        sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for _ in range(PACKETS):
            sender.sendto(bytes(500), ("127.0.0.1", 6081))
        (found,) = wait_until(lambda: drops(what))
        assert found.packets > 0


def test_a_socket_that_takes_nothing_on_purpose_has_lost_nothing() -> None:
    with hold_udp_port(6081), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(PACKETS):
            sender.sendto(bytes(500), ("127.0.0.1", 6081))
        assert read_sockets().drops == ()
        assert 6081 in read_sockets().udp_bound


def test_listening_and_bound_ports() -> None:
    with socket.create_server(("127.0.0.1", 80)), socket.create_server(("::1", 8080), family=socket.AF_INET6):
        assert read_sockets().tcp_listening == {80, 8080}
    assert read_sockets().tcp_listening == frozenset()


def test_a_packet_with_a_wrong_ip_checksum_is_counted_by_the_kernel_that_drops_it() -> None:
    assert wrong_checksums() == {}
    frame = bytes(12) + b"\x08\x00" + bytes.fromhex("4500001c00000000401112347f0000017f000001000100020008") + bytes(2)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("lo", 0))
        sock.send(frame)
        assert wait_until(wrong_checksums) == {"IP header": 1}
