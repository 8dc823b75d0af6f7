"""The firewall's decisions: state, rules, rejections. Time is a number."""

from __future__ import annotations

import json

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet

from appliances.action import RETURN, Action, Answer, Discard
from appliances.firewall.judge import Decision, Judge
from appliances.firewall.log import line
from appliances.firewall.rules import parse
from appliances.tunnel import read
from tests.appliances.appliance_helpers import CLIENT, COOKIE, ENDPOINT, SERVER, tunnelled

POLICY = """
rules:
  - {name: web, action: allow, protocol: tcp, destination: 198.51.100.0/24, ports: 80}
  - {name: no-ssh, action: reject, protocol: tcp, ports: 22}
  - {name: dns, action: allow, protocol: udp, ports: 53}
  - {name: no-udp, action: reject, protocol: udp}
  - {name: ping, action: allow, protocol: icmp, destination: 198.51.100.0/24}
  - {name: no-gre, action: reject, protocol: gre}
"""
DENIED = Discard("denied")


class Bench:
    """One judge and what it logged."""

    def __init__(self, policy: str = POLICY, *, midstream_allowed: bool = False) -> None:
        self.log: list[Decision] = []
        self.judge = Judge(parse(policy, "p"), midstream_allowed=midstream_allowed, report=self.log.append)

    def put(self, packet: Packet | bytes, now: float = 0.0, *, endpoint: int = ENDPOINT) -> Action:
        return self.judge.decide(read(tunnelled(packet, endpoint=endpoint)), now=now)

    @property
    def logged(self) -> list[tuple[str, str]]:
        return [(decision.rule, decision.action) for decision in self.log]


def tcp(flags: str, *, port: int = 80, sport: int = 40000, back: bool = False, payload: bytes = b"") -> Packet:
    if back:
        return IP(src=SERVER, dst=CLIENT) / TCP(sport=port, dport=sport, flags=flags, seq=500, ack=101) / payload
    return IP(src=CLIENT, dst=SERVER) / TCP(sport=sport, dport=port, flags=flags, seq=100, ack=501) / payload


def udp(port: int, *, back: bool = False) -> Packet:
    if back:
        return IP(src=SERVER, dst=CLIENT) / UDP(sport=port, dport=40000) / b"answer"
    return IP(src=CLIENT, dst=SERVER) / UDP(sport=40000, dport=port) / b"question"


def test_both_directions_of_an_allowed_flow_pass_and_are_logged_once() -> None:
    bench = Bench()
    for packet in (tcp("S"), tcp("SA", back=True), tcp("A"), tcp("PA", payload=b"GET /"), tcp("PA", back=True)):
        assert bench.put(packet) == RETURN
    assert bench.logged == [("web", "allow")]


def test_a_denied_packet_is_not_returned_and_leaves_no_state() -> None:
    bench = Bench()
    assert bench.put(tcp("S", port=23)) == DENIED
    assert bench.put(tcp("SA", port=23, back=True)) == DENIED
    assert bench.logged == [("default", "deny"), ("midstream", "deny")]
    assert len(bench.judge.flows) == 0


def test_a_mid_stream_packet_of_an_unknown_flow_is_denied() -> None:
    bench = Bench()
    assert bench.put(tcp("PA", payload=b"GET /")) == DENIED
    assert bench.put(tcp("SA", back=True)) == DENIED
    assert bench.put(tcp("R")) == DENIED
    assert bench.logged == [("midstream", "deny")] * 3


@pytest.mark.parametrize(
    ("packet", "action"),
    [
        (tcp("PA"), RETURN),
        (tcp("PA", back=True), RETURN),
        (tcp("PA", port=23), DENIED),
        (tcp("PA", port=23, back=True), DENIED),
    ],
    ids=["to the server", "from the server", "to a denied port", "from a denied port"],
)
def test_with_midstream_allowed_a_live_flow_passes_where_a_rule_allows_it_in_either_direction(
    packet: Packet, action: Action
) -> None:
    assert Bench(midstream_allowed=True).put(packet) == action


def test_a_flow_is_forgotten_at_its_idle_timeout_and_not_before() -> None:
    bench = Bench()
    bench.put(tcp("S"), 0.0)
    assert bench.put(tcp("A"), 349.9) == RETURN
    assert bench.put(tcp("A", back=True), 349.9 + 349.9) == RETURN
    assert bench.put(tcp("A"), 349.9 + 349.9 + 350.0) == DENIED


def test_udp_and_icmp_flows_are_forgotten_after_their_own_timeouts() -> None:
    bench = Bench(POLICY + "timeouts: {udp: 10, other: 20}\n")
    bench.put(udp(53), 0.0)
    assert bench.put(udp(53, back=True), 9.9) == RETURN
    assert isinstance(bench.put(udp(53, back=True), 19.9), Answer)
    bench.put(IP(src=CLIENT, dst=SERVER) / ICMP(id=7), 0.0)
    assert bench.put(IP(src=SERVER, dst=CLIENT) / ICMP(type=0, id=7), 19.9) == RETURN
    assert bench.put(IP(src=SERVER, dst=CLIENT) / ICMP(type=0, id=7), 39.9) == DENIED


@pytest.mark.parametrize(
    "ending",
    [[tcp("R")], [tcp("R", back=True)], [tcp("FA"), tcp("FA", back=True)]],
    ids=["reset by the client", "reset by the server", "closed by both"],
)
def test_a_closed_flow_is_remembered_ten_seconds_for_the_last_acknowledgements(ending: list[Packet]) -> None:
    bench = Bench()
    for packet in (tcp("S"), tcp("SA", back=True), *ending):
        assert bench.put(packet, 0.0) == RETURN
    assert bench.put(tcp("A"), 9.0) == RETURN
    assert bench.put(tcp("A"), 19.0) == DENIED


def test_a_syn_on_a_closed_flow_is_a_new_flow() -> None:
    bench = Bench()
    for packet in (tcp("S"), tcp("R", back=True), tcp("S")):
        assert bench.put(packet, 0.0) == RETURN
    assert bench.logged == [("web", "allow")] * 2
    assert bench.put(tcp("SA", back=True), 100.0) == RETURN


def test_one_fin_does_not_close_a_flow() -> None:
    bench = Bench()
    for packet in (tcp("S"), tcp("FA"), tcp("FA")):
        bench.put(packet, 0.0)
    assert bench.put(tcp("A", back=True), 300.0) == RETURN


def test_flows_of_two_endpoints_with_the_same_addresses_never_mix() -> None:
    bench = Bench()
    bench.put(tcp("S"), endpoint=1)
    assert bench.put(tcp("SA", back=True), endpoint=2) == DENIED
    assert bench.put(tcp("SA", back=True), endpoint=1) == RETURN


@pytest.mark.parametrize(
    ("packet", "numbers"),
    [
        (tcp("S", port=22), ("RA", 0, 101)),
        (tcp("SEC", port=22, payload=b"fast"), ("RA", 0, 105)),
    ],
    ids=["SYN", "SYN with data"],
)
def test_a_rejected_tcp_packet_is_answered_by_the_reset_of_rfc_9293(
    packet: Packet, numbers: tuple[str, int, int]
) -> None:
    bench = Bench()
    action = bench.put(packet)
    assert isinstance(action, Answer)
    answer = IP(action.packet)
    assert (answer.src, answer.dst, answer[TCP].sport, answer[TCP].dport) == (SERVER, CLIENT, 22, 40000)
    assert (str(answer[TCP].flags), answer[TCP].seq, answer[TCP].ack) == numbers
    assert is_built_right(answer)
    assert bench.logged == [("no-ssh", "reject")]


def test_a_rejected_udp_packet_is_answered_by_a_port_unreachable_that_quotes_it() -> None:
    action = Bench().put(udp(9))
    assert isinstance(action, Answer)
    answer = IP(action.packet)
    assert (answer.src, answer.dst) == (SERVER, CLIENT)
    assert (answer[ICMP].type, answer[ICMP].code) == (3, 3)
    quoted = bytes(answer[ICMP].payload)
    assert quoted == bytes(IP(bytes(udp(9))))
    assert is_built_right(answer)


def test_a_rejected_ipv6_packet_is_answered_by_icmpv6() -> None:
    packet = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=40000, dport=9) / b"question"
    action = Bench().put(packet)
    assert isinstance(action, Answer)
    answer = IPv6(action.packet)
    assert (answer.src, answer.dst) == ("2001:db8::2", "2001:db8::1")
    assert (answer[ICMPv6DestUnreach].type, answer[ICMPv6DestUnreach].code) == (1, 4)


def test_a_rejected_packet_of_another_protocol_is_administratively_prohibited() -> None:
    action = Bench().put(IP(src=CLIENT, dst=SERVER, proto=47) / b"\0\0\x08\0")
    assert isinstance(action, Answer)
    assert (IP(action.packet)[ICMP].type, IP(action.packet)[ICMP].code) == (3, 13)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=CLIENT, dst="224.0.0.5") / UDP(dport=9),
        IP(src=CLIENT, dst=SERVER, proto=17, frag=10) / (b"x" * 32),
        IP(src=CLIENT, dst=SERVER, proto=1) / ICMP(type=3, code=1) / IP(src=SERVER, dst=CLIENT) / UDP(),
    ],
    ids=["multicast", "a later fragment", "an ICMP error"],
)
def test_where_no_answer_may_be_sent_reject_is_deny(packet: Packet) -> None:
    bench = Bench("default: reject")
    assert bench.put(packet) == DENIED
    assert bench.logged == [("default", "deny")]


def test_an_icmp_error_about_an_allowed_flow_passes_and_one_about_another_does_not() -> None:
    bench = Bench()
    bench.put(tcp("S"))
    for sport, action in ((40000, RETURN), (40001, DENIED)):
        quoted = bytes(tcp("S", sport=sport))[:28]
        error = IP(src="198.51.100.1", dst=CLIENT) / ICMP(type=3, code=1) / quoted
        assert bench.put(error) == action, sport


def test_later_fragments_follow_their_first_fragment() -> None:
    whole = IP(src=CLIENT, dst=SERVER, id=99) / UDP(sport=40000, dport=53) / (b"q" * 3000)
    pieces = fragment(whole, 1400)
    bench = Bench()
    assert [bench.put(piece) for piece in pieces] == [RETURN] * 3
    stray = fragment(IP(src=CLIENT, dst=SERVER, id=100) / UDP(dport=80) / (b"q" * 3000), 1400)[1]
    assert bench.put(stray) == DENIED


def test_an_inner_packet_that_cannot_be_read_is_discarded_under_its_own_name() -> None:
    cut = bytes(tcp("S"))[:30]
    assert Bench().put(cut) == Discard("malformed inner packet")


def test_a_log_line_names_rule_action_flow_and_endpoint() -> None:
    bench = Bench()
    bench.put(tcp("S"))
    assert json.loads(line(bench.log[0], 1_700_000_000.25)) == {
        "time": "2023-11-14T22:13:20.250000+00:00",
        "rule": "web",
        "action": "allow",
        "flow": {
            "protocol": "tcp",
            "source": CLIENT,
            "destination": SERVER,
            "source_port": 40000,
            "destination_port": 80,
        },
        "endpoint": "vpce-02356de92d389839c",
        "cookie": f"{COOKIE:08x}",
    }


def is_built_right(packet: Packet) -> bool:
    """Let scapy compute lengths and checksums anew, and compare."""
    anew = packet.copy()
    for layer in (IP, TCP, ICMP):
        if layer in anew:
            anew[layer].chksum = None
    anew[IP].len = None
    return bytes(anew) == bytes(packet)
