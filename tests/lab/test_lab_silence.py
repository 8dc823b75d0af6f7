"""What a VPC does not answer: packets without a route, and packets that a gateway is not for."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from gwlbemu import Lab
from tests.lab.oracles import curl, sniffed
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace
FOUR, SIX = b"\x08\x00", b"\x86\xdd"

NETWORK = """
lab: silence
capture: {{enabled: false}}
shortcuts: {shortcuts}
internet:
  cidr: 198.51.100.0/24
  ipv6_cidr: 2001:db8:f::/64
  instances: [{{name: client, address: 198.51.100.10, ipv6_address: "2001:db8:f::10"}}]
vpcs:
  - name: app
    cidr: 10.1.0.0/16
    ipv6_cidr: 2001:db8:1::/56
    internet_gateway: {{name: igw}}
    subnets:
      - {{name: public, zone: a, cidr: 10.1.1.0/24, ipv6_cidr: "2001:db8:1:1::/64", route_table: public}}
      - {{name: lonely, zone: a, cidr: 10.1.2.0/24, ipv6_cidr: "2001:db8:1:2::/64"}}
    route_tables:
      - {{name: public, routes: [{{destination: 0.0.0.0/0, target: igw}}, {{destination: "::/0", target: igw}}]}}
    instances:
      - name: web
        subnet: public
        address: 10.1.1.10
        ipv6_address: "2001:db8:1:1::10"
        public_address: 203.0.113.10
      - {{name: hidden, subnet: public, address: 10.1.1.11}}
      - {{name: alone, subnet: lonely, address: 10.1.2.10, ipv6_address: "2001:db8:1:2::10"}}
  - name: spoke
    cidr: 10.2.0.0/16
    ipv6_cidr: 2001:db8:2::/56
    subnets: [{{name: lone, zone: a, cidr: 10.2.1.0/24, ipv6_cidr: "2001:db8:2:1::/64", route_table: out}}]
    route_tables:
      - {{name: out, routes: [{{destination: 0.0.0.0/0, target: tgw}}, {{destination: "::/0", target: tgw}}]}}
    instances: [{{name: foreign, subnet: lone, address: 10.2.1.10, ipv6_address: "2001:db8:2:1::10"}}]
transit_gateways:
  - name: tgw
    attachments:
      - {{name: to-spoke, vpc: spoke, subnets: [lone], route_table: spokes}}
      - {{name: to-app, vpc: app, subnets: [public], route_table: back}}
    route_tables:
      - name: spokes
        routes: [{{destination: 198.51.100.0/24, target: to-app}}, {{destination: "2001:db8:f::/64", target: to-app}}]
      - {{name: back, routes: []}}
"""


@pytest.fixture(scope="module", params=["true", "false"], ids=["shortcuts", "kernel"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if request.param == "true":
        request.getfixturevalue("fast_path")
    with Lab(NETWORK.format(shortcuts=request.param)) as lab:
        yield lab


@pytest.mark.parametrize(
    ("sender", "destination", "ttl"),
    [
        pytest.param("alone", "192.0.2.1", 64, id="no route in the subnet's table"),
        pytest.param("alone", "2001:db8:99::1", 64, id="no route in the subnet's table, IPv6"),
        pytest.param("foreign", "192.0.2.1", 64, id="no route in the transit gateway's table"),
        pytest.param("foreign", "2001:db8:99::1", 64, id="no route in the transit gateway's table, IPv6"),
        pytest.param("web", "192.0.2.1", 64, id="nobody on the internet"),
        pytest.param("web", "10.1.2.77", 64, id="nobody in the subnet"),
        pytest.param("hidden", "198.51.100.10", 64, id="a source without a public address"),
        pytest.param("hidden", "198.51.100.10", 2, id="a source without a public address, TTL over at the gateway"),
        pytest.param("foreign", "198.51.100.10", 64, id="a source of another VPC"),
        pytest.param("foreign", "2001:db8:f::10", 64, id="an IPv6 source of another VPC"),
        pytest.param("foreign", "2001:db8:f::10", 3, id="an IPv6 source of another VPC, TTL over at the gateway"),
    ],
)
def test_nothing_is_said_and_nothing_arrives(lab: Lab, sender: str, destination: str, ttl: int) -> None:
    sent = ["ping", "-c", "1", "-W", "4" if destination == "10.1.2.77" else "1", "-t", str(ttl), destination]
    with (
        sniffed(lab, sender, matching="icmp or icmp6") as said,
        sniffed(lab, "client", matching="icmp or icmp6") as arrived,
    ):
        assert lab.exec(sender, sent).code == 1
        assert lab.exec("web", ["ping", "-c", "1", "-W", str(PATIENCE), "198.51.100.10"]).code == 0
    errors = [one for one in said.frames if (one[34] in (3, 11) if one[12:14] == FOUR else one[54] < 128)]
    assert errors == []
    assert {IP(frame[14:]).src for frame in arrived.frames if frame[12:14] == FOUR} == {"203.0.113.10", "198.51.100.10"}
    assert {IPv6(frame[14:]).src for frame in arrived.frames if frame[12:14] == SIX and frame[54] == 128} == set()


def test_who_belongs_to_the_gateways_vpc_is_served(lab: Lab) -> None:
    assert lab.exec("web", ["ping", "-c", "1", "-W", str(PATIENCE), "2001:db8:f::10"]).code == 0
    assert lab.exec("client", ["ping", "-c", "1", "-W", str(PATIENCE), "203.0.113.10"]).code == 0


def test_that_a_packet_is_too_big_is_said(lab: Lab) -> None:
    too_big = lab.exec("web", ["ping", "-c", "1", "-W", str(PATIENCE), "-M", "do", "-s", "1600", "198.51.100.10"])
    assert "1500" in too_big.stdout + too_big.stderr


SEND_GRE = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 47) as sock:
    sock.sendto(bytes.fromhex("000088b5") + b"x", (sys.argv[1], 0))
"""


def test_a_nat_gateway_translates_tcp_udp_and_icmp_alone() -> None:
    with Lab(TOPOLOGIES / "egress-nat.yaml", capture=False) as lab, sniffed(lab, "server", matching="ip") as at_server:
        lab.exec("worker", [sys.executable, "-c", SEND_GRE, "198.51.100.20"])
        assert lab.exec("worker", ["ping", "-c", "1", "-W", str(PATIENCE), "198.51.100.20"]).code == 0
        assert curl(lab, "http://198.51.100.20/", client="worker", seconds=30) == 0
    assert {IP(frame[14:]).proto for frame in at_server.frames} == {1, 6}
