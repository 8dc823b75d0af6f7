"""An application load balancer as the target of a network load balancer, on real packets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gwlbemu.paths.values import Packet
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.public import Lab
from tests.lab.albs import ADDRESSES, APPLICATION, NETWORK, OWN, PUBLIC, WEB, behind

pytestmark = pytest.mark.namespace
# What somebody would write who lets only the load balancers' groups in.
GROUPS: tuple[dict[str, Any], ...] = (
    {"name": "lb", "ingress": [{"protocol": "tcp", "ports": "80-81", "source": "0.0.0.0/0"}]},
    {"name": "alb", "ingress": [{"protocol": "tcp", "ports": "80-81", "source": "lb"}]},
    {"name": "servers", "ingress": [{"protocol": "tcp", "ports": 80, "source": "alb"}]},
)
MEMBERS = {"front": ["lb"], "web": ["alb"], "web-a": ["servers"], "web-b": ["servers"]}


@pytest.fixture(scope="module", params=["plain", "security groups", "no shortcuts"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    grouped = request.param == "security groups"
    text = behind(
        security_groups=GROUPS if grouped else (),
        members=MEMBERS if grouped else None,
        shortcuts=request.param != "no shortcuts",
    )
    with Lab(text) as made:
        yield made


def asked(lab: Lab, who: str, url: str) -> dict[str, Any]:
    done = lab.exec(who, ["curl", "-s", "-m", "20", url])
    assert done.code == 0, (done.code, done.stderr)
    return dict(json.loads(done.stdout))


def place(who: str, zone: str) -> str:
    return (PUBLIC if who == "client" else NETWORK)[zone]


def header(answer: dict[str, Any], name: str) -> str:
    return next((value for key, value in answer["headers"].items() if key.lower() == name.lower()), "")


@pytest.mark.contract("NL-10", "AL-01")
@pytest.mark.parametrize("zone", "ab")
@pytest.mark.parametrize("who", ["client", "near"])
def test_the_clients_address_arrives_in_x_forwarded_for(lab: Lab, who: str, zone: str) -> None:
    met = set()
    for _ in range(6):
        answer = asked(lab, who, f"http://{place(who, zone)}:{WEB}/?json")
        assert header(answer, "X-Forwarded-For") == ADDRESSES[who]
        assert answer["peer_address"] in APPLICATION.values()
        met.add(answer["name"])
    assert met <= {"web-a", "web-b"}


@pytest.mark.contract("NL-10")
def test_a_server_may_be_the_client_of_both_load_balancers_in_front_of_it(lab: Lab) -> None:
    """What it asks comes back to it with the address of a node, whatever the network load balancer keeps."""
    answer = asked(lab, "web-a", f"http://{NETWORK['b']}:{OWN}/?json")
    assert (answer["name"], header(answer, "X-Forwarded-For")) == ("web-a", ADDRESSES["web-a"])


@pytest.mark.contract("NL-10", "NL-06")
def test_its_nodes_are_targets_that_are_probed_by_http(lab: Lab) -> None:
    seen = {(each.node, each.id, each.state) for each in lab.targets() if each.node.startswith("front-node-")}
    assert seen == {
        (f"front-node-{node}", f"web-node-{target}", "healthy") for node in "ab" for target in "ab"
    }  # fmt: skip


def test_large_answers_come_back_whole(lab: Lab) -> None:
    done = lab.exec(
        "client", ["sh", "-c", f"curl -s -m 60 http://{PUBLIC['a']}:{OWN}/bytes/5000000 | wc -c"], timeout=90
    )
    assert done.stdout.strip() == "5000000"


def test_the_model_says_so(lab: Lab) -> None:
    for who in ("client", "near"):
        found = exchange(Paths(lab.plan), Packet(who, place(who, "b"), destination_port=WEB))
        assert found.served
        ways = [one for one in found.possible if one.onward]
        assert {one.there.end.at for one in ways} == {"web-node-a", "web-node-b"}
        assert {one.there.packet.source for one in ways} == {ADDRESSES[who]}
        assert {one.onward.target for one in ways if one.onward} == {"web-a", "web-b"}
        assert {one.onward.sees[1].split()[1] for one in ways if one.onward} == {ADDRESSES[who] + ","}


_PROBE = """
import socket, sys
with socket.socket() as sock:
    sock.settimeout(float(sys.argv[3]))
    try:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        print("connected")
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_node_says_nothing_at_a_port_without_a_listener(lab: Lab) -> None:
    def at(port: int, seconds: float) -> str:
        words = [sys.executable, "-c", _PROBE, APPLICATION["a"], str(port), str(seconds)]
        return lab.exec("near", words).stdout.strip()

    assert at(8080, 1) == "TimeoutError"
    grouped = any(each.security_groups for each in lab.plan.load_balancers)
    assert at(WEB, 20 if not grouped else 1) == ("TimeoutError" if grouped else "connected")
