"""What became of an injected packet and of its answer, from literal evidence: verdicts, packets on a wire, a log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.craft import CraftedPacket, PacketSpec, craft
from gwlbemu.trials.evidence import Evidence
from gwlbemu.trials.packet_report import PacketReport
from gwlbemu.trials.recognise import SeenPacket, arrival, flows_to_trace, mark_of
from gwlbemu.views.appliance_logs import LoggedFlow
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.mismatch import Mismatch
from tests.lab.worlds import world

CLIENT, PUBLIC, PRIVATE, NAT = "198.51.100.10", "203.0.113.10", "10.0.1.10", "10.0.9.4"
UNREACHABLE = IP(src=PUBLIC, dst=CLIENT) / ICMP(type=3, code=3)
VERSION = Mismatch("GENEVE version", "1", "0")


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
        at=at, node="node", endpoint="vpce", direction="back" if kind == "to-endpoint" else "out", protocol=17,
        source=source, source_port=5000, destination=PRIVATE, destination_port=53, ip_id=ip_id, length=28,
        verdict=kind, target="fw", cookie="0x1", reason=reason,
    )  # fmt: skip


def answered(kind: str, *, at: float, endpoint: str = "vpce", reason: str = "") -> TracedPacket:
    step = verdict(kind, at=at, ip_id=9, source=PRIVATE, reason=reason)
    return replace(step, endpoint=endpoint, destination=CLIENT, source_port=53, destination_port=5000)


def report(
    client: Instance, traced: list[TracedPacket], seen: list[SeenPacket], crafted: CraftedPacket | None = None
) -> PacketReport:
    evidence = Evidence(client, seen, traced, frozenset({NAT}))
    return evidence.report(
        crafted or query(), number=1, sent_at=10.0, explain=lambda target, flow: f"{target} kept {flow}"
    )[0]


def arrived(at: float = 10.25, ip_id: int = 7, source: str = CLIENT) -> SeenPacket:
    return SeenPacket(at, "server-a", bytes(IP(src=source, dst=PRIVATE, id=ip_id) / UDP(sport=5000, dport=53)))


def sent_back(at: float = 10.5, ip_id: int = 9) -> SeenPacket:
    packet = bytes(IP(src=PRIVATE, dst=CLIENT, id=ip_id) / UDP(sport=53, dport=5000))
    return SeenPacket(at, "server-a", packet, outgoing=True)


def came_back(at: float = 11.0, ip_id: int = 9) -> SeenPacket:
    return SeenPacket(at, "client", bytes(IP(src=PUBLIC, dst=CLIENT, id=ip_id) / UDP(sport=53, dport=5000)))


# ---- the packet ------------------------------------------------------------------------------------------------------
def test_a_packet_that_arrived_is_delivered_and_its_way_is_in_order(client: Instance) -> None:
    told = report(client, [verdict("to-endpoint", at=12.0), verdict("to-target", at=11.0)], [arrived()])
    assert (told.outcome, told.delivered_to, told.delivered_after) == ("delivered", "server-a", 0.25)
    assert [hop.verdict for hop in told.hops] == ["to-target", "to-endpoint"]
    assert told.why == "delivered to server-a after 250.0 ms, no answer sent"
    assert told.inspected == (True, False)


def test_a_packet_that_no_node_saw_is_not_inspected(client: Instance) -> None:
    told = report(client, [], [arrived()])
    assert (told.why, told.inspected) == (
        "delivered to server-a after 250.0 ms, not inspected, no answer sent", (False, False)
    )  # fmt: skip
    assert replace(told, silent=("node is frozen",)).inspected is None


def test_another_packet_of_the_same_flow_is_not_this_one(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=11.0, ip_id=8)], [arrived(ip_id=8)])
    assert (told.outcome, told.hops) == ("lost", ())
    assert told.why == "no node saw it and it did not arrive"


def test_a_packet_that_only_came_to_a_load_balancers_node_is_not_delivered(client: Instance) -> None:
    assert report(client, [verdict("to-endpoint", at=10.1)], []).came_to == ""
    for traced, left in (([], ""), ([verdict("to-endpoint", at=10.1)], "left vpce and ")):
        evidence = Evidence(client, [replace(arrived(), instance="node-a")], traced, frozenset())
        told, _ = evidence.report(query(), number=1, sent_at=10.0, nodes={"node-a"}, explain=lambda target, _: target)
        assert (told.outcome, told.came_to) == ("lost", "node-a")
        assert told.why == f"{left}arrived at node-a's interface; nothing there was seen to take it"
        silent = replace(told, silent=("node is frozen",), broken=("process node-a",))
        assert silent.why == f"{told.why}; node is frozen; broken on purpose: process node-a"


def test_an_answer_with_the_same_identity_is_not_the_packet(client: Instance) -> None:
    assert report(client, [verdict("to-target", at=11.0, source=PRIVATE)], []).hops == ()


def test_a_packet_is_known_behind_a_nat_gateway(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=11.0, source=NAT)], [arrived(source="203.0.113.99")])
    assert (told.outcome, len(told.hops)) == ("delivered", 1)


def test_a_drop_names_the_node_the_endpoint_and_the_reason(client: Instance) -> None:
    told = report(client, [verdict("drop", at=11.0, reason="MidstreamTcp")], [])
    assert (told.outcome, told.why) == ("dropped", "dropped by node at vpce: MidstreamTcp")


def test_what_a_target_kept_is_explained_by_its_log(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=11.0)], [])
    flow = LoggedFlow(17, CLIENT, 5000, PRIVATE, 53)
    assert (told.outcome, told.why) == ("not-returned", f"fw kept {flow}")


def refused(**changes: Any) -> TracedPacket:
    step = replace(verdict("drop", at=12.0, reason="PacketsDroppedCount_InvalidGeneveTunnel"), direction="back")
    return replace(step, wrong=VERSION, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"endpoint": "vpce-0badbadbadbadbad0", "cookie": ""},
        {"target": "10.9.9.9"},
        {"protocol": 0, "source": "", "source_port": 0, "destination_port": 0, "ip_id": 0, "length": 0},
        {"source": "10.7.7.7", "source_port": 77},
    ],
    ids=["as it was", "other endpoint", "other sender", "unreadable", "rewritten"],
)
def test_what_was_returned_and_refused_is_told_as_that(client: Instance, changes: dict[str, Any]) -> None:
    told = report(client, [verdict("to-target", at=11.0), refused(**changes)], [])
    assert told.outcome == "dropped"
    assert told.why == "fw returned it and node refused it: GENEVE version 1, expected 0 (InvalidGeneveTunnel)"
    assert [(hop.endpoint, hop.target) for hop in told.hops] == [("vpce", "fw"), ("vpce", "fw")]


def test_what_another_target_returned_and_nobody_can_read_is_not_this_packet(client: Instance) -> None:
    other = refused(target="fw2", protocol=0, source="", source_port=0, destination_port=0, ip_id=0, length=0)
    assert report(client, [verdict("to-target", at=11.0), other], []).outcome == "not-returned"


def test_what_left_the_last_endpoint_and_did_not_arrive_is_lost(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=11.0), verdict("to-endpoint", at=12.0)], [])
    assert (told.outcome, told.why) == ("lost", "left vpce and was not seen again")
    circle = [verdict(kind, at=11.0 + number) for number in range(3) for kind in ("to-target", "to-endpoint")]
    assert report(client, circle, []).why == "came to vpce 3 times and was not seen again"


def test_a_checksum_that_a_target_broke_is_named(client: Instance) -> None:
    wrong = Mismatch("inner IP checksum", "0x1234", "0xabcd")
    told = report(client, [verdict("to-target", at=11.0), replace(verdict("to-endpoint", at=12.0), wrong=wrong)], [])
    assert told.why.startswith("fw returned it with inner IP checksum 0x1234, expected 0xabcd; it left vpce")
    sent = craft(
        PacketSpec("expression", expression=IP(dst=PUBLIC, chksum=1) / UDP()), CLIENT, "", ip_id=7, source_port=1
    )
    assert "it was sent with IP checksum 0x0001, expected 0x" in report(client, [], [], sent).why


def test_a_checksum_that_was_wrong_on_the_way_to_the_target_is_not_its_doing(client: Instance) -> None:
    """A host with `offload` leaves a checksum unfinished."""
    wrong = Mismatch("inner TCP checksum", "0x1234", "0xabcd")
    steps = [replace(verdict(kind, at=11.0), wrong=wrong) for kind in ("to-target", "to-endpoint")]
    told = report(client, steps, [])
    assert [hop.wrong for hop in told.hops] == [None, None]
    assert told.why == "left vpce and was not seen again"


def test_bytes_that_are_no_packet_are_told_as_that(client: Instance) -> None:
    sent = craft(PacketSpec("expression", expression=IP(dst=PUBLIC, len=9) / UDP()), CLIENT, "", ip_id=7, source_port=1)
    told = report(client, [], [], sent)
    assert told.why == (
        "no node saw it and it did not arrive: it was sent with IPv4 header length 20, total length 9, 28 bytes there"
    )


# ---- fragments and families ------------------------------------------------------------------------------------------
def test_a_packet_arrives_when_all_its_fragments_have() -> None:
    whole = IP(src=CLIENT, dst=PRIVATE, id=7) / UDP(sport=5000, dport=53) / bytes(2000)
    pieces = [SeenPacket(1.0, "server-a", bytes(each)) for each in whole.fragment(1000)]
    mark = mark_of(bytes(whole), [CLIENT])
    assert len(pieces) == 3
    there = arrival(reversed(pieces), mark)
    assert there is not None
    assert there[1] == 3
    assert arrival(pieces[:2], mark) is None
    assert arrival(pieces[1:], mark) is None
    whole[IP].flags = "DF"
    assert arrival(pieces, mark_of(bytes(whole), [CLIENT])) is None


def test_packets_of_ipv6_are_told_apart_by_their_flow_label() -> None:
    one, two = (
        craft(PacketSpec("udp", 53), "2001:db8::1", "2001:db8::2", ip_id=each, source_port=5000) for each in (7, 8)
    )
    assert mark_of(one.packet, ()).identity != mark_of(two.packet, ()).identity
    assert (mark_of(one.packet, ()).identity[3], IPv6(one.packet).fl) == (7, 7)


# ---- the answer ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (IP(src=PUBLIC, dst=CLIENT) / TCP(sport=53, dport=5000, flags="RA"), False),
        (IP(src=PUBLIC, dst=CLIENT) / UDP(sport=53, dport=5001), False),
        (UNREACHABLE / IP(src=CLIENT, dst=PUBLIC, id=7) / UDP(sport=5000, dport=53), True),
        (UNREACHABLE / IP(src=CLIENT, dst=PUBLIC, id=8) / UDP(sport=5000, dport=53), False),
        (UNREACHABLE / IP(src=CLIENT, dst=PUBLIC, id=7) / TCP(sport=5000, dport=53), False),
    ],
)
def test_an_error_answers_the_packet_that_it_quotes(client: Instance, answer: Any, counts: bool) -> None:
    told = report(client, [], [SeenPacket(10.5, "client", bytes(answer))])
    assert (len(told.replies), told.outcome) == ((1, "rejected") if counts else (0, "lost"))


def test_an_answer_in_kind_shows_that_its_receiver_got_the_packet(client: Instance) -> None:
    told = report(client, [verdict("to-target", at=11.0)], [came_back()])
    assert (told.outcome, told.is_changed, told.is_well) == ("delivered", True, True)
    assert told.why == "answered after 1000.0 ms by 203.0.113.10, where it was not seen to arrive as it was sent"


def test_an_answer_from_before_the_packet_was_sent_is_none(client: Instance) -> None:
    early = SeenPacket(9.9, "client", bytes(IP(src=PUBLIC, dst=CLIENT) / UDP(sport=53, dport=5000)))
    assert report(client, [], [early, SeenPacket(10.5, "client", b"\x45")]).replies == ()


def test_an_echo_reply_answers_its_own_request(client: Instance) -> None:
    crafted = craft(PacketSpec("icmp"), CLIENT, PUBLIC, ip_id=7, source_port=5000)
    right, wrong = (
        SeenPacket(10.5, "client", bytes(IP(src=PUBLIC, dst=CLIENT) / ICMP(type=0, id=5000, seq=seq))) for seq in (7, 8)
    )
    assert len(report(client, [], [right, wrong], crafted).replies) == 1


def test_an_answer_is_followed_home(client: Instance) -> None:
    traced = [verdict("to-target", at=10.1), verdict("to-endpoint", at=10.2)]
    traced += [answered("to-target", at=10.6), answered("to-endpoint", at=10.7)]
    told = report(client, traced, [arrived(), sent_back(), came_back()])
    assert told.answer is not None
    assert (told.answer.sent_by, told.answer.after, told.answer.met) == ("server-a", 1.0, ("vpce (fw)",))
    assert (told.inspected, told.is_well) == ((True, True), True)
    assert told.why == "delivered to server-a after 250.0 ms, answered after 1000.0 ms"


def test_an_answer_that_a_node_dropped_died_there_and_not_where_the_packet_came_by(client: Instance) -> None:
    traced = [verdict("to-target", at=10.1), verdict("to-endpoint", at=10.2)]
    traced += [answered("drop", at=10.6, endpoint="vpce-b", reason="MidstreamTcp")]
    told = report(client, traced, [arrived(), sent_back()])
    assert (told.outcome, told.is_answer_lost, told.is_well) == ("delivered", True, False)
    assert told.why == (
        "delivered to server-a after 250.0 ms, no answer seen: server-a's answer died at vpce-b (MidstreamTcp); "
        "the packet came by vpce"
    )


def test_a_lost_answer_is_told_with_who_is_silent_and_what_is_broken(client: Instance) -> None:
    told = replace(report(client, [], [arrived(), sent_back()]), silent=("node is frozen",), broken=("process node",))
    assert told.why.endswith(
        "no answer seen: server-a's answer was seen by no node that answers; node is frozen; "
        "broken on purpose: process node"
    )


def test_an_answer_past_every_endpoint_is_told(client: Instance) -> None:
    traced = [verdict("to-target", at=10.1), verdict("to-endpoint", at=10.2)]
    told = report(client, traced, [arrived(), sent_back(), came_back()])
    assert told.why.endswith("answered after 1000.0 ms; only the packet was inspected")


def test_two_answers_that_look_the_same_belong_to_two_packets(client: Instance) -> None:
    seen = [arrived(10.1), arrived(10.2, 8), sent_back(10.3), sent_back(10.4), came_back(10.5)]
    traced = [answered("to-target", at=at) for at in (10.31, 10.41)] + [answered("to-endpoint", at=10.45)]
    evidence = Evidence(client, seen, traced, frozenset())
    first, second = (
        evidence.report(query(ip_id), number=number, sent_at=10.0, explain=lambda target, flow: "")[0].answer
        for number, ip_id in enumerate((7, 8), 1)
    )
    assert first is not None
    assert second is not None
    assert ([hop.verdict for hop in first.hops], first.after) == (["to-target", "to-endpoint"], 0.5)
    assert ([hop.verdict for hop in second.hops], second.after) == (["to-target"], None)


# ---- what is traced --------------------------------------------------------------------------------------------------
def test_a_flow_is_traced_under_every_address_that_it_may_have(plan: Plan) -> None:
    assert flows_to_trace(plan, [query(), query(8)]) == [
        row
        for protocol, ports in ((1, [(0, 0)]), (17, [(0, 0), (5000, 53)]))
        for address in (PRIVATE, PUBLIC)
        for row in [(protocol, CLIENT, address, *each) for each in ports]
    ]
