"""A dual-stack network load balancer: IPv6 clients of IPv4 targets, rules by IP version, AAAA records."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.lab.engines import missing
from gwlbemu.lab.running import open_lab
from gwlbemu.paths.values import Cause, Packet
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.names import load_balancer_dns_name
from tests.lab.fronts import ADDRESSES, BOTH, ECHO, ONLY_A, ONLY_B, PRIVATE, PUBLIC, ask, front
from tests.waiting import PATIENCE, wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(missing() is not None, reason="there is no HAProxy"),
]
IPV6 = {zone: f"2001:db8:1:10{number}::254" for number, zone in enumerate("ab", 1)}
CLIENTS = {"client": "2001:db8:2::10", "near": "2001:db8:1:1::20"}
NODE = "front-node-a"
TLS, HEADER, HELD, CLOSED, NO_LISTENER = 443, 90, 91, 8443, 89
HEADER_PORT = 9000
NO_ANSWER = 28  # curl's exit code: it waited in vain


def _rule(version: str, group: str) -> dict[str, Any]:
    condition = {"field": "source-ip", "source_ip_config": {"ip_address_type": version}}
    return {"priority": 5, "conditions": [condition], "actions": [{"type": "forward", "target_group": group}]}


def _listener(protocol: str, port: int, group: str) -> dict[str, Any]:
    return {"protocol": protocol, "port": port, "default_actions": [{"type": "forward", "target_group": group}]}


def dualstack() -> str:
    """`fronts.front` with IPv6 everywhere. Its group lets in all but CLOSED, its targets' group nobody else."""
    open_ports = [{"protocol": "tcp", "ports": "7-444", "source": each} for each in ("0.0.0.0/0", "::/0")]
    pings = [{"protocol": "icmpv6", "source": "::/0"}]
    groups = (
        {"name": "lb", "ingress": open_ports + pings},
        {"name": "web", "ingress": [{"protocol": "tcp", "ports": "1-65535", "source": "lb"}]},
    )
    members = {"front": ["lb"], "web-a": ["web"], "web-b": ["web"]}
    document = yaml.safe_load(front(lab="dualstack", security_groups=groups, members=members))
    document["internet"]["ipv6_cidr"] = "2001:db8:2::/64"
    document["internet"]["instances"][0]["ipv6_address"] = CLIENTS["client"]
    (vpc,) = document["vpcs"]
    vpc["ipv6_cidr"] = "2001:db8:1::/48"
    for subnet in vpc["subnets"]:
        subnet["ipv6_cidr"] = f"2001:db8:1:{subnet['cidr'].split('.')[2]}::/64"
    vpc["route_tables"][0]["routes"].append({"destination": "::/0", "target": "igw"})
    for instance in vpc["instances"]:
        if instance["name"] in CLIENTS:
            instance["ipv6_address"] = CLIENTS[instance["name"]]
    (balancer,) = document["load_balancers"]
    balancer["ip_address_type"] = "dualstack"
    for place, address in zip(balancer["subnets"], IPV6.values(), strict=True):
        place["ipv6_address"] = address
    listeners = {each["port"]: each for each in balancer["listeners"] if each["port"] != ECHO}
    listeners[ONLY_A]["rules"] = [_rule("ipv6", "only-b")]
    listeners[ONLY_B]["rules"] = [_rule("ipv4", "only-a")]
    added = [_listener("TLS", TLS, "only-a"), _listener("TCP", HEADER, "header")]
    added += [_listener("TCP", HELD, "only-a"), _listener("TCP", CLOSED, "only-a")]
    balancer["listeners"] = [*listeners.values(), *added]
    header = next(each for each in document["target_groups"] if each["name"] == "nobody")
    document["target_groups"] = [each for each in document["target_groups"] if each["name"] != "echo"]
    tcp = {"protocol": "TCP", "port": 80, "interval_seconds": 5, "timeout_seconds": 2}
    document["target_groups"].append(header | {"name": "inside", "port": 80})
    document["load_balancers"].append(
        {
            "name": "inner", "type": "network", "ip_address_type": "dualstack", "security_groups": ["lb"],
            "subnets": ["front-a"], "listeners": [_listener("TCP", BOTH, "inside")],
        }
    )  # fmt: skip
    document["target_groups"].append(
        header
        | {
            "name": "header",
            "port": HEADER_PORT,
            "health_check": tcp,
            "attributes": {"proxy_protocol_v2.enabled": True},
        }
    )
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(dualstack(), wait=PATIENCE) as lab:
        yield lab


def _call(lab: Lab, verb: str, **arguments: Any) -> dict[str, Any]:
    return open_lab(lab.name).call(NODE, verb, **arguments)


def _place(zone: str) -> str:
    return f"[{IPV6[zone]}]"


@pytest.mark.contract("NL-01", "NL-03")
@pytest.mark.parametrize("who", CLIENTS)
@pytest.mark.parametrize("zone", "ab")
def test_targets_see_the_nodes_ipv4_address_instead_of_an_ipv6_clients(lab: Lab, who: str, zone: str) -> None:
    answer = ask(lab, who, _place(zone), BOTH)
    assert isinstance(answer, dict), answer
    assert answer["peer_address"] == PRIVATE[zone]


@pytest.mark.contract("NL-03")
def test_an_ipv4_client_of_the_same_listener_is_kept(lab: Lab) -> None:
    for who, address in (("client", PUBLIC["a"]), ("near", PRIVATE["b"])):
        answer = ask(lab, who, address, BOTH)
        assert isinstance(answer, dict), answer
        assert answer["peer_address"] == ADDRESSES[who]


@pytest.mark.contract("NL-13")
@pytest.mark.parametrize(("port", "over_ipv4", "over_ipv6"), [(ONLY_A, "web-a", "web-b"), (ONLY_B, "web-a", "web-b")])
def test_a_rule_sends_clients_of_its_ip_version_to_its_own_group(
    lab: Lab, port: int, over_ipv4: str, over_ipv6: str
) -> None:
    for address, name in ((PUBLIC["a"], over_ipv4), (_place("a"), over_ipv6), (_place("b"), over_ipv6)):
        answer = ask(lab, "client", address, port)
        assert isinstance(answer, dict), answer
        assert answer["name"] == name


@pytest.mark.contract("NL-09")
def test_a_tls_listener_terminates_over_ipv6(lab: Lab) -> None:
    done = lab.exec(
        "client", ["curl", "-s", "-m", "20", "--cacert", "/run/authority.pem", f"https://{_place('b')}:{TLS}/?json"]
    )
    assert done.code == 0, done.code
    assert json.loads(done.stdout)["peer_address"] == PRIVATE["b"]


def test_an_internal_load_balancer_is_not_reached_from_the_internet(lab: Lab) -> None:
    (node,) = (each for each in lab.plan.network_nodes if each.load_balancer == "inner")
    answer = ask(lab, "near", f"[{node.ipv6_address}]", BOTH)
    assert isinstance(answer, dict), answer
    assert answer["peer_address"] == node.address
    assert ask(lab, "client", f"[{node.ipv6_address}]", BOTH, seconds=1) == NO_ANSWER
    assert _explained(lab, node.ipv6_address, BOTH) is Cause.NO_PUBLIC_ADDRESS


@pytest.mark.contract("NL-13")
def test_the_model_takes_rules_by_ip_version_and_follows_ipv6_through_the_proxy(lab: Lab) -> None:
    assert _explained(lab, PUBLIC["a"], ONLY_B) == "web-a"
    assert _explained(lab, IPV6["a"], ONLY_B) == NODE
    onward = exchange(Paths(lab.plan), Packet("client", IPV6["a"], destination_port=ONLY_B)).onward
    assert onward is not None
    assert (onward.target, onward.served) == ("web-b", True)
    assert onward.sees[0].startswith(f"source {PRIVATE['a']}, the node's")
    assert _explained(lab, IPV6["a"], NO_LISTENER) is Cause.NO_LISTENER


def _explained(lab: Lab, destination: str, port: int) -> str:
    """Why a SYN of the client ends before it arrives, or where it arrives."""
    end = exchange(Paths(lab.plan), Packet("client", destination, destination_port=port)).there.end
    return Cause(end.reason) if end.reason else end.at


_TAKE = """
import socket, sys
with socket.create_server(("", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    connection, peer = server.accept()
    with connection:
        data = b""
        while not data.endswith(b"over") and (more := connection.recv(65536)):
            data += more
        print(peer[0], data.hex(), flush=True)
"""
_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as sock:
    sock.sendall(b"over")
    sock.settimeout(20)
    sock.recv(1)
    print(sock.getsockname()[1])
"""


@pytest.mark.contract("NL-04")
def test_the_header_of_proxy_protocol_tells_the_ipv6_client(lab: Lab) -> None:
    server = lab.spawn("web-a", [sys.executable, "-c", _TAKE, str(HEADER_PORT)])
    try:
        wait_until(server.output)
        done = lab.exec("near", [sys.executable, "-c", _SEND, IPV6["a"], str(HEADER)])
        lines = wait_until(lambda: server.output().splitlines()[1:], "the bytes at the target")
    finally:
        server.kill()
    peer, data = lines[0].split()
    assert peer == PRIVATE["a"]
    # Signature, version 2 and PROXY, TCP over IPv6, length 36, addresses and ports (proxy-protocol.txt, 2.2).
    wanted = bytes.fromhex("0d0a0d0a000d0a515549540a2121") + (36).to_bytes(2, "big")
    wanted += _packed(CLIENTS["near"]) + _packed(IPV6["a"])
    wanted += int(done.stdout).to_bytes(2, "big") + HEADER.to_bytes(2, "big")
    assert bytes.fromhex(data) == wanted + b"over"


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


@pytest.mark.contract("NL-11")
@pytest.mark.parametrize("port", [NO_LISTENER, CLOSED])
def test_silence_where_no_listener_is_and_where_no_group_lets_in(lab: Lab, port: int) -> None:
    assert ask(lab, "near", _place("a"), port, seconds=1) == NO_ANSWER
    assert lab.exec("near", ["ping", "-6", "-c", "1", "-W", "1", IPV6["a"]]).code == 1


_LATE = """
import socket, struct, sys
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 16)
    sock.settimeout(float(sys.argv[3]))
    sock.sendto(struct.pack("!HHIIBBHHH", 40000, int(sys.argv[2]), 1, 1, 5 << 4, 0x10, 512, 0, 0), (sys.argv[1], 0))
    try:
        while True:
            segment = sock.recv(65535)
            if segment[:4] == struct.pack("!HH", int(sys.argv[2]), 40000):
                print("reset" if segment[13] & 4 else "answer")
                break
    except TimeoutError:
        print("silence")
"""


@pytest.mark.contract("NL-05")
def test_a_packet_of_no_connection_is_reset_at_a_listener_alone(lab: Lab) -> None:
    def said(port: int, seconds: float) -> str:
        return lab.exec("near", [sys.executable, "-c", _LATE, IPV6["a"], str(port), str(seconds)]).stdout.strip()

    before = _call(lab, "metrics")["metrics"]["TCP_ELB_Reset_Count"]
    assert said(BOTH, 20) == "reset"
    assert said(NO_LISTENER, 1) == "silence"
    assert _call(lab, "metrics")["metrics"]["TCP_ELB_Reset_Count"] == before + 1


_HOLD = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as sock:
    sock.settimeout(None)
    print("open", flush=True)
    sock.recv(1)
    print("end", flush=True)
"""


@pytest.mark.contract("NL-05")
def test_a_connection_over_ipv6_is_among_the_flows_and_has_its_listeners_idle_time(lab: Lab) -> None:
    client = lab.spawn("near", [sys.executable, "-c", _HOLD, IPV6["a"], str(HELD)])
    try:
        (flow,) = wait_until(lambda: _flows(lab), "the flow")
        assert (flow["listener"], flow["source"]) == (f"TCP:{HELD}", CLIENTS["near"])
        assert (flow["destination"], flow["target"]) == (IPV6["a"], "web-a")
        _call(lab, "advance", seconds=300)
        assert len(_flows(lab)) == 1
        _call(lab, "advance", seconds=60)
        wait_until(lambda: "end" in client.output())
    finally:
        client.kill()


def _flows(lab: Lab) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while True:
        page = _call(lab, "flows", limit=500, cursor=cursor)
        found += [flow for flow in page["flows"] if ":" in flow["source"] and flow["target"]]
        cursor = page["cursor"]
        if not page["more"]:
            return found


def test_the_table_for_ipv6_is_watched_and_repaired(lab: Lab) -> None:
    assert lab.exec(NODE, ["nft", "delete", "table", "ip6", "nlb"]).code == 0
    assert _call(lab, "status")["tables"] == "missing"
    _call(lab, "repair")
    assert _call(lab, "status")["tables"] == "intact"
    assert isinstance(ask(lab, "near", _place("a"), BOTH), dict)


@pytest.mark.contract("NL-15")
@pytest.mark.parametrize("who", CLIENTS)
def test_the_names_of_a_dualstack_load_balancer_have_aaaa_records(lab: Lab, who: str) -> None:
    def answered(name: str, kind: str) -> list[str]:
        done = lab.exec(who, ["dig", "+short", "+tries=1", "+time=5", name, kind])
        return sorted(done.stdout.split())

    name = load_balancer_dns_name("front")
    assert answered(name, "AAAA") == sorted(IPV6.values())
    assert answered(name, "A") == sorted(PUBLIC.values())
    assert answered(f"a.{name}", "AAAA") == [IPV6["a"]]
    done = lab.exec(who, ["curl", "-6", "-s", "-m", "20", f"http://{name}/?json"])
    assert done.code == 0, done.code
    assert json.loads(done.stdout)["peer_address"] in PRIVATE.values()
