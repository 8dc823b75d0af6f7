"""What became of an injected packet, from literal evidence: verdicts, packets that arrived, and a log's sentence."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.craft import CraftedPacket, PacketSpec, craft
from gwlbemu.trials.packet_report import PacketReport, SeenPacket, flows_to_trace, packet_report
from gwlbemu.views.appliance_logs import LoggedFlow
from gwlbemu.views.traces import TracedPacket
from tests.lab.worlds import world

CLIENT, PUBLIC, PRIVATE = "198.51.100.10", "203.0.113.10", "10.0.1.10"
UNREACHABLE = IP(src=PUBLIC, dst=CLIENT) / ICMP(type=3, code=3)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load(world(), "here")


@pytest.fixture(scope="module")
def client(plan: Plan) -> Instance:
    return next(each for each in plan.instances if each.name == "client")


def query(ip_id: int = 7) -> CraftedPacket:
    return craft(PacketSpec("udp", 53), CLIENT, PUBLIC, ip_id=ip_id, source_port=5000)


def verdict(kind: str, *, at: float, ip_id: int = 7, source: str = CLIENT, reason: str = "") -> TracedPacket:
    return TracedPacket(
        at=at, node="node", endpoint="vpce", direction="out", protocol=17, source=source, source_port=5000,
        destination=PRIVATE, destination_port=53, ip_id=ip_id, length=28, verdict=kind, target="fw", cookie="0x1",
        reason=reason,
    )  # fmt: skip


def report(
    client: Instance, traced: list[TracedPacket], seen: list[SeenPacket], crafted: CraftedPacket | None = None
) -> PacketReport:
    return packet_report(
        crafted or query(),
        number=1,
        sent_at=10.0,
        sender=client,
        seen=seen,
        traced=traced,
        explain=lambda target, flow: f"{target} kept {flow}",
    )


def arrived(at: float = 10.25, ip_id: int = 7) -> SeenPacket:
    return SeenPacket(at, "server-a", bytes(IP(src=CLIENT, dst=PRIVATE, id=ip_id) / UDP(sport=5000, dport=53)))


def test_a_packet_that_arrived_is_delivered_and_its_way_is_in_order(client: Instance) -> None:
    told = report(client, [verdict("to-endpoint", at=2.0), verdict("to-target", at=1.0)], [arrived()])
    assert (told.outcome, told.delivered_to, told.delivered_after) == ("delivered", "server-a", 0.25)
    assert [hop.verdict for hop in told.hops] == ["to-target", "to-endpoint"]
    assert told.why == "delivered to server-a after 250.0 ms"


def test_another_packet_of_the_same_flow_is_not_this_one(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=1.0, ip_id=8)], [arrived(ip_id=8)])
    assert (told.outcome, told.hops) == ("lost", ())
    assert told.why == "no node saw it: the route tables lead it past every endpoint"


def test_an_answer_with_the_same_identity_is_not_the_packet(client: Instance) -> None:
    assert report(client, [verdict("to-target", at=1.0, source=PRIVATE)], []).hops == ()


def test_a_drop_names_the_node_and_the_reason(client: Instance) -> None:
    told = report(client, [verdict("drop", at=1.0, reason="MidstreamTcp")], [])
    assert (told.outcome, told.why) == ("dropped", "dropped by node: MidstreamTcp")


def test_what_a_target_kept_is_explained_by_its_log(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=1.0)], [])
    flow = LoggedFlow(17, CLIENT, 5000, PRIVATE, 53)
    assert (told.outcome, told.why) == ("not-returned", f"fw kept {flow}")


def test_what_left_the_last_endpoint_and_did_not_arrive_is_lost(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=1.0), verdict("to-endpoint", at=2.0)], [])
    assert told.outcome == "lost"
    assert told.why == "left vpce and was not seen again: no route, or a security group"


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (IP(src=PUBLIC, dst=CLIENT) / UDP(sport=53, dport=5000), True),
        (IP(src=PUBLIC, dst=CLIENT) / UDP(sport=53, dport=5001), False),
        (IP(src=PUBLIC, dst=CLIENT) / TCP(sport=53, dport=5000), False),
        (UNREACHABLE / IP(src=CLIENT, dst=PUBLIC, id=7) / UDP(sport=5000, dport=53), True),
        (UNREACHABLE / IP(src=CLIENT, dst=PUBLIC, id=8) / UDP(sport=5000, dport=53), False),
    ],
)
def test_an_answer_has_the_ports_the_other_way_round_or_quotes_the_packet(
    client: Instance, answer: Any, counts: bool
) -> None:
    told = report(client, [], [SeenPacket(10.5, "client", bytes(answer))])
    assert (len(told.replies), told.outcome) == ((1, "rejected") if counts else (0, "lost"))


def test_an_answer_from_before_the_packet_was_sent_is_none(client: Instance) -> None:
    early = SeenPacket(9.9, "client", bytes(IP(src=PUBLIC, dst=CLIENT) / UDP(sport=53, dport=5000)))
    assert report(client, [], [early, SeenPacket(10.5, "client", b"\x45")]).replies == ()


def test_an_echo_reply_answers_its_own_request(client: Instance) -> None:
    crafted = craft(PacketSpec("icmp"), CLIENT, PUBLIC, ip_id=7, source_port=5000)
    right, wrong = (
        SeenPacket(10.5, "client", bytes(IP(src=PUBLIC, dst=CLIENT) / ICMP(type=0, id=5000, seq=seq))) for seq in (7, 8)
    )
    assert len(report(client, [], [right, wrong], crafted).replies) == 1


def test_a_flow_is_traced_under_every_address_that_it_may_have(plan: Plan) -> None:
    assert flows_to_trace(plan, [query(), query(8)]) == [
        (17, CLIENT, PRIVATE, 5000, 53),
        (17, CLIENT, PUBLIC, 5000, 53),
    ]
