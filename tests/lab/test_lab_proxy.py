"""What a network load balancer's node does by a proxy: TLS, mutual TLS, proxy protocol. Judged by openssl and tshark."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.lab.engines import missing
from gwlbemu.lab.state import State
from tests.lab.fronts import ADDRESSES, PRIVATE, PUBLIC, QUICK, front
from tests.waiting import PATIENCE, wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(missing() is not None, reason="there is no HAProxy"),
]
TLS_BOTH, TLS_VERIFY, HEADER, WITHOUT_CLIENT, HEADER_PORT = 443, 444, 90, 91, 9000


def _listener(protocol: str, port: int, group: str, **more: object) -> dict[str, object]:
    return {
        "protocol": protocol, "port": port, "default_actions": [{"type": "forward", "target_group": group}], **more,
    }  # fmt: skip


def _group(name: str, port: int, targets: list[str], target_type: str = "instance", **attributes: object) -> object:
    return {
        "name": name, "vpc": "app", "protocol": "TCP", "port": port, "target_type": target_type,
        "health_check": dict(QUICK), "attributes": attributes, "targets": targets,
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
        (folder / f"{name}.both").write_text((folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text())
    return folder


@pytest.fixture(scope="module")
def lab(keys: Path) -> Iterator[Lab]:
    document = yaml.safe_load(front(lab="proxied"))
    document["target_groups"] += [
        _group("header", HEADER_PORT, ["web-a"], **{"proxy_protocol_v2.enabled": True}),
        _group("by-address", HEADER_PORT, [ADDRESSES["web-a"]], "ip", **{"proxy_protocol_v2.enabled": True}),
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
        yield lab


def _https(lab: Lab, port: int, *words: str, who: str = "client", address: str = PUBLIC["a"]) -> dict[str, Any] | int:
    done = lab.exec(who, ["curl", "-s", "-m", "20", *words, f"https://{address}:{port}/?json"])
    return dict(json.loads(done.stdout)) if done.code == 0 else done.code


@pytest.mark.contract("NL-09", "NL-03")
def test_a_tls_listener_terminates_and_the_target_sees_the_clients_address(lab: Lab) -> None:
    for who, addresses in (("client", PUBLIC), ("near", PRIVATE)):
        for address in addresses.values():
            wait_until(lambda who=who, address=address: isinstance(_https(lab, TLS_BOTH, "-k", who=who, address=address), dict))
            answer = _https(lab, TLS_BOTH, "-k", who=who, address=address)
            assert isinstance(answer, dict), answer
            assert answer["peer_address"] == ADDRESSES[who]
