"""What `inspect --last` leaves out: the health checks of network and application load balancers, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.cli.main import main
from gwlbemu.views.capture import capture_files
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import FIN, decode_tcp
from tests.lab.fronts import ONLY_A, PUBLIC, front
from tests.lab.web_fronts import NODES, public_address, web_front
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
Ends = frozenset[tuple[str, int]]


def network_front() -> str:
    """A network load balancer's lab: one group is checked by TCP, and its clients have the node's address there."""
    document = yaml.safe_load(front(lab="checked-nlb", groups={"only-a": {"preserve_client_ip.enabled": False}}))
    document["capture"]["enabled"] = True
    group = next(each for each in document["target_groups"] if each["name"] == "only-a")
    check = group["health_check"]
    group["health_check"] = {key: value for key, value in check.items() if key != "protocol"} | {"protocol": "TCP"}
    return str(yaml.safe_dump(document, sort_keys=False))


def connections(lab: Lab) -> dict[Ends, tuple[bytes, int]]:
    """What is in the capture between nodes and others: each connection's payload, and the FINs that were seen of it."""
    found: dict[Ends, tuple[bytes, int]] = {}
    nodes = {node.address for node in lab.running.plan.addressed_nodes}
    for path in capture_files(lab.running):
        with path.open("rb") as file:
            for captured in CaptureReader(file):
                layer = dissect(captured).outer
                if layer is None or layer.ip.protocol != TCP:
                    continue
                ip, head = layer.ip, decode_tcp(layer.data, layer.ip)
                ends = [
                    (".".join(map(str, address)), port)
                    for address, port in ((ip.source, ip.source_port), (ip.destination, ip.destination_port))
                ]
                if not nodes & {address for address, _ in ends}:
                    continue
                payload, fins = found.get(frozenset(ends), (b"", 0))
                payload += layer.payload[head.header_length :]
                found[frozenset(ends)] = payload, fins + bool(head.flags & FIN)
    return found


@pytest.fixture(scope="module", params=["network", "application"])
def lab(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, str]]:
    """A lab, and a URL of which a node asks a target from its own address."""
    is_network = request.param == "network"
    with Lab(network_front() if is_network else web_front("checked-alb", capture=True)) as lab:
        place = f"{PUBLIC['a']}:{ONLY_A}" if is_network else public_address(lab, NODES[0])
        yield lab, f"http://{place}"


def test_inspect_leaves_out_the_checks_of_nodes_and_nothing_that_they_send_for_clients(
    lab: tuple[Lab, str], capsys: pytest.CaptureFixture[str]
) -> None:
    running, url = lab
    for number in range(3):
        assert running.exec("client", ["curl", "-s", "-m", "20", f"{url}/asked-{number}"]).code == 0

    def seen() -> tuple[set[Ends], set[Ends]]:
        by_ends = connections(running)
        asked = {ends for ends, (payload, _) in by_ends.items() if b"GET /asked-" in payload}
        over = {ends: payload for ends, (payload, fins) in by_ends.items() if fins}
        # A check of HTTP says that it is one; all that says nothing at all and was closed is one of TCP.
        return {ends for ends, payload in over.items() if not payload or b"ELB-HealthChecker" in payload}, asked

    wait_until(lambda: all(map(bool, seen())) and b"/asked-2" in b"".join(p for p, _ in connections(running).values()))
    checks, asked = seen()
    capsys.readouterr()
    assert main(["inspect", "--lab", running.name, "--last", "--json"]) == 0
    packets = [json.loads(line)["packet"] for line in capsys.readouterr().out.splitlines()]
    shown = {
        frozenset({(each["source"], each["source_port"]), (each["destination"], each["destination_port"])})
        for each in packets
        if each
    }
    assert checks
    assert not checks & shown
    assert asked <= shown
    nodes = {node.address for node in running.running.plan.addressed_nodes}
    assert any({address for address, _ in ends} <= nodes | {"10.0.1.10", "10.0.2.10"} for ends in asked)
    for words in ((), ("--journeys",)):
        assert main(["inspect", "--lab", running.name, "--last", *words]) == 0
        said = capsys.readouterr().out
        assert "ELB-HealthChecker" not in said
        assert f"left out{' of journeys' if words else ''}: " in said
        assert " health checks" in said
