"""What a firewall rejects is told to the client's socket: through the tunnel, the endpoint and the internet gateway."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import yaml

from gwlbemu.lab.up import up
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.waiting import wait_until_healthy
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace
MINIMAL = TOPOLOGIES / "minimal.yaml"


@pytest.fixture
def rejecting() -> Iterator[None]:
    data = yaml.safe_load(MINIMAL.read_text())
    data["vpcs"][1]["instances"][0]["program"] = {"firewall": {"default": "reject", "rules": []}}
    plan = load(yaml.safe_dump(data), "rejecting.yaml")
    try:
        assert wait_until_healthy(up(plan), PATIENCE) == []
        yield
    finally:
        down(plan.lab)


def ask(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    client.connect(("203.0.113.10", 53))
    client.send(b"?")
    return client.recv(1)


@pytest.mark.contract("GV-16")
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_client_behind_the_internet_gateway_is_refused_at_once(rejecting: None, kind: int) -> None:
    with inside(path_of("minimal-client")):
        client = socket.socket(socket.AF_INET, kind)
    with client, pytest.raises(ConnectionRefusedError):
        ask(client)
