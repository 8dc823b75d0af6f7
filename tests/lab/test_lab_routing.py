"""Where packets go is decided by route tables: what happens when they are right, and what when they are not."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import yaml
from scapy.layers.inet import ICMP, IP, TCP, UDP

from gwlbemu import Lab
from tests.lab.oracles import curl, sniffed
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace


def crossed() -> str:
    """Zone a's server answers through zone b's endpoint: the mistake that everybody makes once."""
    document = yaml.safe_load(world({"fw-a": "a", "fw-b": "b"}))
    tables = {table["name"]: table for table in document["vpcs"][0]["route_tables"]}
    tables["servers-a"]["routes"][0]["target"] = "vpce-b"
    return yaml.safe_dump(document)


@pytest.mark.contract("EP-06")
@pytest.mark.topology(crossed(), capture=False)
def test_an_answer_through_the_other_zones_endpoint_finds_no_flow_and_is_dropped(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", tcp=80) as trace, sniffed(lab, "fw-b") as at_b:
        assert curl(lab, seconds=1) == 28
    request = [hop for hop in trace.hops if hop.source == "198.51.100.10"]
    answer = [hop for hop in trace.hops if hop.source == "10.0.1.10"]
    assert {hop.endpoint for hop in request} == {"vpce-a"}
    assert {(hop.endpoint, hop.node, hop.verdict) for hop in answer} == {("vpce-b", "inspect-node-b", "drop")}
    assert at_b.frames == []
    assert lab.metric("Dropped_MidstreamTcp") >= 1
    assert curl(lab, "http://203.0.113.11/") == 0  # zone b is wired as it should be


@pytest.fixture(scope="module")
def east_west() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "east-west.yaml", capture=False) as lab:
        yield lab


@pytest.mark.contract("EP-03")
def test_routes_more_specific_than_local_lead_traffic_inside_a_vpc_through_inspection(east_west: Lab) -> None:
    with east_west.trace_flow("front", "back", tcp=80) as trace:
        answer = east_west.exec("front", ["curl", "-s", "-m", "30", "http://10.0.2.10/"])
    assert answer.stdout.startswith("back\npeer: 10.0.1.10 port ")
    assert {(hop.endpoint, hop.source) for hop in trace.hops} == {("vpce", "10.0.1.10"), ("vpce", "10.0.2.10")}
    assert curl(east_west, "telnet://10.0.2.10:5432", client="front", seconds=1) == 28
    assert any(event["rule"] == "no-database" for event in east_west.events("fw"))


@pytest.mark.contract("EP-08")
def test_a_security_group_as_source_lets_its_members_in_and_nobody_else(east_west: Lab) -> None:
    """`back` takes web traffic from whoever is in `front`; an address of the same subnet that is not is refused."""
    assert curl(east_west, "http://10.0.2.10/", client="front") == 0
    stranger = east_west.inject(IP(src="10.0.1.77", dst="10.0.2.10") / UDP(sport=1, dport=80), source="front")
    member = east_west.inject(tcp=80, source="front", destination="back")
    assert stranger[0].replies == ()
    assert member[0].replies
    east_west.exec("front", ["ip", "address", "add", "10.0.1.78/24", "dev", "eth0"])
    web = ["curl", "-s", "-m", "1", "--interface", "10.0.1.78", "http://10.0.2.10/"]
    refused = east_west.exec("front", web).code
    east_west.exec("front", ["ip", "address", "del", "10.0.1.78/24", "dev", "eth0"])
    assert refused == 28


@pytest.mark.contract("GV-19")
def test_8500_bytes_pass_and_one_more_is_dropped_without_fragments_and_without_a_word(east_west: Lab) -> None:
    def segment(size: int) -> IP:
        return IP(dst="10.0.2.10", flags="DF") / TCP(sport=5000, dport=80, flags="S") / bytes(size - 40)

    with (
        sniffed(east_west, "fw") as seen,
        sniffed(east_west, "front", matching="icmp") as complaints,
        sniffed(east_west, "back", matching="tcp src port 5000") as at_back,
    ):
        before = east_west.metric("Dropped_InnerPacketTooLong")
        longest, too_long = (east_west.inject(segment(size), source="front")[0] for size in (8500, 8501))
    assert (too_long.outcome, too_long.hops[-1].verdict) == ("dropped", "drop")
    assert longest.hops[-1].verdict == "to-endpoint"
    assert [IP(frame[14:]).len for frame in at_back.frames if len(frame) > 100] == [8500]
    long = [len(frame) for frame in seen.frames if len(frame) > 1000]  # the server answers, too, with less
    assert set(long) == {14 + 68 + 8500}
    assert complaints.frames == []
    assert east_west.metric("Dropped_InnerPacketTooLong") == before + 1


@pytest.mark.contract("GV-20")
@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(n, marks=pytest.mark.topology(world(emulation={"ttl_decrement": n}), capture=False))
        for n in range(3)
    ],
)
def test_a_pass_takes_as_much_from_the_inner_ttl_as_the_switch_says(lab: Lab, taken: int) -> None:
    (endpoint,) = lab.plan.endpoints
    node = lab.plan.gateway_nodes[0].name
    with sniffed(lab, node, device=endpoint.device, matching="icmp") as seen:
        lab.exec("client", ["ping", "-c", "1", "-W", "30", "203.0.113.10"])
    ttls: dict[int, list[int]] = {}
    for frame in seen.frames:
        ttls.setdefault(IP(frame[14:])[ICMP].type, []).append(IP(frame[14:]).ttl)
    arrived, left = ttls[8]
    assert arrived - left == taken


def checked() -> str:
    """A router instance with the check on (AWS's default) in front of a server, and one with it off."""
    document = yaml.safe_load(world())
    app = document["vpcs"][0]
    app["subnets"].append({"name": "routers", "zone": "a", "cidr": "10.0.5.0/24"})
    app["subnets"].append({"name": "clients", "zone": "a", "cidr": "10.0.6.0/24", "route_table": "clients"})
    app["subnets"].append({"name": "others", "zone": "a", "cidr": "10.0.7.0/24", "route_table": "others"})
    app["route_tables"].append({"name": "clients", "routes": [{"destination": "10.0.1.0/24", "target": "strict"}]})
    app["route_tables"].append({"name": "others", "routes": [{"destination": "10.0.1.0/24", "target": "loose"}]})
    app["instances"] += [
        {"name": "strict", "subnet": "routers", "address": "10.0.5.10"},
        {"name": "loose", "subnet": "routers", "address": "10.0.5.11", "source_dest_check": False},
        {"name": "by-strict", "subnet": "clients", "address": "10.0.6.10"},
        {"name": "by-loose", "subnet": "others", "address": "10.0.7.10"},
    ]
    return yaml.safe_dump(document)


@pytest.mark.contract("EP-09")
@pytest.mark.topology(checked(), capture=False)
def test_a_forwarding_instance_loses_traffic_until_its_source_destination_check_is_off(lab: Lab) -> None:
    for router in ("strict", "loose"):
        lab.exec(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    with sniffed(lab, "server-a", matching="icmp") as at_server:
        for client in ("by-strict", "by-loose"):
            lab.exec(client, ["ping", "-c", "1", "-W", "1", "10.0.1.10"])
    assert {IP(frame[14:]).src for frame in at_server.frames if IP(frame[14:])[ICMP].type == 8} == {"10.0.7.10"}


@pytest.mark.topology(TOPOLOGIES / "egress-nat.yaml", capture=False)
def test_a_nat_gateway_translates_and_answers_nothing_itself(lab: Lab) -> None:
    assert "peer: 203.0.113.50" in lab.exec("worker", ["curl", "-s", "-m", "30", "http://198.51.100.20/"]).stdout
    with sniffed(lab, "server", matching="src host 203.0.113.50") as at_server:
        assert lab.exec("server", ["ping", "-c", "1", "-W", "1", "203.0.113.50"]).code == 1
        assert curl(lab, "http://203.0.113.50/", client="server", seconds=1) == 28  # no answer; a RST would be 7
    assert at_server.frames == []


def transit(mode: str) -> str:
    document = yaml.safe_load((TOPOLOGIES / "transit-gateway.yaml").read_text())
    for attachment in document["transit_gateways"][0]["attachments"]:
        if attachment["vpc"] == "security":
            attachment["appliance_mode"] = mode
    return yaml.safe_dump(document)


@pytest.mark.contract("EP-07")
@pytest.mark.topology(transit("enable"), capture=False)
def test_with_appliance_mode_both_directions_of_a_flow_use_one_zone(lab: Lab) -> None:
    with lab.trace_flow("client-a", "server-b", tcp=80) as trace:
        for _ in range(6):
            assert curl(lab, "http://10.2.2.10/", client="client-a") == 0
    endpoints: dict[int, set[str]] = {}
    for hop in trace.hops:
        endpoints.setdefault(hop.source_port if hop.destination_port == 80 else hop.destination_port, set()).add(
            hop.endpoint
        )
    assert len(endpoints) == 6
    assert all(len(used) == 1 for used in endpoints.values())


@pytest.mark.contract("EP-07")
@pytest.mark.topology(transit("disable"), capture=False)
def test_without_appliance_mode_the_answer_comes_back_through_the_other_zone_and_is_lost(lab: Lab) -> None:
    with lab.trace_flow("client-a", "server-b", tcp=80) as trace:
        assert curl(lab, "http://10.2.2.10/", client="client-a", seconds=1) == 28
    assert {(hop.endpoint, hop.source) for hop in trace.hops} == {("vpce-a", "10.1.1.10"), ("vpce-b", "10.2.2.10")}
    assert {hop.verdict for hop in trace.hops if hop.source == "10.2.2.10"} == {"drop"}


RECEIVE = """
import socket, threading, time
server = socket.create_server(("", 5201))
total = 0
def receive(connection):
    global total
    while data := connection.recv(1 << 16):
        total += len(data)
def serve():
    while True:
        threading.Thread(target=receive, args=server.accept()[:1], daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
while True:
    print(time.monotonic(), total, flush=True)
    time.sleep(0.1)
"""
SEND = """
import socket, sys, threading, time
seconds, count = float(sys.argv[1]), int(sys.argv[2])
until, block = time.monotonic() + seconds, bytes(65536)
def send():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    sock.settimeout(3)
    sock.connect(("203.0.113.10", 5201))
    while time.monotonic() < until:
        sock.send(block)
for thread in [threading.Thread(target=send) for _ in range(count)]:
    thread.start()
"""


@pytest.mark.alone
@pytest.mark.contract("EX-02")
@pytest.mark.topology(TOPOLOGIES / "scaling.yaml", capture=False, datapath="python")
def test_a_larger_target_raises_the_ceiling_of_one_and_more_targets_raise_the_total(lab: Lab) -> None:
    server = lab.spawn("web", [sys.executable, "-c", RECEIVE])
    wait_until(server.output)

    def readings() -> list[tuple[float, int]]:
        return [(float(at), int(total)) for at, total in (line.split() for line in server.output().splitlines())]

    def mbit(flows: int) -> float:
        """What arrives in the second that begins half a second after the first byte."""
        still = readings()[-1][1]
        sender = lab.spawn("client", [sys.executable, "-c", SEND, "2.2", str(flows)])
        lab.wait_until(lambda: len([1 for _, total in readings() if total > still]) > 16, timeout=PATIENCE)
        (begin, first), (end, last) = [each for each in readings() if each[1] > still][5:16:10]
        sender.wait()
        lab.wait_until(lambda: len({total for _, total in readings()[-3:]}) == 1, timeout=PATIENCE, what="empty queues")
        return (last - first) * 8 / (end - begin) / 1e6

    def only(*targets: str) -> None:
        for target in targets:
            lab.register("firewalls", target)
            lab.wait_for_state(target, "healthy")
        for target in {each.id for each in lab.targets()} - set(targets):
            lab.deregister("firewalls", target)

    one_small = mbit(6)
    only("large")
    one_large = mbit(6)
    only("small-1", "small-2", "small-3")
    three_small = mbit(12)
    server.kill()
    assert one_small < 22
    assert one_large > 1.8 * one_small
    assert three_small > 1.6 * one_small
