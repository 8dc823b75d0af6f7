"""What a network load balancer's node does by a proxy: TLS, mutual TLS, proxy protocol. tshark judges the bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from gwlbemu import Lab
from gwlbemu.lab.client import Client
from gwlbemu.lab.engines import missing
from gwlbemu.lab.running import open_lab
from gwlbemu.views.seen import read_seen
from gwlbemu.views.status import read_status
from tests.lab.fronts import ADDRESSES, PRIVATE, PUBLIC, ask, front
from tests.waiting import PATIENCE, wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(missing() is not None, reason="needs HAProxy"),
]
NODES = ("front-node-a", "front-node-b")
VERIFIED = ("--cacert", "/run/authority.pem")
HANDSHAKE = 35  # curl's exit code: no TLS
TLS_BOTH, TLS_VERIFY, HEADER, WITHOUT_CLIENT, HEADER_PORT = 443, 444, 90, 91, 9000


def _listener(protocol: str, port: int, group: str, **more: object) -> dict[str, object]:
    return {
        "protocol": protocol, "port": port, "default_actions": [{"type": "forward", "target_group": group}], **more,
    }  # fmt: skip


BY_ADDRESS = {"target_type": "ip"}


def _group(
    name: str, port: int, targets: list[str], attributes: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    return {
        "name": name, "vpc": "app", "protocol": "TCP", "port": port, "target_type": "instance",
        "health_check": {"protocol": "TCP", "port": 80, "interval_seconds": 5, "timeout_seconds": 2},
        "attributes": dict(attributes), "targets": targets,
    }  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of clients, a certificate by it and one that nobody has signed."""
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=clients")
    openssl("req", *new, "-keyout", "good.key", "-out", "good.csr", "-subj", "/CN=good")
    openssl("x509", "-req", "-in", "good.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "good.pem", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "wrong.key", "-out", "wrong.pem", "-days", "2", "-subj", "/CN=wrong")
    for name in ("good", "wrong"):
        (folder / f"{name}.both").write_text(
            (folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text()
        )
    return folder


@contextmanager
def _up(keys: Path, name: str) -> Iterator[Lab]:
    document = yaml.safe_load(front(lab=name))
    document["target_groups"] += [
        _group("header", HEADER_PORT, ["web-a"], {"proxy_protocol_v2.enabled": True}),
        _group("by-address", HEADER_PORT, [ADDRESSES["web-a"]], {"proxy_protocol_v2.enabled": True}) | BY_ADDRESS,
        _group("secure", 80, ["web-a", "web-b"]),
        _group("verified", 80, ["web-a"]),
    ]
    document["load_balancers"][0]["listeners"] += [
        _listener("TLS", TLS_BOTH, "secure", ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06"),
        _listener(
            "TLS", TLS_VERIFY, "verified", mutual_authentication={"mode": "verify", "trust_store": str(keys / "ca.pem")}
        ),
        _listener("TCP", HEADER, "header"),
        _listener("TCP", WITHOUT_CLIENT, "by-address"),
    ]
    with Lab(yaml.safe_dump(document), wait=PATIENCE) as lab:
        for node in NODES:
            wait_until(partial(_is_running, lab, node))
        yield lab


@pytest.fixture(scope="module")
def lab(keys: Path) -> Iterator[Lab]:
    with _up(keys, "proxied") as lab:
        yield lab


def _is_running(lab: Lab, node: str) -> bool:
    return bool(_ask(lab, node, "status")["proxy"] == "running")


def _ask(lab: Lab, node: str, verb: str, **arguments: Any) -> dict[str, Any]:
    return open_lab(lab.name).call(node, verb, **arguments)


def _https(lab: Lab, port: int, *words: str, who: str = "client", address: str = PUBLIC["a"]) -> dict[str, Any] | int:
    done = lab.exec(who, ["curl", "-s", "-m", "20", *words, f"https://{address}:{port}/?json"])
    return dict(json.loads(done.stdout)) if done.code == 0 else done.code


@pytest.mark.contract("NL-09", "NL-03")
@pytest.mark.parametrize(("who", "addresses"), [("client", PUBLIC), ("near", PRIVATE)])
def test_a_tls_listener_terminates_and_the_target_sees_the_clients_address(
    lab: Lab, who: str, addresses: dict[str, str]
) -> None:
    for address in addresses.values():
        answer = _https(lab, TLS_BOTH, *VERIFIED, who=who, address=address)
        assert isinstance(answer, dict), answer
        assert answer["peer_address"] == ADDRESSES[who]


@pytest.mark.contract("NL-09")
def test_a_security_policy_says_which_versions_of_tls_a_client_may_speak(lab: Lab) -> None:
    assert _https(lab, TLS_BOTH, *VERIFIED, "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0") == HANDSHAKE
    assert isinstance(_https(lab, TLS_BOTH, *VERIFIED, "--tlsv1.3"), dict)


@pytest.mark.contract("NL-14")
def test_mutual_tls_lets_in_who_has_a_certificate_of_the_trust_store_and_nobody_else(lab: Lab, keys: Path) -> None:
    before = _ask(lab, NODES[0], "metrics")["metrics"]["ClientTLSNegotiationErrorCount"]
    assert isinstance(_https(lab, TLS_VERIFY, *VERIFIED, "--cert", str(keys / "good.both")), dict)
    for words in ([], ["--cert", str(keys / "wrong.both")]):
        assert isinstance(_https(lab, TLS_VERIFY, *VERIFIED, *words), int)
    after = _ask(lab, NODES[0], "metrics")["metrics"]["ClientTLSNegotiationErrorCount"]
    assert after == before + 2


_TAKE = """
import socket, sys
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", int(sys.argv[1])))
    server.listen()
    print("ready", flush=True)
    while True:
        connection, peer = server.accept()
        with connection:
            data = b""
            while b"over" not in data and (more := connection.recv(65536)):
                data += more
            if data:
                print(peer[0], data.hex(), flush=True)
"""
_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as sock:
    sock.sendall(b"over")
    sock.settimeout(20)
    sock.recv(1)
    print(*sock.getsockname())
"""


@pytest.mark.contract("NL-04")
@pytest.mark.parametrize(("port", "is_kept"), [(HEADER, True), (WITHOUT_CLIENT, False)])
def test_the_header_of_proxy_protocol_2_stands_in_front_of_the_data(
    lab: Lab, port: int, is_kept: bool, tmp_path: Path
) -> None:
    server = lab.spawn("web-a", [sys.executable, "-c", _TAKE, str(HEADER_PORT)])
    try:
        wait_until(server.output)
        done = lab.exec("near", [sys.executable, "-c", _SEND, PRIVATE["a"], str(port)])
        address, source_port = done.stdout.split()
        lines = wait_until(lambda: server.output().splitlines()[1:], "the bytes at the target")
    finally:
        server.kill()
    peer, data = lines[0].split()
    assert peer == (address if is_kept else PRIVATE["a"])
    assert _as_tshark_reads(bytes.fromhex(data), tmp_path) == {
        "proxy.v2.cmd": "1",
        "proxy.v2.length": "12",
        "proxy.src.ipv4": address,
        "proxy.dst.ipv4": PRIVATE["a"],
        "proxy.srcport": source_port,
        "proxy.dstport": str(port),
    }
    assert bytes.fromhex(data)[16 + 12 :] == b"over"


def _as_tshark_reads(data: bytes, folder: Path) -> dict[str, str]:
    path = folder / "header.pcap"
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    tcp = TCP(sport=50000, dport=50001, flags="PA")
    wrpcap(str(path), link / IP(src="192.0.2.1", dst="192.0.2.2") / tcp / data)
    fields = (
        "proxy.v2.cmd", "proxy.v2.length", "proxy.src.ipv4", "proxy.dst.ipv4", "proxy.srcport", "proxy.dstport",
    )  # fmt: skip
    words = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(zip(fields, done.stdout.rstrip("\n").split("\t"), strict=True))


_WAIT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as sock:
    sock.sendall(b"x")
    try:
        sock.settimeout(None)
        sock.recv(1)
    except ConnectionResetError:
        pass
    print("end", flush=True)
"""
_HOLD = """
import socket, ssl, sys
context = ssl.create_default_context(cafile="/run/authority.pem")
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[1]) as sock:
        sock.sendall(b"GET /?json HTTP/1.1\\r\\nHost: x\\r\\n")
        print("open", flush=True)
        sock.settimeout(None)
        try:
            sock.recv(1)
        except OSError:
            pass
        print("end", flush=True)
"""


@pytest.mark.contract("NL-09")
def test_a_proxied_connection_is_among_the_flows_and_ends_when_its_idle_time_is_over(lab: Lab) -> None:
    client = lab.spawn("near", [sys.executable, "-c", _HOLD, PRIVATE["b"], str(TLS_BOTH)])
    try:
        wait_until(client.output)
        (flow,) = wait_until(lambda: _proxied(lab, NODES[1]), "the flow")
        assert (flow["listener"], flow["target_group"], flow["source"]) == ("TLS:443", "secure", ADDRESSES["near"])
        assert flow["target"] in ("web-a", "web-b")
        _ask(lab, NODES[1], "advance", seconds=200)
        assert len(_proxied(lab, NODES[1])) == 1
        assert _ask(lab, NODES[1], "advance", seconds=150)["count"] >= 1
        wait_until(lambda: "end" in client.output())
        assert _proxied(lab, NODES[1]) == []
    finally:
        client.kill()


def _proxied(lab: Lab, node: str) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while True:
        page = _ask(lab, node, "flows", limit=500, cursor=cursor)
        found += [flow for flow in page["flows"] if flow["state"] == "proxied"]
        cursor = page["cursor"]
        if not page["more"]:
            return found


@pytest.mark.contract("NL-16")
def test_a_deregistered_target_keeps_its_proxied_connections_and_gets_no_new_ones(lab: Lab) -> None:
    held: list[Client] = []
    try:
        while not held or {each["target"] for each in _proxied(lab, NODES[1])} != {"web-a", "web-b"}:
            held.append(lab.spawn("near", [sys.executable, "-c", _HOLD, PRIVATE["b"], str(TLS_BOTH)]))
            wait_until(held[-1].output)
            wait_until(lambda: len(_proxied(lab, NODES[1])) == len(held))
        lab.deregister("secure", "web-a")
        wait_until(lambda: _names_that_answer(lab) == {"web-b"})
        assert len(_proxied(lab, NODES[1])) == len(held)
    finally:
        for each in held:
            each.kill()
        lab.register("secure", "web-a")
    wait_until(lambda: _names_that_answer(lab) == {"web-a", "web-b"})


def _names_that_answer(lab: Lab) -> set[str]:
    answers = [_https(lab, TLS_BOTH, "-k", who="near", address=PRIVATE["b"]) for _ in range(12)]
    return {answer["name"] for answer in answers if isinstance(answer, dict)}


@pytest.mark.contract("NL-04", "NL-16")
def test_a_proxy_comes_when_an_attribute_needs_it_and_follows_its_targets() -> None:
    """In a lab of its own, since processes begin: a new target gets connections, and they end with it if so told."""
    with Lab(front(lab="later"), wait=PATIENCE) as later:
        assert [each.name for each in open_lab("later").processes() if each.name.endswith(".proxy")] == []
        later.set("only-a", {"proxy_protocol_v2.enabled": "true"})
        for node in NODES:
            wait_until(partial(_is_running, later, node))
        server = later.spawn("web-b", [sys.executable, "-c", _TAKE, "8080"])
        try:
            wait_until(server.output)
            later.register("only-a", "web-b:8080")
            later.deregister("only-a", "web-a")
            send = [sys.executable, "-c", _SEND, PRIVATE["a"], "81"]
            wait_until(lambda: later.exec("near", send).code == 0 and b"over".hex() in server.output())
            held = later.spawn("near", [sys.executable, "-c", _WAIT, PRIVATE["a"], "81"])
            try:
                wait_until(lambda: _proxied(later, NODES[0]), "the flow")
                later.set(
                    "only-a",
                    {
                        "deregistration_delay.connection_termination.enabled": "true",
                        "deregistration_delay.timeout_seconds": "0",
                    },
                )
                assert held.output() == ""
                later.deregister("only-a", "web-b:8080")
                wait_until(held.output, "the end of the connection")
            finally:
                held.kill()
        finally:
            server.kill()


def test_a_proxy_goes_when_nothing_needs_it_any_more_and_comes_again() -> None:
    def proxies() -> list[str]:
        return [each.name for each in open_lab("gone").processes() if each.name.endswith(".proxy")]

    with Lab(front(lab="gone"), wait=PATIENCE) as lab:
        for _ in range(2):
            lab.set("only-a", {"proxy_protocol_v2.enabled": "true"})
            for node in NODES:
                wait_until(partial(_is_running, lab, node))
            assert len(proxies()) == len(NODES)
            lab.set("only-a", {"proxy_protocol_v2.enabled": "false"})
            wait_until(lambda: not proxies(), "the end of the proxies")
            assert _ask(lab, NODES[0], "status")["proxy"] == ""
            assert read_status(open_lab(lab.name)).well
            served = ask(lab, "near", PRIVATE["a"], 81, seconds=5)
            assert isinstance(served, dict)
            assert served["name"] == "web-a"


@pytest.mark.contract("NL-09")
def test_a_proxy_that_was_killed_is_told_of_and_started_again_by_heal(keys: Path) -> None:
    name = f"{NODES[0]}.proxy"
    with _up(keys, "killed") as lab:
        (proxy,) = (each for each in open_lab(lab.name).processes() if each.name == name)
        os.kill(proxy.pid, signal.SIGKILL)
        wait_until(lambda: [each.state for each in open_lab(lab.name).processes() if each.name == name] == ["dead"])
        wait_until(lambda: _ask(lab, NODES[0], "status")["proxy"].startswith("does not answer"))
        status = read_status(open_lab(lab.name))
        assert [node.name for node in status.nodes if node.broken_proxy] == [NODES[0]]
        assert not status.well
        assert read_seen(open_lab(lab.name)).proxies[NODES[0]].startswith("does not answer")
        assert isinstance(_https(lab, TLS_BOTH, *VERIFIED), int)
        lab.heal("node", NODES[0])
        wait_until(partial(_is_running, lab, NODES[0]))
        assert isinstance(_https(lab, TLS_BOTH, *VERIFIED), dict)
