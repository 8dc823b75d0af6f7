"""Flows on real traffic: what a flow is, that it stays on one target both ways, and when it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, UDPerror
from scapy.layers.l2 import GRE

from gwlbemu import Lab
from tests.lab.oracles import Sniffed, curl, flow_key, sniffed
from tests.lab.talkers import ask, echoing, idle, talking
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace

APPLIANCES = ("fw-1", "fw-2", "fw-3")


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab(world(dict.fromkeys(APPLIANCES, "a"), ipv6=True), capture=False) as lab:
        yield lab


@pytest.fixture
def three(shared: Lab) -> Lab:
    """The shared lab with no flow left from the test before."""
    shared.advance(400)
    return shared


@contextmanager
def all_sniffed(lab: Lab) -> Iterator[dict[str, Sniffed]]:
    """tcpdump at each of the appliances."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(sniffed(lab, name)) for name in APPLIANCES}


@pytest.mark.contract("FL-01")
def test_each_tcp_and_udp_connection_is_a_flow_and_each_address_pair_of_another_protocol(three: Lab) -> None:
    with echoing(three, "server-a"):
        ask(three, range(3001, 3041))
    for _ in range(8):
        assert curl(three) == 0
    for _ in range(3):
        three.exec("client", ["ping", "-c", "2", "-i", "0.05", "203.0.113.10"])
    flows = three.flows()
    by_protocol = {protocol: [flow for flow in flows if flow.protocol == protocol] for protocol in (1, 6, 17)}
    assert len({flow.source_port for flow in by_protocol[17]}) == len(by_protocol[17]) == 40
    assert len({flow.source_port for flow in by_protocol[6]}) == len(by_protocol[6]) == 8
    (ping,) = by_protocol[1]
    assert (ping.source_port, ping.destination_port, ping.packets) == (0, 0, 24)  # 3 x 2 echoes, 2 ways, there and back
    assert len({flow.target for flow in by_protocol[17]}) == 3


@pytest.mark.contract("FL-03")
def test_both_directions_of_tcp_udp_icmp_gre_and_ipv6_reach_the_same_appliance(three: Lab) -> None:
    with all_sniffed(three) as seen:
        with echoing(three, "server-a"):
            assert set(ask(three, range(3001, 3031)).values()) == {"10"}
        for _ in range(6):
            assert curl(three) == 0
            assert curl(three, "http://[2001:db8:1:1::10]/") == 0
        assert three.exec("client", ["ping", "-c", "2", "-i", "0.05", "203.0.113.10"]).code == 0
        assert three.exec("client", ["ping", "-c", "2", "-i", "0.05", "2001:db8:1:1::10"]).code == 0
        three.inject(IP(dst="203.0.113.10") / GRE() / b"there", source="client")
        three.inject(IP(dst="198.51.100.10") / GRE() / b"back", source="server-a")
    appliances: dict[object, set[str]] = {}
    directions: dict[object, set[str]] = {}
    for name, each in seen.items():
        for packet in each.tunnelled():
            key = flow_key(packet.inner)
            appliances.setdefault(key, set()).add(name)
            directions.setdefault(key, set()).add(packet.inner.src)
    protocols = [key[0] for key in directions]  # type: ignore[index]
    assert {1, 6, 17, 47, 58} == set(protocols)
    assert (protocols.count(17), protocols.count(6)) == (30, 12)
    assert all(len(ways) == 2 for ways in directions.values())
    assert all(len(names) == 1 for names in appliances.values())
    assert len({name for names in appliances.values() for name in names}) == 3


@pytest.mark.contract("FL-02")
@pytest.mark.parametrize(("kind", "protocols"), [("source_ip_dest_ip_proto", {6, 17, 1}), ("source_ip_dest_ip", {0})])
def test_stickiness_makes_one_flow_of_an_address_pair(three: Lab, kind: str, protocols: set[int]) -> None:
    three.set("firewalls", {"stickiness.enabled": True, "stickiness.type": kind})
    try:
        with echoing(three, "server-a"):
            assert len(ask(three, range(3001, 3011))) == 10
        for _ in range(3):
            assert curl(three) == 0
        three.exec("client", ["ping", "-c", "1", "203.0.113.10"])
        flows = three.flows()
    finally:
        three.set("firewalls", {"stickiness.enabled": False})
    assert sorted(flow.protocol for flow in flows) == sorted(protocols)
    assert {(flow.source_port, flow.destination_port) for flow in flows} == {(0, 0)}


@pytest.mark.contract("FL-04")
@pytest.mark.topology(TOPOLOGIES / "overlap.yaml", capture=False)
def test_two_vpcs_with_the_same_addresses_never_mix_even_on_the_same_5_tuple(lab: Lab) -> None:
    with sniffed(lab, "fw") as seen:
        for address, server in (("203.0.113.10", "web-red"), ("203.0.113.20", "web-blue")):
            answer = lab.exec("client", [sys.executable, "-c", GET_FROM_40000, address])
            assert f"\n\n{server}\npeer: 198.51.100.10 port 40000" in answer.stdout
    one, other = [flow for flow in lab.flows() if flow.protocol == 6]
    assert (one.source, one.source_port, one.destination, one.destination_port) == (
        other.source, other.source_port, other.destination, other.destination_port,
    )  # fmt: skip
    assert {one.endpoint, other.endpoint} == {"vpce-red", "vpce-blue"}
    headers = {packet.header for packet in seen.tunnelled()}
    assert len(headers) == 2
    assert len({header[12:20] for header in headers}) == len({header[36:40] for header in headers}) == 2


GET_FROM_40000 = """
import socket, sys
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("", 40000))
sock.settimeout(3)
sock.connect((sys.argv[1], 80))
sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
while data := sock.recv(65536):
    print(data.decode(), end="")
"""


@pytest.mark.contract("FL-05")
def test_a_live_flow_stays_on_its_target_while_targets_leave_and_come_back(three: Lab) -> None:
    with talking(three, 12) as talk:
        before = {flow.source_port: flow.target for flow in three.flows()}
        leaver = min(before.values())
        three.deregister("firewalls", leaver)
        three.register("firewalls", leaver)
        three.wait_for_state(leaver, "healthy")
        answers = talk.state()
        three.wait_until(
            lambda: all(talk.state()[port][0] > count + 2 for port, (count, _) in answers.items()), timeout=PATIENCE
        )
        after = {flow.source_port: flow.target for flow in three.flows() if flow.source_port in before}
    assert after == before
    assert three.metric("MovedFlowCount") == 0


@pytest.mark.contract("FL-06")
def test_an_idle_tcp_flow_lives_350_seconds_and_not_one_more(three: Lab) -> None:
    with idle(three) as port:
        three.advance(340)
        assert [flow.source_port for flow in three.flows() if flow.protocol == 6] == [port]
        assert len([ended for ended in three.advance(10) if f"port {port} " in ended.flow]) == 1
        assert not [flow for flow in three.flows() if flow.protocol == 6]


@pytest.mark.contract("FL-06")
def test_the_listeners_idle_timeout_counts_for_tcp_and_for_nothing_else(three: Lab) -> None:
    three.set("inspect", {"tcp.idle_timeout.seconds": 60})
    try:
        with idle(three), echoing(three, "server-a"):
            ask(three, [3001])
            three.advance(50)
            assert {flow.protocol for flow in three.flows()} == {6, 17}
            three.advance(10)
            assert {flow.protocol for flow in three.flows()} == {17}
            three.advance(50)
            assert {flow.protocol for flow in three.flows()} == {17}
            three.advance(10)
            assert three.flows() == []
    finally:
        three.set("inspect", {"tcp.idle_timeout.seconds": 350})


@pytest.mark.contract("FL-07")
@pytest.mark.parametrize("way", ["client to server", "server to client"])
def test_a_packet_of_either_direction_restarts_the_idle_clock(three: Lab, way: str) -> None:
    with echoing(three, "server-a"):
        ask(three, [3001])
    three.advance(100)
    if way == "client to server":
        three.inject(udp=7, source_port=3001)
    else:
        three.inject(IP(dst="198.51.100.10") / UDP(sport=7, dport=3001) / b"x", source="server-a")
    three.advance(100)
    (flow,) = [flow for flow in three.flows() if flow.protocol == 17]
    assert 100 <= flow.idle_seconds < 115
    three.advance(21)
    assert not [flow for flow in three.flows() if flow.protocol == 17]


@pytest.mark.contract("FL-08")
def test_after_expiry_a_syn_starts_a_new_flow_and_other_segments_are_dropped_in_silence(three: Lab) -> None:
    with idle(three) as port, sniffed(three, "client", matching=f"tcp port {port}") as at_client:
        (old,) = [flow for flow in three.flows() if flow.protocol == 6]
        three.advance(351)
        (late,) = three.inject(tcp=80, flags="A", source_port=port)
        (fresh,) = three.inject(tcp=80, flags="S", source_port=port)
        (new,) = [flow for flow in three.flows() if flow.protocol == 6]
    assert (late.outcome, late.replies) == ("dropped", ())
    assert fresh.delivered_to == "server-a"
    assert (new.source_port, new.packets < old.packets) == (old.source_port, True)
    received = [IP(frame[14:]) for frame in at_client.frames]
    assert not [packet for packet in received if packet.src == "203.0.113.10" and packet[TCP].flags.R]


@pytest.mark.contract("FL-08")
def test_after_expiry_a_udp_datagram_starts_a_new_flow(three: Lab) -> None:
    with echoing(three, "server-a"):
        assert ask(three, [3001]) == {3001: "10"}
        three.advance(121)
        assert three.flows() == []
        assert ask(three, [3001]) == {3001: "10"}


@pytest.mark.contract("FL-09")
def test_a_reset_ends_a_flow_at_once_and_a_close_after_the_linger(three: Lab) -> None:
    assert curl(three) == 0
    three.wait_until(lambda: all(flow.expires_in_seconds <= 3 for flow in three.flows()), timeout=PATIENCE)
    three.advance(3)
    assert three.flows() == []
    three.exec("client", [sys.executable, "-c", CONNECT_AND_RESET])
    three.wait_until(lambda: three.flows() == [], timeout=PATIENCE)  # a connection that is open lives for 350 s


CONNECT_AND_RESET = """
import socket, struct
sock = socket.create_connection(("203.0.113.10", 80))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
sock.close()
"""


@pytest.mark.contract("FL-10")
def test_all_fragments_of_a_datagram_reach_one_appliance_and_the_server_gets_the_whole(three: Lab) -> None:
    with echoing(three, "server-a"):
        ask(three, [3000], size=4000)  # the server learns that the internet's MTU is 1500, by an ICMP error
        with all_sniffed(three) as seen:
            assert set(ask(three, range(3001, 3007), size=4000).values()) == {"4000"}
    appliances: dict[tuple[str, int], set[str]] = {}
    for name, each in seen.items():
        for packet in each.tunnelled():
            assert packet.inner.flags.MF or packet.inner.frag
            appliances.setdefault((packet.inner.src, packet.inner.id), set()).add(name)
    assert len(appliances) == 12
    assert all(len(names) == 1 for names in appliances.values())


@pytest.mark.contract("FL-11")
def test_an_icmp_error_is_a_flow_of_its_own_and_reaches_the_sender(three: Lab) -> None:
    with sniffed(three, "client", matching="icmp") as at_client:
        assert ask(three, [3001]) == {3001: "ConnectionRefusedError"}
    assert {flow.protocol for flow in three.flows()} == {17, 1}
    (error,) = [IP(frame[14:]) for frame in at_client.frames]
    assert (error[ICMP].type, error[ICMP].code, error[UDPerror].sport) == (3, 3, 3001)


@pytest.mark.contract("FL-11")
@pytest.mark.topology(world(dict.fromkeys(APPLIANCES, "a"), emulation={"icmp_errors": "parent"}), capture=False)
def test_with_the_switch_an_icmp_error_travels_in_the_flow_that_it_quotes(lab: Lab) -> None:
    with all_sniffed(lab) as seen:
        lab.inject(udp=7, source_port=3001)
        lab.inject(udp=7, source_port=3002)
    assert {flow.protocol for flow in lab.flows()} == {17}
    homes: dict[bytes, set[str]] = {}
    errors = 0
    for name, each in seen.items():
        for packet in each.tunnelled():
            homes.setdefault(packet.header, set()).add(name)
            errors += ICMP in packet.inner
    assert errors == 4  # two errors, to the appliance and back
    assert len(homes) == 2
    assert all(len(names) == 1 for names in homes.values())


@pytest.mark.contract("FL-12")
@pytest.mark.topology(world(targets=[]), capture=False)
def test_without_any_target_a_packet_is_dropped_and_its_flow_counted_as_rejected(lab: Lab) -> None:
    assert lab.inject(tcp=80)[0].outcome == "dropped"
    assert (lab.metric("RejectedFlowCount"), lab.metric("RejectedFlowCount_TCP")) == (1, 1)
    assert lab.inject(udp=7)[0].outcome == "dropped"
    assert (lab.metric("RejectedFlowCount"), lab.metric("RejectedFlowCount_TCP")) == (2, 1)
    assert lab.flows() == []


REUSE = """
import socket, struct, sys
for _ in range(10):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close is a RST
        sock.settimeout(30)
        sock.bind(("", 56000))
        sock.connect((sys.argv[1], 80))
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(sock.recv(12).decode())
"""


@pytest.mark.contract("FL-09")
@pytest.mark.topology(world({"fw-1": "a", "fw-2": "a"}), capture=False)
def test_a_port_that_is_used_again_right_behind_a_rst_is_a_new_flow_each_time(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", tcp=80) as trace:
        answers = lab.exec("client", [sys.executable, "-c", REUSE, "203.0.113.10"])
    assert answers.stdout.split("\n")[:-1] == ["HTTP/1.1 200"] * 10
    assert len({hop.cookie for hop in trace.hops if hop.verdict == "to-target"}) >= 10
