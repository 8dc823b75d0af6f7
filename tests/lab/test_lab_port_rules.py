"""What root in an instance can send and get with raw frames: its own. With shortcuts and without."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from gwlbemu import Lab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology import names
from gwlbemu.topology.plan import port_groups
from gwlbemu.views.port_drops import read_port_drops
from tests.waiting import wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.usefixtures("fast_path")]
VPC = """
lab: {lab}
shortcuts: {shortcuts}
capture: {{enabled: false}}
internet: {{cidr: 198.51.100.0/24, instances: [{{name: outside, address: 198.51.100.10}}]}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    ipv6_cidr: 2001:db8:1::/56
    internet_gateway: {{name: igw}}
    subnets:
      - {{name: left, zone: a, cidr: 10.0.1.0/24, ipv6_cidr: "2001:db8:1:1::/64", route_table: out}}
      - {{name: right, zone: a, cidr: 10.0.2.0/24, ipv6_cidr: "2001:db8:1:2::/64", route_table: out}}
    route_tables: [{{name: out, routes: [{{destination: 0.0.0.0/0, target: igw}}]}}]
    security_groups:
      - name: guarded
        ingress:
          - {{protocol: tcp, ports: 80, source: 0.0.0.0/0}}
          - {{protocol: udp, ports: 53, source: 0.0.0.0/0}}
          - {{protocol: udp, ports: 53, source: "::/0"}}
      - name: bound
        ingress: [{{protocol: udp, ports: 53, source: 0.0.0.0/0}}]
        egress: [{{protocol: udp, ports: 7, destination: 10.0.1.0/24}}]
    instances:
      - {{name: client, subnet: left, address: 10.0.1.10, public_address: 203.0.113.10}}
      - {{name: near, subnet: left, address: 10.0.1.11, public_address: 203.0.113.11}}
      - {{name: router, subnet: left, address: 10.0.1.12, source_dest_check: false}}
      - {{name: far, subnet: right, address: 10.0.2.10}}
      - {{name: guarded, subnet: right, address: 10.0.2.12, security_groups: [guarded]}}
      - {{name: bound, subnet: right, address: 10.0.2.13, security_groups: [bound]}}
"""
CLIENT, NEAR, ROUTER, FAR, GUARDED, BOUND = (
    "10.0.1.10", "10.0.1.11", "10.0.1.12", "10.0.2.10", "10.0.2.12", "10.0.2.13"
)  # fmt: skip
SIX = {"client": "2001:db8:1:1::a", "near": "2001:db8:1:1::b", "far": "2001:db8:1:2::a", "guarded": "2001:db8:1:2::c"}
OUTSIDE = "198.51.100.10"
SUBNET = {"client": "left", "near": "left", "router": "left", "far": "right", "guarded": "right", "bound": "right"}
MARK = b"marked"  # in every packet that a test sends
ALL = 3


@pytest.fixture(scope="module", params=["shortcuts", "bridges"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    wanted = request.param == "shortcuts"
    with Lab(VPC.format(lab=request.param, shortcuts=str(wanted).lower())) as up:
        assert bool(installed(up.running.state).namespaces) is wanted
        yield up


def mac(instance: str) -> str:
    return names.mac(instance, "eth0")


def to_router(instance: str, packet: Packet, source_mac: str = "") -> Packet:
    router = names.mac("internet", "internet") if instance == "outside" else names.mac(SUBNET[instance], "subnet")
    return Ether(src=source_mac or mac(instance), dst=router) / packet


@contextmanager
def raw(lab: Lab, instance: str, protocol: int = ALL) -> Iterator[socket.socket]:
    with inside(path_of(names.namespace(lab.name, instance))):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    with opened:
        opened.bind(("eth0", protocol))
        opened.setblocking(False)
        yield opened


def send(lab: Lab, instance: str, *frames: Packet) -> None:
    with raw(lab, instance, 0) as sender:
        for each in frames:
            sender.send(bytes(each))


def arrived(reader: socket.socket) -> list[bytes]:
    """Frames that came in and are a test's."""
    found: list[bytes] = []
    while True:
        try:
            frame, (_, _, kind, *_) = reader.recvfrom(1 << 16)
        except BlockingIOError:
            return found
        if kind != socket.PACKET_OUTGOING and MARK in frame:
            found.append(frame)


def dropped(lab: Lab) -> dict[tuple[str, str, str], int]:
    return {(each.instance, each.direction, each.reason): each.packets for each in read_port_drops(lab.running)}


def refused(lab: Lab, sender: str, receiver: str, frames: Sequence[Packet], by: str) -> None:
    """No frame comes in at the receiver; each is counted as `by` says: "INSTANCE DIRECTION REASON"."""
    who, direction, reason = by.split()
    before = dropped(lab).get((who, direction, reason), 0)
    with raw(lab, receiver) as reader:
        send(lab, sender, *frames)
        wait_until(lambda: dropped(lab).get((who, direction, reason), 0) >= before + len(frames), what=by)
        assert arrived(reader) == []
    assert dropped(lab)[who, direction, reason] == before + len(frames)


def taken(lab: Lab, sender: str, receiver: str, frames: Sequence[Packet]) -> list[bytes]:
    """Every frame comes in at the receiver."""
    before = dropped(lab)
    found: list[bytes] = []
    with raw(lab, receiver) as reader:
        send(lab, sender, *frames)

        def all_there() -> bool:
            found.extend(arrived(reader))
            return len(found) >= len(frames)

        wait_until(all_there, what=lambda: dropped(lab))
    assert dropped(lab) == before
    return found


def udp(source: str, destination: str, port: int = 9, size: int = 0) -> Packet:
    return IP(src=source, dst=destination) / UDP(sport=9, dport=port) / Raw(MARK + bytes(size))


def six(source: str, destination: str, port: int = 9) -> Packet:
    return IPv6(src=SIX[source], dst=SIX[destination]) / UDP(sport=9, dport=port) / Raw(MARK)


@pytest.mark.contract("EP-09")
@pytest.mark.parametrize("receiver", ["far", "near", "outside"])
def test_nobody_sends_as_somebody_else(lab: Lab, receiver: str) -> None:
    there = {"far": FAR, "near": NEAR, "outside": OUTSIDE}[receiver]
    packets = [udp(source, there) for source in (NEAR, "8.8.8.8", "0.0.0.0", "10.0.1.1")]
    frames = [to_router("client", packet) for packet in packets]
    if receiver == "near":
        frames += [Ether(src=mac("client"), dst=mac("near")) / packet for packet in packets]
    refused(lab, "client", receiver, frames, "client sent address")
    own = udp(CLIENT, there)
    stolen = [to_router("client", own, source_mac=each) for each in (mac("near"), mac("far"), "02:00:00:00:00:01")]
    refused(lab, "client", receiver, stolen, "client sent mac")
    assert taken(lab, "client", receiver, [to_router("client", own)])


def test_nobody_sends_as_somebody_else_by_ipv6(lab: Lab) -> None:
    frames = [to_router("client", six("near", "far")), Ether(src=mac("client"), dst=mac("near")) / six("far", "near")]
    for receiver in ("far", "near"):
        refused(lab, "client", receiver, frames, "client sent address")
        own = to_router("client", six("client", receiver))
        refused(lab, "client", receiver, [to_router("client", own.payload, mac("near"))], "client sent mac")
        assert taken(lab, "client", receiver, [own])


def test_the_internet_believes_no_source_either(lab: Lab) -> None:
    frames = [to_router("outside", udp(source, "203.0.113.10")) for source in ("8.8.8.8", "198.51.100.1")]
    refused(lab, "outside", "client", frames, "outside sent address")
    refused(lab, "outside", "client", [to_router("outside", frames[0].payload, mac("client"))], "outside sent mac")
    assert taken(lab, "outside", "client", [to_router("outside", udp(OUTSIDE, "203.0.113.10"))])


@pytest.mark.contract("EP-09")
def test_without_the_check_an_instance_forwards_but_keeps_its_mac(lab: Lab) -> None:
    foreign = udp("8.8.8.8", FAR)
    assert taken(lab, "router", "far", [to_router("router", foreign)])
    refused(lab, "router", "far", [to_router("router", foreign, mac("near"))], "router sent mac")
    assert taken(lab, "client", "router", [Ether(src=mac("client"), dst=mac("router")) / udp(CLIENT, "192.0.2.1")])


@pytest.mark.contract("EP-09")
def test_what_is_for_somebody_else_does_not_come_in(lab: Lab) -> None:
    frames = [Ether(src=mac("client"), dst=mac("near")) / udp(CLIENT, there) for there in (FAR, "8.8.8.8", ROUTER)]
    frames.append(Ether(src=mac("client"), dst=mac("near")) / six("client", "far"))
    refused(lab, "client", "near", frames, "near received address")


def test_nobody_tells_who_has_an_address_and_nothing_is_broadcast(lab: Lab) -> None:
    arp = ARP(op=2, psrc=NEAR, hwsrc=mac("client"), pdst=ROUTER, hwdst=mac("router")) / Raw(MARK)
    advertisement = IPv6(src=SIX["client"], dst=SIX["near"]) / ICMPv6ND_NA(tgt=SIX["near"]) / Raw(MARK)
    frames = [
        Ether(src=mac("client"), dst=mac("near")) / arp,
        Ether(src=mac("client"), dst="ff:ff:ff:ff:ff:ff") / arp,
        Ether(src=mac("client"), dst=mac("near")) / advertisement,
        Ether(src=mac("client"), dst="ff:ff:ff:ff:ff:ff") / udp(CLIENT, "10.0.1.255"),
        Ether(src=mac("client"), dst="01:00:5e:00:00:fb") / udp(CLIENT, "224.0.0.251"),
        Ether(src=mac("client"), dst="01:80:c2:00:00:0e") / udp(CLIENT, NEAR),
        Ether(src=mac("client"), dst=mac("near"), type=0x88CC) / Raw(MARK),
        Ether(src=mac("client"), dst=mac("near")) / Dot1Q(vlan=7) / udp(CLIENT, NEAR),
    ]
    refused(lab, "client", "near", frames, "client sent frame")


@pytest.mark.parametrize("receiver", ["near", "guarded"])
def test_lengths_that_contradict_each_other_go_nowhere(lab: Lab, receiver: str) -> None:
    there = {"near": NEAR, "guarded": GUARDED}[receiver]
    wrong: list[Callable[[], IP]] = [
        lambda: IP(src=CLIENT, dst=there, len=12, frag=1, proto=17),
        lambda: IP(src=CLIENT, dst=there, len=0, proto=17),
        lambda: IP(src=CLIENT, dst=there, len=9000, proto=17),
        lambda: IP(src=CLIENT, dst=there, ihl=4, proto=17),
        lambda: IP(src=CLIENT, dst=there, ihl=15, proto=17),
        lambda: IP(src=CLIENT, dst=there, version=6, proto=17),
    ]
    frames = [to_router("client", make() / UDP(sport=9, dport=53) / Raw(MARK)) for make in wrong]
    frames.append(to_router("client", IPv6(src=SIX["client"], dst=SIX[receiver], plen=500) / UDP(dport=53) / MARK))
    frames = [Ether(bytes(each)) for each in frames]
    if receiver == "near":
        frames += [Ether(src=mac("client"), dst=mac("near")) / Raw(bytes(each)[14:]) for each in frames]
        for each in frames[len(frames) // 2 :]:
            each.type = 0x86DD if bytes(each)[14:16] == b"\x60\x00" and len(bytes(each)) > 56 else 0x0800
    refused(lab, "client", receiver, frames, "client sent frame")


def test_a_group_sees_ports_where_they_are(lab: Lab) -> None:
    """IP options shift them, and a packet that ends before its transport header has none."""
    shifted = IP(src=CLIENT, dst=GUARDED, options=[IPOption_NOP()] * 4)
    assert taken(lab, "client", "guarded", [to_router("client", shifted / UDP(sport=9, dport=53) / Raw(MARK))])
    where_it_was = IP(src=CLIENT, dst=GUARDED, options=[IPOption_NOP()] * 4) / UDP(sport=9, dport=9) / Raw(MARK)
    padded = IP(src=CLIENT, dst=GUARDED, len=20, proto=17) / Raw(bytes([0, 9, 0, 53, 0, 0, 0, 0]) + MARK)
    frames = [to_router("client", each) for each in (where_it_was, padded)]
    # What lies behind a packet's own end is cut off by the router on the way.
    before = dropped(lab).get(("guarded", "received", "group"), 0)
    with raw(lab, "guarded") as reader:
        send(lab, "client", *frames)
        wait_until(lambda: dropped(lab).get(("guarded", "received", "group"), 0) >= before + len(frames))
        assert arrived(reader) == []


def fragments(port: int, number: int) -> list[Packet]:
    """Two fragments of one datagram."""
    whole = IP(src=CLIENT, dst=GUARDED, id=number) / UDP(sport=9, dport=port, chksum=0) / Raw(MARK * 300)
    return [to_router("client", each) for each in fragment(whole, 1200)]


def test_later_fragments_pass_with_their_first_and_not_without(lab: Lab) -> None:
    first, later = fragments(53, 7)
    refused(lab, "client", "guarded", [later], "guarded received group")
    assert len(taken(lab, "client", "guarded", [first, later])) == 2
    refused(lab, "client", "guarded", fragments(9, 8), "guarded received group")
    # The same number once more, now of a datagram that may not come in.
    refused(lab, "client", "guarded", fragments(9, 7), "guarded received group")
    overlapping = IP(src=CLIENT, dst=GUARDED, id=9, frag=1, proto=6) / Raw(bytes(24) + MARK)
    tiny = IP(src=CLIENT, dst=GUARDED, id=9, flags="MF", proto=6) / Raw(bytes([0, 9, 0, 80, 0, 0, 0, 0]))
    refused(lab, "client", "guarded", [to_router("client", each) for each in (tiny, overlapping)],
            "guarded received group")  # fmt: skip


def test_later_ipv6_fragments_pass_with_their_first_and_not_without(lab: Lab) -> None:
    def parts(port: int, number: int) -> list[Packet]:
        ip = IPv6(src=SIX["client"], dst=SIX["guarded"])
        first = ip / IPv6ExtHdrFragment(m=1, id=number, nh=17) / UDP(sport=9, dport=port, len=72) / Raw(MARK * 4)
        later = ip / IPv6ExtHdrFragment(offset=4, id=number, nh=17) / Raw(MARK * 4)
        return [to_router("client", each) for each in (first, later)]

    first, later = parts(53, 7)
    refused(lab, "client", "guarded", [later], "guarded received group")
    assert len(taken(lab, "client", "guarded", [first, later])) == 2
    refused(lab, "client", "guarded", [*parts(9, 8), *parts(9, 7)], "guarded received group")


def test_what_an_instance_began_comes_back_and_nothing_else_does(lab: Lab) -> None:
    answer = to_router("client", IP(src=CLIENT, dst=GUARDED) / UDP(sport=7, dport=5000) / Raw(MARK))
    echo = to_router("client", IP(src=CLIENT, dst=GUARDED) / ICMP(type=0, id=5) / Raw(MARK))
    unreachable = IP(src=CLIENT, dst=GUARDED) / ICMP(type=3, code=3)
    quoted = to_router("client", unreachable / IP(src=GUARDED, dst=CLIENT) / UDP(sport=5000, dport=7) / Raw(MARK))
    begins = to_router("client", IP(src=CLIENT, dst=GUARDED) / TCP(sport=7, dport=5000, flags="A") / Raw(MARK))
    strange = to_router("client", unreachable / IP(src=FAR, dst=CLIENT) / UDP(sport=5000, dport=7) / Raw(MARK))
    gre = to_router("client", IP(src=CLIENT, dst=GUARDED, proto=47) / Raw(MARK))
    refused(lab, "client", "guarded", [answer, echo, begins, strange, gre], "guarded received group")
    send(
        lab,
        "guarded",
        to_router("guarded", IP(src=GUARDED, dst=CLIENT) / UDP(sport=5000, dport=7) / Raw(b"ask")),
        to_router("guarded", IP(src=GUARDED, dst=CLIENT) / ICMP(type=8, id=5) / Raw(b"ask")),
    )
    assert len(taken(lab, "client", "guarded", [answer, echo, quoted])) == 3
    refused(lab, "client", "guarded", [begins, strange, gre], "guarded received group")


def test_egress_rules_bind_whoever_writes_frames_and_let_answers_out(lab: Lab) -> None:
    allowed = to_router("bound", udp(BOUND, CLIENT, 7))
    elsewhere = to_router("bound", udp(BOUND, CLIENT, 8))
    answer = to_router("bound", IP(src=BOUND, dst=CLIENT) / UDP(sport=53, dport=9) / Raw(MARK))
    refused(lab, "bound", "client", [elsewhere, answer], "bound sent group")
    assert taken(lab, "bound", "client", [allowed])
    assert taken(lab, "client", "bound", [to_router("client", udp(CLIENT, BOUND, 53))])
    assert taken(lab, "bound", "client", [answer])
    refused(lab, "bound", "client", [elsewhere], "bound sent group")


@pytest.mark.parametrize("shortcuts", ["true", "false"])
def test_a_flood_of_flows_fills_a_record_of_bounded_size_and_what_it_keeps_out_is_counted(
    monkeypatch: pytest.MonkeyPatch, shortcuts: str
) -> None:
    monkeypatch.setattr(port_groups, "_FLOWS", 8)
    with Lab(VPC.format(lab="full", shortcuts=shortcuts)) as lab:
        ports = range(5000, 5040)
        asked = IP(src=GUARDED, dst=CLIENT)
        with raw(lab, "client") as reader:
            asks = [to_router("guarded", asked / UDP(sport=port, dport=7) / Raw(MARK)) for port in ports]
            send(lab, "guarded", *asks)
            found: list[bytes] = []

            def all_left() -> bool:
                found.extend(arrived(reader))
                return len(found) == len(ports)

            wait_until(all_left)
        answers = [IP(src=CLIENT, dst=GUARDED) / UDP(sport=7, dport=port) / Raw(MARK) for port in ports]
        with raw(lab, "guarded") as reader:
            send(lab, "client", *(to_router("client", answer) for answer in answers))
            kept: list[bytes] = []

            def all_judged() -> bool:
                kept.extend(
                    each for each in arrived(reader) if IP(each[14:]).proto == 17
                )  # no error about what was asked
                return len(kept) + dropped(lab).get(("guarded", "received", "group"), 0) == len(ports)

            wait_until(all_judged, what=lambda: (len(kept), dropped(lab)))
        assert 0 < len(kept) <= 8
        assert taken(lab, "client", "guarded", [to_router("client", udp(CLIENT, GUARDED, 53))])  # needs no record


def test_connections_and_pings_of_every_kind_go_on_as_before(lab: Lab) -> None:
    before = dropped(lab)
    inside_vpc = [("client", FAR), ("guarded", CLIENT), ("guarded", SIX["client"]), ("client", SIX["far"])]
    for source, address in [*inside_vpc, ("near", CLIENT), ("outside", "203.0.113.10"), ("client", OUTSIDE)]:
        ping = ["ping", "-c", "1", "-W", "20", "-M", "dont", "-s", "9500", address]
        assert lab.exec(source, ping).code == 0, (source, address)
    server = lab.spawn("guarded", [sys.executable, "-c", "import http.server as h; h.test(port=80)"])
    try:
        ask = ["curl", "-s", "-o", "/dev/null", "-m", "20", f"http://{GUARDED}/"]
        wait_until(lambda: lab.exec("client", ask).code == 0, what="the server")
    finally:
        server.kill()
    assert dropped(lab) == before


def test_status_tells_what_ports_dropped(lab: Lab) -> None:
    send(lab, "far", to_router("far", udp("8.8.8.8", CLIENT)))
    wait_until(lambda: ("far", "sent", "address") in dropped(lab))
    shown = subprocess.run(
        [sys.executable, "-m", "gwlbemu", "status", "--lab", lab.name], capture_output=True, text=True, check=True
    )
    assert "port of far: dropped 1 sent: not the instance's own address" in shown.stdout
