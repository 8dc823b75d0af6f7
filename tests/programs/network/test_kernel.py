"""What the kernel of a node does with real packets, by the tables that the core and the keeper give it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gwlbemu.core.elb.health import TRAFFIC_PORT, HealthCheck
from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.settings import Settings
from gwlbemu.core.network.tables import NUMBER_MASK, Connection
from gwlbemu.wire.protocols import TCP, UDP
from tests.programs.network.nlb_bench import (
    CLIENT,
    NODE,
    PORT,
    Bench,
    balancer,
    bench,
    group,
    is_reset,
    listener,
    plain,
    target,
)
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
SYN, ACK = 0x02, 0x10
SETTINGS = Settings("web", "a", ("a", "b"), socket.inet_aton(NODE), seed=7)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def tuples(lab: Bench) -> dict[tuple[int, str, int, int], tuple[str, int, int]]:
    """Where each connection of the node went: (protocol, source, its port, port) -> (address, port, number)."""
    found = {}
    for entry in lab.entries():
        original, reply = entry.original, entry.reply
        key = entry.protocol, socket.inet_ntoa(original.source), original.source_port, original.destination_port
        found[key] = socket.inet_ntoa(reply.source), reply.source_port, entry.mark & NUMBER_MASK
    return found


@pytest.mark.contract("NL-02")
def test_the_kernel_chooses_what_the_core_says(lab: Bench) -> None:
    """Two levels, with and without stickiness of either, TCP by sequence number and UDP: not one connection differs."""
    told = balancer(
        (
            listener(("one", 3), ("two", 7)),
            listener(("one", 1), port=81),
            listener(("two", 1), ("one", 1), port=82, sticky=True),
            listener(("three", 1), port=83),
            listener(("both", 1), protocol="TCP_UDP", port=53),
        ),
        group("one", target(1), target(2)),
        group("two", target(1, 8080), target(2, 8080)),
        group("three", target(1, 9090), target(2, 9090), stickiness__enabled="true"),
        group("both", target(1, 53), target(2, 53), protocol="TCP_UDP"),
    )
    lab.start(told, initial_health_check_interval_seconds=None)
    lab.silence(1, 2)
    core = NetworkBalancer(SETTINGS, told, now=0.0)
    chance = random.Random(11)
    sent: dict[tuple[int, str, int, int], Connection] = {}
    packets = []
    for source_port in range(20000, 20400):
        port, sequence = chance.choice((80, 81, 82, 83, 53)), chance.getrandbits(32)
        source = f"10.7.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        packets.append(lab.raw(SYN, source_port, port, sequence, source))
        where = socket.inet_aton(source), source_port, socket.inet_aton(NODE), port
        sent[TCP, source, source_port, port] = Connection(TCP, *where, sequence)
    lab.ip("nlbnode", f"route add 10.7.0.0/16 via {CLIENT}")
    lab.send_raw(packets)
    for _ in range(100):
        sock = lab.open_socket("nlbclient", socket.SOCK_DGRAM)
        sock.sendto(b"?", (NODE, 53))
        source_port = sock.getsockname()[1]
        where = socket.inet_aton(CLIENT), source_port, socket.inet_aton(NODE), 53
        sent[UDP, CLIENT, source_port, 53] = Connection(UDP, *where)
    wait_until(lambda: len(tuples(lab)) == len(sent), lambda: f"{len(tuples(lab))} of {len(sent)}")
    took = {key: core.name_of(number) for key, (_, _, number) in tuples(lab).items()}
    assert took == {key: core.chosen(connection) for key, connection in sent.items()}
    assert set(took.values()) == {(name, each) for name in ("one", "two", "three", "both") for each in ("t1", "t2")}
    for key, (address, port, number) in tuples(lab).items():
        name, each = core.name_of(number)
        assert address == {"t1": "10.0.1.11", "t2": "10.0.1.12"}[each]
        assert port == {"one": 80, "two": 8080, "three": 9090, "both": 53}[name], key


@pytest.mark.contract("NL-05")
def test_late_packets_get_a_reset_and_a_port_without_listener_is_silent(lab: Bench) -> None:
    lab.serve(1)
    lab.start(plain(target(1)))
    lab.wait_for_states(t1="healthy")
    kept, idle = lab.connect(), lab.connect()
    assert {entry.timeout <= 350 for entry in lab.entries()} == {True}
    lab.ask("advance", seconds=200)
    kept.send(b"alive")  # begins its 350 seconds anew
    answer = lab.ask("advance", seconds=200)
    assert answer["count"] == 1
    (line,) = answer["ended"]
    assert f"port {idle.getsockname()[1]} -> {NODE} port 80, target t1" in line
    assert is_reset(idle)
    kept.send(b"still")
    # A data packet of no connection: reset, to a listener's port alone.
    probe = lab.open_socket("nlbclient", socket.SOCK_RAW, socket.IPPROTO_TCP)
    lab.send_raw([lab.raw(ACK, 30001, 81), lab.raw(SYN, 30002, 81), lab.raw(ACK, 30003, PORT)])
    while True:
        packet = probe.recv(100)[20:]
        port = int.from_bytes(packet[2:4], "big")
        assert port not in (30001, 30002), "an answer of a port without listener"
        if port == 30003:
            assert packet[13] & 0x04
            break
    assert lab.ask("metrics")["metrics"]["TCP_ELB_Reset_Count"] == 2


@pytest.mark.contract("NL-06")
def test_connections_of_an_unhealthy_target_are_reset_and_the_others_go_on(lab: Bench) -> None:
    servers = {1: lab.serve(1), 2: lab.serve(2)}
    lab.start(plain(target(1), target(2)))
    lab.wait_for_states(t1="healthy", t2="healthy")
    clients = {sock.getsockname()[1]: sock for sock in (lab.connect() for _ in range(40))}
    before = {key[2]: place[0] for key, place in tuples(lab).items()}
    on_first = sorted(port for port, address in before.items() if address == "10.0.1.11")
    assert 0 < len(on_first) < 40
    accepted = lab.accept(servers[1], len(on_first))
    assert sorted(accepted) == on_first  # NL-03: the client's address and port
    servers[1].close()
    wait_until(lambda: (lab.ask("advance", seconds=5), lab.states()["t1"] == "unhealthy")[1])
    assert lab.states() == {"t1": "unhealthy", "t2": "healthy"}
    assert is_reset(accepted[on_first[0]])  # the target's end, if it speaks first
    for port, sock in clients.items():
        if before[port] == "10.0.1.11":
            assert is_reset(sock)
        else:
            sock.send(b"x")
    assert lab.ask("metrics")["metrics"]["TCP_ELB_Reset_Count"] == len(on_first) + 1
    assert {place[0] for place in tuples(lab).values()} == {"10.0.1.12"}
    for _ in range(20):
        lab.connect().close()
    assert {place[0] for place in tuples(lab).values()} == {"10.0.1.12"}


@pytest.mark.contract("NL-06")
def test_a_health_check_asks_at_the_targets_own_port_and_names_the_node(lab: Bench) -> None:
    server = lab.serve(1, 8080)
    check = HealthCheck("HTTP", TRAFFIC_PORT, "/ok", 5, 2, 2, 2)
    told = replace(group("web", target(1, 8080)), health_check=check)
    lab.start(balancer((listener(("web", 1)),), told))
    for status, state in ((b"200 OK", "healthy"), (b"503 No", "unhealthy")):
        for _ in range(2):
            lab.ask("advance", seconds=5)
            connection, peer = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                request = connection.recv(1000)
                connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
            assert peer[0] == NODE
            assert request.startswith(b"GET /ok HTTP/1.1\r\n")
            assert b"\r\nHost: 10.0.9.10:80\r\n" in request
        lab.wait_for_states(t1=state)
    (told_target,) = lab.ask("targets")["targets"]
    assert told_target["reason"] == "Target.ResponseCodeMismatch"


@pytest.mark.contract("NL-06")
def test_without_termination_connections_of_an_unhealthy_target_stay(lab: Bench) -> None:
    servers = {1: lab.serve(1), 2: lab.serve(2)}
    keys = {
        "target_health_state__unhealthy__connection_termination__enabled": "false",
        "target_health_state__unhealthy__draining_interval_seconds": "1000",
    }
    lab.start(plain(target(1), target(2), **keys))
    lab.wait_for_states(t1="healthy", t2="healthy")
    for _ in range(20):
        lab.connect()
    before = {key[2]: place[0] for key, place in tuples(lab).items()}
    on_first = {port for port, address in before.items() if address == "10.0.1.11"}
    lab.accept(servers[1], len(on_first))
    servers[1].close()
    wait_until(lambda: (lab.ask("advance", seconds=5), lab.states()["t1"] == "unhealthy.draining")[1])
    assert {lab.connect() for _ in range(20)}
    places = {key[2]: place[0] for key, place in tuples(lab).items()}
    assert {port for port, address in places.items() if address == "10.0.1.11"} == on_first != set()
    assert before.items() <= places.items()


@pytest.mark.contract("NL-07")
def test_with_no_healthy_target_the_node_fails_open(lab: Bench) -> None:
    servers = {1: lab.serve(1, 8080), 2: lab.serve(2, 8080)}
    lab.start(plain(target(1, 8080), target(2, 8080)))  # probed at port 80, where nobody listens
    lab.wait_for_states(t1="unhealthy", t2="unhealthy")
    assert lab.ask("status")["failing_open"] == ["web"]
    socks = [lab.connect() for _ in range(30)]
    assert {place[:2] for place in tuples(lab).values()} == {("10.0.1.11", 8080), ("10.0.1.12", 8080)}
    for sock in socks:
        sock.send(b"x")
    servers[1].close()


@pytest.mark.contract("NL-12")
def test_weights_are_shares_of_new_connections(lab: Bench) -> None:
    lab.start(
        balancer(
            (listener(("blue", 90), ("green", 10)), listener(("blue", 0), ("green", 5), port=81)),
            group("blue", target(1)),
            group("green", target(2)),
        )
    )
    lab.silence(1, 2)
    lab.send_raw([lab.raw(SYN, 20000 + n, 80 + n % 2, n * 7919) for n in range(2000)])
    wait_until(lambda: len(tuples(lab)) == 2000)
    went = [(key[3], place[0]) for key, place in tuples(lab).items()]
    assert 800 < went.count((80, "10.0.1.11")) < 980
    assert (81, "10.0.1.11") not in went


@pytest.mark.contract("NL-16")
@pytest.mark.parametrize("terminate", [False, True])
def test_a_deregistered_target_drains_and_then_keeps_or_ends_its_connections(lab: Bench, terminate: bool) -> None:
    lab.serve(1)
    lab.serve(2)
    keys = {"deregistration_delay__connection_termination__enabled": str(terminate).lower()}
    both, one = plain(target(1), target(2), **keys), plain(target(2), **keys)
    lab.start(both)
    lab.wait_for_states(t1="healthy", t2="healthy")
    socks = [lab.connect() for _ in range(30)]
    before = {key[2]: place[0] for key, place in tuples(lab).items()}
    lab.configure(one)
    assert lab.states() == {"t1": "draining", "t2": "healthy"}
    fresh = [lab.connect() for _ in range(10)]
    after = {key[2]: place[0] for key, place in tuples(lab).items()}
    assert {after[sock.getsockname()[1]] for sock in fresh} == {"10.0.1.12"}
    assert before.items() <= after.items()
    lab.ask("advance", seconds=299)
    assert lab.states() == {"t1": "draining", "t2": "healthy"}
    assert before.items() <= {key[2]: place[0] for key, place in tuples(lab).items()}.items()
    lab.ask("advance", seconds=2)
    lab.wait_for_states(t2="healthy")
    on_first = [sock for sock in socks if before[sock.getsockname()[1]] == "10.0.1.11"]
    assert on_first
    if terminate:
        assert all(is_reset(sock) for sock in on_first)
    else:
        for sock in on_first:
            sock.send(b"x")
        there = {key[2]: place[0] for key, place in tuples(lab).items()}
        assert all(there[sock.getsockname()[1]] == "10.0.1.11" for sock in on_first)


@pytest.mark.contract("NL-18")
def test_without_the_clients_address_a_target_has_55000_connections(lab: Bench) -> None:
    server = lab.serve(1)
    lab.start(plain(target(1), target_type="ip"))
    lab.wait_for_states(t1="healthy")
    with lab.connect():
        (entry,) = lab.entries()
        assert socket.inet_ntoa(entry.reply.destination) == NODE
        assert 10536 <= entry.reply.destination_port <= 65535
        while entry.reply.destination_port not in lab.accept(server, 1, NODE):
            pass
    server.close()
    lab.silence(1)
    lab.ip("nlbnode", f"route add 10.7.0.0/16 via {CLIENT}")
    lab.send_raw([lab.raw(SYN, 1024 + n % 60000, PORT, n, f"10.7.0.{1 + n // 60000}") for n in range(60_000)])
    metrics = lab.ask("metrics")["metrics"]
    assert 54_000 < metrics["ActiveFlowCount"] <= 55_000
    assert metrics["PortAllocationErrorCount"] > 0


@pytest.mark.contract("NL-05")
def test_udp_idles_for_120_seconds(lab: Bench) -> None:
    server = lab.open_socket("nlbt1", socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    told = group("dns", target(1, 53), protocol="UDP")
    lab.start(balancer((listener(("dns", 1), protocol="UDP", port=53),), told))
    client = lab.open_socket("nlbclient", socket.SOCK_DGRAM)
    client.sendto(b"?", (NODE, 53))
    data, peer = server.recvfrom(10)
    assert (data, peer[0], peer[1]) == (b"?", CLIENT, client.getsockname()[1])
    server.sendto(b"!", peer)
    assert client.recvfrom(10) == (b"!", (NODE, 53))
    (entry,) = lab.entries()
    assert 110 < entry.timeout <= 120
    assert lab.ask("advance", seconds=100)["count"] == 0
    assert lab.ask("advance", seconds=21)["count"] == 1
    assert lab.entries() == []


def test_what_somebody_did_to_the_tables_is_seen_and_repaired(lab: Bench) -> None:
    lab.serve(1)
    lab.start(plain(target(1)))
    lab.wait_for_states(t1="healthy")
    sock = lab.connect()
    assert lab.ask("status")["tables"] == "intact"
    lab.nft("add", "table", "ip", "mine")
    assert lab.ask("status")["tables"] == "intact"
    lab.nft("flush", "chain", "ip", "nlb", "marks")
    assert lab.ask("status")["tables"] == "altered"
    lab.ask("repair")
    assert lab.ask("status")["tables"] == "intact"
    lab.nft("flush", "ruleset")
    assert lab.ask("status")["tables"] == "missing"
    lab.ask("repair")
    assert lab.ask("status")["tables"] == "intact"
    assert lab.entries() == []  # which of them were reset meanwhile nobody knows
    sock.send(b"x")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    lab.connect()
    assert lab.ask("status")["faults"] == {}


def test_a_keeper_that_gave_up_its_rights_keeps_the_tables() -> None:
    with TemporaryDirectory(dir="/run") as folder, bench(Path(folder)) as lab:
        lab.serve(1)
        lab.start(plain(target(1)), user=54321)
        lab.wait_for_states(t1="healthy")
        lab.connect()
        lab.configure(plain(target(1), target(2)))
        lab.nft("flush", "ruleset")
        lab.ask("repair")
        lab.ask("advance", seconds=400)
        status = lab.ask("status")
        assert status["tables"] == "intact"
        assert status["faults"] == {}
        assert lab.entries() == []


def test_listeners_groups_and_targets_come_and_go_while_connections_stay(lab: Bench) -> None:
    lab.serve(1)
    lab.serve(2)
    one = plain(target(1))
    lab.start(one)
    lab.wait_for_states(t1="healthy")
    kept = lab.connect()
    two = group("other", target(2, 80), protocol="TCP_UDP")
    lab.configure(
        balancer((listener(("web", 1), ("other", 1), idle=60), listener(("other", 1), protocol="TCP_UDP", port=53)),
                 group("web", target(1)), two)
    )  # fmt: skip
    for _ in range(20):
        lab.connect()
    assert {place[0] for place in tuples(lab).values()} == {"10.0.1.11", "10.0.1.12"}
    assert sorted({350 - entry.timeout < 100 for entry in lab.entries()}) == [False, True]  # 60 of new ones alone
    lab.configure(one)
    rules = lab.nft("list", "table", "ip", "nlb")
    assert "listener_tcp_80" in rules
    assert "listener_udp_53" not in rules
    assert "group_2_tcp" not in rules
    assert "to_2" not in rules
    kept.send(b"x")
    status = lab.ask("status")
    assert (status["tables"], status["faults"]) == ("intact", {})


def test_a_new_keeper_takes_the_connections_of_the_one_before(lab: Bench) -> None:
    first, second = lab.serve(1), lab.serve(2)
    lab.start(plain(target(1), target(2)))
    lab.wait_for_states(t1="healthy", t2="healthy")
    clients = {sock.getsockname()[1]: sock for sock in (lab.connect() for _ in range(30))}
    before = {key[2]: place for key, place in tuples(lab).items()}
    on_second = [port for port, place in before.items() if place[0] == "10.0.1.12"]
    accepted = lab.accept(second, len(on_second))
    lab.stop()
    lab.start(plain(target(2), target(3)))  # t1 is no longer there, and t2 has another number
    after = {key[2]: place for key, place in tuples(lab).items()}
    assert after == dict.fromkeys(on_second, ("10.0.1.12", PORT, 1))
    assert {each["id"]: each["flows"] for each in lab.ask("targets")["targets"]} == {"t2": len(on_second), "t3": 0}
    for port, sock in clients.items():
        if port in accepted:
            sock.send(b"x")
            assert accepted[port].recv(1) == b"x"
        else:
            assert is_reset(sock)
    first.close()


def test_flows_come_in_pages_and_each_once(lab: Bench) -> None:
    lab.serve(1)
    lab.serve(2)
    lab.start(plain(target(1), target(2)))
    lab.wait_for_states(t1="healthy", t2="healthy")
    ports = [lab.connect().getsockname()[1] for _ in range(7)]
    for newest, expected in ((False, ports), (True, ports[::-1])):
        seen, cursor, more = [], "", True
        while more:
            answer = lab.ask("flows", limit=3, cursor=cursor, newest=newest)
            assert len(answer["flows"]) <= 3
            seen += [flow["source_port"] for flow in answer["flows"]]
            cursor, more = answer["cursor"], answer["more"]
        assert seen == expected
    flow = lab.ask("flows", limit=1)["flows"][0]
    assert {key: flow[key] for key in ("listener", "target_group", "protocol", "source", "destination", "state")} == {
        "listener": "TCP:80", "target_group": "web", "protocol": "tcp", "source": CLIENT, "destination": NODE,
        "state": "established",
    }  # fmt: skip
    targets = lab.ask("targets")["targets"]
    assert sum(each["flows"] for each in targets) == 7
    assert sum(each["packets_to"] for each in targets) == 14  # SYN and ACK
    assert lab.ask("metrics")["metrics"]["NewFlowCount_TCP"] == 7
