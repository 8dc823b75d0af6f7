"""The shipped two-zones lab: every flow passes a firewall and an IDS, both ways, and only so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gwlbemu import Lab
from tests.lab.oracles import curl, sniffed
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "two-zones.yaml", capture=False) as lab:
        yield lab


@pytest.mark.contract("EP-04")
@pytest.mark.parametrize(("address", "server"), [("203.0.113.10", "web-a"), ("203.0.113.11", "web-b")])
def test_distributed_inspection_carries_a_request_and_its_answer(lab: Lab, address: str, server: str) -> None:
    answer = lab.exec("client", ["curl", "-s", "-m", "30", f"http://{address}/"])
    assert answer.code == 0
    assert answer.stdout.startswith(f"{server}\npeer: 198.51.100.10 port ")


@pytest.mark.contract("EP-04")
def test_a_request_passes_the_firewall_and_then_the_ids_and_its_answer_the_other_way_round(lab: Lab) -> None:
    with lab.trace_flow("client", "web-a", tcp=80) as trace:
        assert curl(lab) == 0
    first_answer = next(hop for hop in trace.hops if hop.source == "10.0.1.10")
    request = [hop for hop in trace.hops if (hop.ip_id, hop.source) == (trace.hops[0].ip_id, "198.51.100.10")]
    answer = [hop for hop in trace.hops if hop.source == "10.0.1.10" and hop.at <= first_answer.at + 0.5][:4]
    assert [(hop.node, hop.verdict) for hop in request][:4] == [
        ("firewall-node-a", "to-target"), ("firewall-node-a", "to-endpoint"),
        ("ids-node-a", "to-target"), ("ids-node-a", "to-endpoint"),
    ]  # fmt: skip
    assert [(hop.endpoint, hop.verdict) for hop in answer] == [
        ("vpce-ids-a", "to-target"), ("vpce-ids-a", "to-endpoint"),
        ("vpce-fw-a", "to-target"), ("vpce-fw-a", "to-endpoint"),
    ]  # fmt: skip


@pytest.mark.contract("EP-04", "TG-11")
def test_the_appliances_of_the_servers_zone_see_every_packet_of_a_flow_and_nobody_else_sees_one(lab: Lab) -> None:
    appliances = ("fw-a1", "fw-a2", "fw-b1", "fw-b2", "ids-a", "ids-b")
    with ExitStack() as stack:
        seen = {name: stack.enter_context(sniffed(lab, name)) for name in appliances}
        at_client = stack.enter_context(sniffed(lab, "client", matching="tcp port 80"))
        assert curl(lab) == 0
    counts = {name: len(each.frames) for name, each in seen.items()}
    assert counts["fw-b1"] == counts["fw-b2"] == counts["ids-b"] == 0
    # Every packet of the client's capture comes to an appliance and is returned by it: two frames each.
    assert counts["ids-a"] == counts["fw-a1"] + counts["fw-a2"] == 2 * len(at_client.frames)
    assert 0 in (counts["fw-a1"], counts["fw-a2"])


@pytest.mark.contract("GV-16")
def test_the_reset_of_a_rejecting_firewall_reaches_the_client_as_a_refused_connection(lab: Lab) -> None:
    assert curl(lab, "telnet://203.0.113.10:22") == 7
    assert any(event["rule"] == "no-ssh" for name in ("fw-a1", "fw-a2") for event in lab.events(name))


def test_what_a_firewall_denies_is_never_returned_and_the_client_times_out(lab: Lab) -> None:
    with sniffed(lab, "web-a", matching="tcp port 23") as at_server:
        assert curl(lab, "telnet://203.0.113.10:23", seconds=1.2) == 28
    assert at_server.frames == []
    (fate,) = lab.inject(tcp=23)
    assert (fate.outcome, fate.delivered_to) == ("not-returned", "")


def test_an_ids_alert_names_the_flow_as_the_packets_carried_it(lab: Lab) -> None:
    assert curl(lab, "http://203.0.113.10/admin") == 0
    alerts = [event for event in lab.events("ids-a") if event["event_type"] == "alert"]
    assert (alerts[-1]["src_ip"], alerts[-1]["dest_ip"], alerts[-1]["dest_port"]) == ("198.51.100.10", "10.0.1.10", 80)
    assert alerts[-1]["alert"]["signature_id"] == 1000001


@pytest.mark.contract("EP-08")
def test_no_security_group_stands_in_front_of_a_load_balancer_node(lab: Lab) -> None:
    """A datagram of somebody who is no target reaches the load balancer itself, which counts it."""
    metric = "PacketsDroppedCount_InvalidGeneveTunnel"
    before = lab.metric(metric)
    lab.exec("ids-a", ["bash", "-c", "echo hello > /dev/udp/10.254.1.254/6081"])
    wait_until(lambda: lab.metric(metric) == before + 1)


@pytest.mark.contract("EP-08")
def test_an_instances_security_group_lets_in_what_it_names_and_nothing_else(lab: Lab) -> None:
    server = lab.spawn("fw-a1", ["python3", "-c", "import socket; s=socket.create_server(('', 8080)); s.accept()"])
    closed = lab.exec("fw-a2", ["curl", "-s", "-m", "0.7", "http://10.254.1.11:8080/"])
    opened = lab.exec("fw-a2", ["curl", "-s", "-m", "30", "http://10.254.1.11:80/"])
    server.kill()
    assert (closed.code, opened.code) == (28, 0)


@pytest.mark.contract("GV-18")
def test_a_returned_packet_follows_the_route_table_of_its_endpoints_subnet(lab: Lab) -> None:
    """fw-endpoint-a sends 10.0.1.0/24 on to the IDS, everything else out of the VPC: the chain is those two lines."""
    routes = lab.exec("fw-endpoint-a", ["ip", "route"]).stdout
    (fate,) = lab.inject(tcp=80)
    assert [hop.endpoint for hop in fate.hops] == ["vpce-fw-a", "vpce-fw-a", "vpce-ids-a", "vpce-ids-a"]
    lab.exec("fw-endpoint-a", ["ip", "route", "replace", "blackhole", "10.0.1.0/24"])
    try:
        (fate,) = lab.inject(tcp=80)
        assert [hop.endpoint for hop in fate.hops] == ["vpce-fw-a", "vpce-fw-a"]
        assert fate.outcome == "lost"
    finally:
        line = next(line for line in routes.splitlines() if line.startswith("10.0.1.0/24"))
        lab.exec("fw-endpoint-a", ["ip", "route", "replace", *line.split()])
    assert curl(lab) == 0


def test_every_packet_that_came_in_had_a_verdict_and_the_kernel_lost_none(lab: Lab) -> None:
    curl(lab)
    ports = [port for node in lab.status().nodes for port in node.ports]
    assert sum(port.frames_in for port in ports) > 0
    assert all((port.verdicts, port.socket_drops, port.unsent) == (port.frames_in, 0, 0) for port in ports)
