"""Shortcuts change how a packet gets through a VPC, and nothing of what arrives, what is refused and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from gwlbemu import Lab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.topology import names
from tests.lab.oracles import sniffed
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.usefixtures("fast_path")]

VPC = """
lab: {lab}
offload: {offload}
shortcuts: {shortcuts}
capture: {{enabled: false}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    ipv6_cidr: 2001:db8:1::/56
    subnets:
      - {{name: left, zone: a, cidr: 10.0.1.0/24, ipv6_cidr: "2001:db8:1:1::/64", route_table: left}}
      - {{name: right, zone: a, cidr: 10.0.2.0/24, ipv6_cidr: "2001:db8:1:2::/64"}}
    route_tables:
      - {{name: left, routes: [{{destination: 0.0.0.0/0, target: far}}]}}
    security_groups:
      - {{name: guarded, ingress: [{{protocol: udp, source: 10.0.0.0/8}}]}}
    instances:
      - {{name: client, subnet: left, address: 10.0.1.10, source_dest_check: false}}
      - {{name: near, subnet: left, address: 10.0.1.11, source_dest_check: false}}
      - {{name: far, subnet: right, address: 10.0.2.10, source_dest_check: false}}
      - {{name: slow, subnet: right, address: 10.0.2.11, source_dest_check: false, rate_mbit: 10}}
      - {{name: guarded, subnet: right, address: 10.0.2.12, security_groups: [guarded]}}
      - {{name: other, subnet: right, address: 10.0.2.13}}
"""
ADDRESSES = {
    "far": "10.0.2.10", "slow": "10.0.2.11", "guarded": "10.0.2.12", "other": "10.0.2.13", "near": "10.0.1.11"
}  # fmt: skip
LEFT, FAR = "10.0.1.10", ADDRESSES["far"]
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind(("eth0", 0))
    for line in sys.stdin:
        sock.send(bytes.fromhex(line))
"""


def usual(destination: str = FAR) -> list[Packet]:
    ip = IP(src=LEFT, dst=destination)
    return [
        ip / UDP(sport=1, dport=7) / b"x",
        ip / TCP(sport=1, dport=7, flags="S"),
        ip / ICMP() / b"echo",
        IP(src=LEFT, dst=destination, tos=0xB8, ttl=3) / UDP(sport=1, dport=9) / b"last hop",
        ip / UDP(sport=1, dport=7) / bytes(8900),
        ip / UDP(sport=1, dport=6081) / b"like GENEVE",
    ]


def unusual() -> list[Packet]:
    ip = IP(src=LEFT, dst=FAR)
    return [
        IP(src=LEFT, dst=FAR, ttl=1) / UDP(sport=1, dport=7),  # time exceeded at the first router
        IP(src=LEFT, dst=FAR, ttl=2) / UDP(sport=1, dport=7),  # at the second
        *fragment(ip / UDP(sport=1, dport=7) / bytes(2000), 1000),
        IP(src=LEFT, dst=FAR, options=[IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])]) / UDP(sport=1, dport=7),
        IP(src=LEFT, dst="10.0.1.1") / ICMP() / b"the router itself",
        IP(src=LEFT, dst="192.0.2.1") / UDP(sport=1, dport=7),  # to the instance that the default route names
        IP(src=LEFT, dst="239.1.2.3") / UDP(sport=1, dport=7),
        IP(src=LEFT, dst="255.255.255.255") / UDP(sport=1, dport=7),
        IP(src=LEFT, dst="127.0.0.1") / UDP(sport=1, dport=7),
        IP(src=LEFT, dst=FAR, chksum=1) / UDP(sport=1, dport=7),
        IP(src=LEFT, dst="10.0.2.99") / UDP(sport=1, dport=7),  # nobody there
        IP(src="127.0.0.1", dst=FAR) / UDP(sport=1, dport=7),  # nobody's source
        ip / ICMP(type=0) / b"unasked",
    ]


def six() -> list[Packet]:
    ip = IPv6(src="2001:db8:1:1::a", dst="2001:db8:1:2::a")
    return [ip / UDP(sport=1, dport=7) / b"x", ip / ICMPv6EchoRequest(), ip / TCP(sport=1, dport=7, flags="A")]


TAKE = """
import hashlib, socket
with socket.create_server(("", 9000)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    with connection.makefile("rb") as stream:
        print(hashlib.file_digest(stream, "sha256").hexdigest(), flush=True)
"""
GIVE = """
import hashlib, os, socket, sys
data = os.urandom(1 << 20) * 16
with socket.create_connection((sys.argv[1], 9000), 3) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, int(sys.argv[2]))
    connection.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""


def vpc(name: str, *, shortcuts: bool = True, offload: bool = False) -> str:
    return VPC.format(lab=name, shortcuts=str(shortcuts).lower(), offload=str(offload).lower())


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Lab, Lab]]:
    """The same VPC with shortcuts and without."""
    with Lab(vpc("cut")) as short, Lab(vpc("walk", shortcuts=False)) as long:
        assert installed(short.running.state).reason == ""
        assert installed(long.running.state).namespaces == []
        yield short, long


def frame(packet: Packet, to: str = names.mac("left", "subnet")) -> Packet:
    return Ether(src=names.mac("client", "eth0"), dst=to) / packet


def send(lab: Lab, frames: Sequence[Packet]) -> None:
    lines = "\n".join(bytes(each).hex() for each in frames)
    assert lab.exec("client", [sys.executable, "-c", SEND], stdin=lines).code == 0


def outcome(lab: Lab, frames: Sequence[Packet], receiver: str) -> tuple[list[bytes], list[str]]:
    """Frames as they reach the receiver, and in words what the sender hears of it."""
    with (
        sniffed(lab, receiver, matching="-Q in ip or ip6") as there,
        sniffed(lab, "client", matching="-Q in ip or ip6") as here,
    ):
        send(lab, frames)
    heard = [Ether(each) for each in here.frames]
    words = [f"{each.summary()} ttl {getattr(each.payload, 'ttl', 0)}" for each in heard]
    return sorted(there.frames), sorted(words)


@pytest.mark.parametrize("receiver", ["far", "slow", "guarded", "near"])
def test_routed_packets_arrive_the_same_either_way(both: tuple[Lab, Lab], receiver: str) -> None:
    frames = [frame(packet) for packet in usual(ADDRESSES[receiver])]
    short, long = (outcome(lab, frames, receiver) for lab in both)
    assert short == long
    refused = 2 if receiver == "guarded" else 0  # a connection and an echo request that its group does not let in
    assert len(short[0]) == len(frames) - refused


def test_ipv6_packets_arrive_the_same_either_way(both: tuple[Lab, Lab]) -> None:
    short, long = (outcome(lab, [frame(packet) for packet in six()], "far") for lab in both)
    assert short == long
    assert [IPv6(each[14:]).hlim for each in short[0]] == [62, 62, 62]


def test_what_is_not_plain_is_treated_as_the_kernel_does(both: tuple[Lab, Lab]) -> None:
    plain = IP(src=LEFT, dst=FAR) / UDP(sport=1, dport=7)
    frames = [*(frame(packet) for packet in unusual()), frame(plain, "ff:ff:ff:ff:ff:ff"), frame(Dot1Q(vlan=7) / plain)]
    short, long = (outcome(lab, frames, "far") for lab in both)
    assert short == long
    assert sum("time-exceeded" in each for each in short[1]) == 2
    assert any("dest-unreach" in each for each in short[1])


def test_a_neighbour_on_the_same_subnet_gets_the_frame_as_it_was_sent(both: tuple[Lab, Lab]) -> None:
    frames = [frame(packet, names.mac("near", "eth0")) for packet in usual(ADDRESSES["near"])]
    for lab in both:
        assert outcome(lab, frames, "near")[0] == sorted(bytes(each) for each in frames)


def counters(lab: Lab, resource: str, device: str) -> dict[str, Any]:
    """What the kernel has counted at an interface."""
    words = ["ip", "-n", names.namespace(lab.name, resource), "-j", "-s", "link", "show", "dev", device]
    (link,) = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return dict(link["stats64"])


def walked(lab: Lab) -> int:
    """Frames that left the fabric by the port of the subnet `right`, as a bridge makes them leave."""
    return int(counters(lab, "app", "right")["tx"]["packets"])


def test_packets_do_not_walk_through_the_fabrics_bridge(both: tuple[Lab, Lab]) -> None:
    before = [walked(lab) for lab in both]
    for lab in both:
        send(lab, [frame(packet) for packet in usual()])
    assert [walked(lab) - count for lab, count in zip(both, before, strict=True)] == [0, 6]


def test_what_a_group_lets_in_takes_the_shortcut_and_what_needs_a_record_is_the_port_s(both: tuple[Lab, Lab]) -> None:
    def left_by_the_port(lab: Lab) -> int:
        return int(counters(lab, "right", "guarded")["tx"]["packets"])

    let_in = IP(src=LEFT, dst=ADDRESSES["guarded"]) / UDP(sport=1, dport=7) / b"x"
    answers = IP(src=LEFT, dst=ADDRESSES["guarded"]) / TCP(sport=7, dport=5000, flags="SA")
    asks = Ether(src=names.mac("guarded", "eth0"), dst=names.mac("right", "subnet"))
    asks /= IP(src=ADDRESSES["guarded"], dst=LEFT) / TCP(sport=5000, dport=7, flags="S")
    for lab, walks in zip(both, (0, 3), strict=True):
        before = left_by_the_port(lab)
        assert len(outcome(lab, [frame(let_in)] * 3, "guarded")[0]) == 3
        assert left_by_the_port(lab) - before == walks
        assert outcome(lab, [frame(answers)], "guarded")[0] == []
        assert lab.exec("guarded", [sys.executable, "-c", SEND], stdin=bytes(asks).hex()).code == 0
        before = left_by_the_port(lab)
        assert len(outcome(lab, [frame(answers)], "guarded")[0]) == 1
        assert left_by_the_port(lab) - before == 1


def test_a_pulled_cable_is_pulled_and_healing_brings_the_shortcut_back() -> None:
    with Lab(vpc("pull")) as lab:
        subnet = names.namespace("pull", "right")
        ping = ["ping", "-c", "3", "-i", "0.2", "-W", "1", FAR]
        assert subnet in installed(lab.running.state).namespaces
        lab.fail("link", "far")
        lab.fail("link", "slow")
        assert lab.exec("client", ping).code == 1
        assert lab.exec("client", [*ping[:-1], ADDRESSES["other"]]).code == 0
        lab.heal("link", "slow")
        assert subnet not in installed(lab.running.state).namespaces  # the other cable is still out
        assert lab.exec("client", ping).code == 1
        lab.heal("link", "far")
        assert subnet in installed(lab.running.state).namespaces
        assert lab.exec("client", ping).code == 0


def test_somebody_elses_filter_on_a_port_stays_through_failing_and_healing() -> None:
    with Lab(vpc("guest")) as lab:
        here = ["tc", "-n", names.namespace("guest", "right"), "filter"]
        own = ["protocol", "all", "prio", "7", "u32", "match", "u32", "0", "0xffffffff", "flowid", "1:1"]
        subprocess.run([*here, "add", "dev", "far", "ingress", *own], check=True)
        for change in (lab.fail, lab.heal):
            change("link", "far")
            shown = subprocess.run([*here, "show", "dev", "far", "ingress"], check=True, capture_output=True, text=True)
            assert "u32" in shown.stdout
            assert ("forward" in shown.stdout) is (change == lab.heal)


@pytest.mark.parametrize("segment", [1448, 8448])
def test_super_packets_take_the_shortcut_and_arrive_whole(segment: int) -> None:
    with Lab(vpc("whole", offload=True)) as lab:
        taking = lab.spawn("far", [sys.executable, "-c", TAKE])
        wait_until(lambda: "ready" in taking.output(), what="the server")
        given = lab.exec("client", [sys.executable, "-c", GIVE, FAR, str(segment)])
        wait_until(lambda: len(taking.output().split()) == 2, what="the last byte")
        taking.kill()
        assert taking.output().split()[1] == given.stdout.strip()
        assert walked(lab) == 0
        received = counters(lab, "far", "eth0")["rx"]
        assert received["bytes"] / received["packets"] > 2 * segment


@pytest.mark.topology(TOPOLOGIES / "transit-gateway.yaml", capture=False)
def test_a_transit_gateway_gets_8500_bytes_and_nothing_longer(lab: Lab) -> None:
    """Transit Gateway quotas: packets larger than 8500 bytes that arrive at the transit gateway are dropped."""
    here = names.namespace(lab.name, "tgw")
    (device,) = {
        end.name
        for link in lab.plan.links
        for end, other in ((link.a, link.b), (link.b, link.a))
        if end.namespace == here and other.namespace == names.namespace(lab.name, "left") and "-a" in other.name
    }
    with sniffed(lab, "tgw", device=device, matching="-Q in udp or ip[6:2] & 0x1fff != 0") as seen:
        for size in (8500, 8505, 8900):  # a veth has room for a VLAN tag, four bytes
            lab.inject(IP(dst="10.2.2.10") / UDP(sport=1, dport=7) / bytes(size - 28), source="client-a")
    assert [len(each) - 14 for each in seen.frames] == [8500]
