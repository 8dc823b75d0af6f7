"""Rules on packets of flows, and the alerts they become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet

from appliances.action import RETURN, Action, Discard
from appliances.ids.__main__ import Ids
from appliances.ids.detect import Detector
from appliances.ids.rules import parse
from appliances.tunnel import read
from tests.appliances.appliance_helpers import APPLIANCE, CLIENT, NODE, SERVER, tunnelled

PASSWD = (
    'alert tcp any any -> any 80 (msg:"passwd"; flow:established,to_server; content:"GET "; '
    'content:"/ETC/passwd"; nocase; classtype:web-application-attack; sid:1; rev:2;)'
)


class Bench:
    """One IDS and the alerts it wrote."""

    def __init__(self, rules: str, *, ips: bool = False) -> None:
        self.lines: list[str] = []
        self.ids = Ids(Detector(parse(rules, "r"), ips=ips), self.lines.append, lambda: 1_700_000_000.5)

    def put(self, *packets: Packet, now: float = 0.0) -> list[Action]:
        return [self.ids.decide(read(tunnelled(packet)), now=now) for packet in packets]

    @property
    def sids(self) -> list[int]:
        return [json.loads(line)["alert"]["signature_id"] for line in self.lines]


class Conversation:
    """A TCP connection whose segments have right numbers."""

    def __init__(self, port: int = 80) -> None:
        self.port = port
        self.sequence = {True: 1000, False: 2000}

    def handshake(self) -> list[Packet]:
        packets = [self._packet(True, "S"), self._packet(False, "SA")]
        self.sequence = {True: 1001, False: 2001}
        return [*packets, self._packet(True, "A")]

    def says(self, payload: bytes, *, to_server: bool = True) -> Packet:
        packet = self._packet(to_server, "PA") / payload
        self.sequence[to_server] += len(payload)
        return packet

    def _packet(self, to_server: bool, flags: str) -> Packet:
        numbers: dict[str, Any] = {"seq": self.sequence[to_server], "ack": self.sequence[not to_server], "flags": flags}
        if to_server:
            return IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=self.port, **numbers)
        return IP(src=SERVER, dst=CLIENT) / TCP(sport=self.port, dport=40000, **numbers)


def test_an_alert_has_the_fields_of_suricatas_eve() -> None:
    bench, talk = Bench(PASSWD), Conversation()
    actions = bench.put(*talk.handshake(), talk.says(b"GET /etc/passwd HTTP/1.1\r\n\r\n"))
    assert actions == [RETURN] * 4
    (text,) = bench.lines
    entry = json.loads(text)
    assert isinstance(entry.pop("flow_id"), int)
    assert entry == {
        "timestamp": "2023-11-14T22:13:20.500000+0000",
        "event_type": "alert",
        "src_ip": CLIENT,
        "src_port": 40000,
        "dest_ip": SERVER,
        "dest_port": 80,
        "proto": "TCP",
        "direction": "to_server",
        "tunnel": {
            "src_ip": NODE,
            "src_port": 60001,
            "dest_ip": APPLIANCE,
            "dest_port": 6081,
            "proto": "UDP",
            "depth": 1,
        },
        "gwlb": {"endpoint": "vpce-02356de92d389839c", "flow_cookie": "98ef1b00"},
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": 1,
            "rev": 2,
            "signature": "passwd",
            "category": "Web Application Attack",
            "severity": 1,
        },
    }


def test_a_content_that_spans_two_segments_is_found_once() -> None:
    bench, talk = Bench(PASSWD), Conversation()
    bench.put(*talk.handshake(), talk.says(b"GET /etc/pa"))
    assert bench.sids == []
    bench.put(talk.says(b"sswd HTTP/1.1\r\n"), talk.says(b"Host: x\r\n\r\n"))
    assert bench.sids == [1]


def test_a_content_is_found_when_its_segments_arrive_out_of_order() -> None:
    bench, talk = Bench(PASSWD), Conversation()
    bench.put(*talk.handshake())
    first, second = talk.says(b"GET /etc/pa"), talk.says(b"sswd HTTP/1.1\r\n")
    bench.put(second, first)
    assert bench.sids == [1]


def test_a_retransmission_does_not_alert_again() -> None:
    bench, talk = Bench(PASSWD), Conversation()
    bench.put(*talk.handshake())
    request = talk.says(b"GET /etc/passwd HTTP/1.1\r\n")
    bench.put(request, request)
    assert bench.sids == [1]


def test_the_two_directions_are_two_streams() -> None:
    bench, talk = Bench('alert tcp any any -> any any (content:"abcd"; sid:1;)'), Conversation()
    bench.put(*talk.handshake(), talk.says(b"ab"), talk.says(b"cd", to_server=False))
    assert bench.sids == []


@pytest.mark.parametrize(
    ("flow", "to_server", "alerts"),
    [
        ("to_server", True, 1),
        ("to_server", False, 0),
        ("to_client", False, 1),
        ("to_client", True, 0),
        ("established", False, 1),
    ],
)
def test_flow_asks_for_the_direction(flow: str, to_server: bool, alerts: int) -> None:
    bench, talk = Bench(f'alert tcp any any -> any any (flow:{flow}; content:"word"; sid:1;)'), Conversation()
    bench.put(*talk.handshake(), talk.says(b"a word", to_server=to_server))
    assert len(bench.lines) == alerts


def test_established_needs_the_whole_handshake() -> None:
    bench, talk = Bench('alert tcp any any -> any any (flow:established; content:"word"; sid:1;)'), Conversation()
    syn, _, _ = talk.handshake()
    bench.put(syn, talk.says(b"a word"))
    assert bench.sids == []


def test_a_flow_met_in_the_middle_counts_as_established_and_the_lower_port_is_the_server() -> None:
    bench = Bench('alert tcp any any -> any any (flow:established,to_client; content:"word"; sid:1;)')
    bench.put(Conversation().says(b"a word", to_server=False))
    assert bench.sids == [1]


def test_udp_is_established_when_both_ends_have_sent() -> None:
    bench = Bench('alert udp any any -> any any (flow:established,to_server; content:"q"; sid:1;)')
    question = IP(src=CLIENT, dst=SERVER) / UDP(sport=40000, dport=53) / b"q"
    answer = IP(src=SERVER, dst=CLIENT) / UDP(sport=53, dport=40000) / b"q"
    bench.put(question, answer)
    assert bench.sids == []
    bench.put(question)
    assert bench.sids == [1]


def test_every_content_must_be_there_and_case_matters_without_nocase() -> None:
    bench = Bench('alert udp any any -> any any (content:"One"; content:"two"; nocase; sid:1;)')
    for payload in (b"One", b"two", b"one two", b"One TWO"):
        bench.put(IP(src=CLIENT, dst=SERVER) / UDP(sport=1, dport=2) / payload)
    assert len(bench.lines) == 1


def test_a_rule_without_content_alerts_once_per_flow() -> None:
    bench = Bench('alert icmp any any -> any any (msg:"ping"; sid:5;)')
    ping = IP(src=CLIENT, dst=SERVER) / ICMP(type=8, id=1) / b"x"
    bench.put(ping, ping)
    (entry,) = map(json.loads, bench.lines)
    assert (entry["proto"], entry["icmp_type"], entry["icmp_code"]) == ("ICMP", 8, 0)
    assert "src_port" not in entry
    bench.put(ping, now=120.0)
    assert len(bench.lines) == 2


def test_without_ips_a_drop_rule_only_alerts() -> None:
    bench, talk = Bench('drop tcp any any -> any any (content:"evil"; sid:1;)'), Conversation()
    assert bench.put(*talk.handshake(), talk.says(b"evil")) == [RETURN] * 4
    assert json.loads(bench.lines[0])["alert"]["action"] == "allowed"


def test_with_ips_a_drop_rule_keeps_the_packet_and_the_rest_of_its_tcp_flow() -> None:
    bench, talk = Bench('drop tcp any any -> any any (content:"evil"; sid:1;)', ips=True), Conversation()
    kept = Discard("dropped by rule")
    actions = bench.put(*talk.handshake(), talk.says(b"ev"), talk.says(b"il"), talk.says(b"more"))
    assert actions == [RETURN] * 4 + [kept] * 2
    assert json.loads(bench.lines[0])["alert"]["action"] == "blocked"
    assert bench.put(*Conversation().handshake()) == [RETURN] * 3, "a new connection on the same ports starts afresh"


def test_with_ips_only_the_matching_udp_packet_is_kept() -> None:
    bench = Bench('drop udp any any -> any any (content:"evil"; sid:1;)', ips=True)
    packets = [IP(src=CLIENT, dst=SERVER) / UDP(sport=1, dport=2) / payload for payload in (b"evil", b"good")]
    assert bench.put(*packets) == [Discard("dropped by rule"), RETURN]


def test_with_ips_an_alert_rule_keeps_nothing() -> None:
    bench = Bench('alert udp any any -> any any (content:"evil"; sid:1;)', ips=True)
    assert bench.put(IP(src=CLIENT, dst=SERVER) / UDP() / b"evil") == [RETURN]
    assert json.loads(bench.lines[0])["alert"]["action"] == "allowed"


def test_an_alert_in_the_direction_of_the_client_says_so() -> None:
    bench, talk = Bench('alert tcp any 80 -> any any (content:"secret"; sid:1;)'), Conversation()
    bench.put(*talk.handshake(), talk.says(b"a secret", to_server=False))
    entry = json.loads(bench.lines[0])
    assert (entry["direction"], entry["src_ip"], entry["dest_port"]) == ("to_client", SERVER, 40000)


def test_alerts_of_one_flow_share_a_flow_id_and_another_flow_has_another() -> None:
    bench = Bench('alert tcp any any -> any any (content:"word"; sid:1;)')
    one, other = Conversation(80), Conversation(81)
    bench.put(one.says(b"word"), one.says(b"word", to_server=False), other.says(b"word"))
    first, second, third = (json.loads(line)["flow_id"] for line in bench.lines)
    assert first == second != third


def test_what_cannot_be_read_is_returned_unseen() -> None:
    bench = Bench('alert ip any any -> any any (content:"E"; sid:1;)')
    assert bench.put(IP(bytes(IP(src=CLIENT, dst=SERVER) / TCP())[:30])) == [RETURN]
