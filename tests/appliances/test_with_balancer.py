"""The appliances behind the real balancer, joined by memory ports: what it makes of each way of returning a packet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet

from appliances.action import Action, Answer
from appliances.broken.modes import MODES, Situation
from appliances.firewall.judge import Judge
from appliances.firewall.rules import parse
from appliances.frames import Decide, FrameLoop
from appliances.tunnel import Received
from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint, ToTarget, Verdict
from gwlbemu.ports.memory import pair
from gwlbemu.ports.port import Port
from tests.appliances.appliance_helpers import APPLIANCE, CLIENT, ENDPOINT, NODE, SERVER
from tests.ports.faulty import Faulty

ETHERNET = bytes.fromhex("0200000000020200000000010800")
SYN = IP(src=CLIENT, dst=SERVER, id=1) / TCP(sport=40000, dport=80, flags="S", seq=100)
DROPS = [reason for reason in Reason if reason.value.startswith("PacketsDroppedCount_")]


class Lab:
    """One balancer, one target, and the appliance that `decide` is."""

    def __init__(self, decide: Decide, line: Callable[[Port], Port] = lambda port: port) -> None:
        ours, self._theirs = pair()
        self.ours = line(ours)
        settings = Settings(
            load_balancer="firewall",
            zone="a",
            node_address=socket.inet_aton(NODE),
            endpoints=(Endpoint(ENDPOINT, "vpce-a"),),
            targets=(Target("fw-a1", socket.inet_aton(APPLIANCE), "a"),),
        )
        self.balancer = Balancer(settings, now=0.0)
        for _ in range(5):
            self.balancer.receive_probe_result("fw-a1", True, now=0.0)
        self._loop = FrameLoop(self._theirs, decide, lambda at, call: call())

    def put(self, packet: Packet) -> list[Verdict]:
        """Send a packet through the endpoint; return the verdict about each frame that the appliance sends."""
        verdict = self.balancer.receive_packet(ENDPOINT, bytes(packet), now=1.0)
        assert isinstance(verdict, ToTarget)
        self.ours.send([ETHERNET + verdict.datagram])
        self._loop.move(1.0)
        return [self.balancer.receive_return(frame[26:30], frame[14:], now=1.0) for frame in self.ours.recv()]

    def drops(self) -> dict[Reason, int]:
        """AWS's four drop metrics, without the zeros."""
        metrics = self.balancer.metrics(now=1.0)
        return {reason: metrics[reason.value] for reason in DROPS if metrics[reason.value]}

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def lab() -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(decide: Decide, *line: Callable[[Port], Port]) -> Lab:
        made.append(Lab(decide, *line))
        return made[-1]

    yield make
    for each in made:
        each.close()


def broken(mode: str) -> Decide:
    def decide(received: Received, *, now: float) -> Action:
        return MODES[mode](received, Situation(0, 0.5))

    return decide


def answering(answer: Packet) -> Decide:
    def decide(received: Received, *, now: float) -> Action:
        return Answer(bytes(answer))

    return decide


def firewall(policy: str) -> Decide:
    return Judge(parse(policy, "p"), midstream_allowed=False, report=lambda decision: None).decide


def forwarded(verdict: Verdict) -> bytes:
    assert isinstance(verdict, ToEndpoint)
    assert verdict.endpoint == ENDPOINT
    return verdict.packet


@pytest.mark.contract("GV-09")
@pytest.mark.parametrize(
    "mode",
    ["healthy", "slow", "ttl-2", "no-checksum", "bad-checksum", "source-6081", "changed-options", "extra-option"],
)
def test_a_return_with_the_right_addresses_port_and_options_is_accepted(lab: Callable[..., Lab], mode: str) -> None:
    bench = lab(broken(mode))
    (verdict,) = bench.put(SYN)
    seen = IP(forwarded(verdict))
    assert (seen.src, seen.dst, seen[TCP].sport, seen[TCP].seq) == (CLIENT, SERVER, 40000, 100)
    assert bench.drops() == {}


@pytest.mark.contract("GV-10", "GV-11", "GV-12", "GV-14", "GV-21")
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("no-swap", Reason.INVALID_GENEVE_TUNNEL),
        ("wrong-port", Reason.INVALID_GENEVE_TUNNEL),
        ("wrong-source", Reason.INVALID_GENEVE_TUNNEL),
        ("version-1", Reason.INVALID_GENEVE_TUNNEL),
        ("truncated", Reason.INVALID_GENEVE_TUNNEL),
        ("option-overrun", Reason.INVALID_GENEVE_TUNNEL),
        ("wrong-ethertype", Reason.INVALID_GENEVE_TUNNEL),
        ("critical-option", Reason.INVALID_GENEVE_TUNNEL),
        ("oam", Reason.INVALID_GENEVE_TUNNEL),
        ("no-endpoint-option", Reason.INVALID_ENDPOINT_ID),
        ("wrong-endpoint", Reason.INVALID_ENDPOINT_ID),
        ("no-options", Reason.INVALID_ENDPOINT_ID),
        ("no-cookie-option", Reason.INVALID_FLOW_COOKIE),
        ("wrong-cookie", Reason.INVALID_FLOW_COOKIE),
    ],
)
def test_a_wrong_return_is_dropped_and_counted_in_exactly_one_metric(
    lab: Callable[..., Lab], mode: str, reason: Reason
) -> None:
    bench = lab(broken(mode))
    assert bench.put(SYN) == [Drop(reason)]
    assert bench.drops() == {reason: 1}


@pytest.mark.contract("GV-15")
def test_payload_ttl_and_dscp_may_be_changed_by_the_appliance(lab: Callable[..., Lab]) -> None:
    changed = IP(src=CLIENT, dst=SERVER, ttl=9, tos=0xB8) / TCP(sport=40000, dport=80, flags="S") / b"longer"
    (verdict,) = lab(answering(changed)).put(SYN)
    seen = IP(forwarded(verdict))
    assert (seen.tos, bytes(seen[TCP].payload)) == (0xB8, b"longer")


@pytest.mark.contract("GV-15", "GV-13")
def test_a_changed_5_tuple_belongs_to_no_flow(lab: Callable[..., Lab]) -> None:
    bench = lab(answering(IP(src=CLIENT, dst=SERVER) / TCP(sport=40001, dport=80, flags="S")))
    assert bench.put(SYN) == [Drop(Reason.MISSING_FLOW_ENTRY)]
    assert bench.drops() == {Reason.MISSING_FLOW_ENTRY: 1}


@pytest.mark.contract("GV-16")
def test_the_firewalls_reset_goes_back_to_the_client_through_the_flow(lab: Callable[..., Lab]) -> None:
    bench = lab(firewall("default: reject"))
    (verdict,) = bench.put(SYN)
    reset = IP(forwarded(verdict))
    assert (reset.src, reset.dst, reset[TCP].sport, reset[TCP].dport) == (SERVER, CLIENT, 80, 40000)
    assert (str(reset[TCP].flags), reset[TCP].seq, reset[TCP].ack) == ("RA", 0, 101)


@pytest.mark.contract("GV-16")
def test_the_firewalls_icmp_error_goes_back_to_the_client_through_the_flow(lab: Callable[..., Lab]) -> None:
    (verdict,) = lab(firewall("default: reject")).put(IP(src=CLIENT, dst=SERVER) / UDP(sport=40000, dport=9) / b"x")
    error = IP(forwarded(verdict))
    assert (error.src, error.dst, error[ICMP].type, error[ICMP].code) == (SERVER, CLIENT, 3, 3)
    (verdict,) = lab(firewall("default: reject")).put(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(dport=9))
    error6 = IPv6(forwarded(verdict))
    assert (error6.dst, error6[ICMPv6DestUnreach].code) == ("2001:db8::1", 4)


@pytest.mark.contract("GV-17")
def test_an_appliance_cannot_start_a_flow_of_its_own(lab: Callable[..., Lab]) -> None:
    bench = lab(broken("originate"))
    returned, own = bench.put(SYN)
    assert isinstance(returned, ToEndpoint)
    assert own == Drop(Reason.MISSING_FLOW_ENTRY)
    assert bench.balancer.metrics(now=1.0)["ActiveFlowCount"] == 1


def test_a_denied_packet_never_reaches_the_balancer_again(lab: Callable[..., Lab]) -> None:
    bench = lab(firewall("default: deny"))
    assert bench.put(SYN) == []
    assert bench.drops() == {}


def test_on_a_bad_line_packets_are_lost_or_come_twice_and_every_one_that_comes_belongs_to_its_flow(
    lab: Callable[..., Lab],
) -> None:
    bench = lab(broken("healthy"), lambda port: Faulty(port, seed=1, drop=0.1, duplicate=0.1, reorder=0.1))
    packets = [IP(src=CLIENT, dst=SERVER) / UDP(sport=40000 + n % 50, dport=53) / bytes([n]) for n in range(200)]
    came = [IP(forwarded(verdict))[UDP] for packet in packets for verdict in bench.put(packet)]
    asked = {(packet[UDP].sport, bytes(packet[UDP].payload)) for packet in packets}
    answered = [(udp.sport, bytes(udp.payload)) for udp in came]
    assert set(answered) < asked
    assert len(answered) > len(set(answered)) > 100
    assert answered != sorted(answered, key=lambda each: each[1])
    assert bench.balancer.metrics(now=1.0)["ActiveFlowCount"] == 50
    assert bench.drops() == {}
