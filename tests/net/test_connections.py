"""The kernel's list of TCP connections."""

from __future__ import annotations

import socket
import subprocess

import pytest

from gwlbemu.net.connections import Connection, established

pytestmark = pytest.mark.namespace


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.1.2"), (socket.AF_INET6, "::1")])
def test_established_connections_at_a_port_are_listed_with_both_ends(family: int, address: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with socket.socket(family) as server, socket.socket(family) as client, socket.socket(family) as waits:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        assert list(established([port])) == []
        client.connect((address, port))
        accepted, _ = server.accept()
        with accepted:
            (found,) = established([port])
            assert found == Connection(found.number, address, port, *client.getsockname()[:2])
            waits.connect((address, port))
            assert {each.peer_port for each in established([port])} == {
                each.getsockname()[1] for each in (client, waits)
            }
            assert list(established([port + 1])) == []
