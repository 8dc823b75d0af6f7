"""`inject` on real packets: what it tells of a packet and its answer, whatever becomes of them. One lab for all kinds:

client -- igw -- vpce-Z -- server-Z         two zones; between the zones each goes by its own endpoint, there and back
            \\-- bare                        no endpoint; its security group lets TCP port 80 in
worker -- nat -- vpce-a -- igw -- client    the load balancer sees what the NAT gateway made of a packet
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.trials.packet_report import PacketReport
from tests.lab.worlds import world
from tests.trials import spoiler

pytestmark = pytest.mark.namespace
PATIENCE = 60.0
ALLOWED = {"protocol": "tcp", "ports": 80, "source": "0.0.0.0/0"}


def topology() -> str:
    program = {"command": [sys.executable, str(Path(spoiler.__file__))]}
    document = yaml.safe_load(world({"fw-a": "a", "fw-b": "b"}, program=program, ipv6=True))
    app = document["vpcs"][0]
    app["subnets"] += [
        {"name": name, "zone": "a", "cidr": cidr, "route_table": name}
        for name, cidr in (("open", "10.0.3.0/24"), ("public", "10.0.4.0/24"), ("private", "10.0.5.0/24"))
    ]
    app["security_groups"] = [{"name": "http", "ingress": [ALLOWED], "egress": []}]
    app["nat_gateways"] = [{"name": "nat", "subnet": "public", "public_address": "203.0.113.40"}]
    app["instances"] += [
        {"name": "bare", "subnet": "open", "address": "10.0.3.10", "public_address": "203.0.113.30", "program": "web",
         "security_groups": ["http"]},
        {"name": "worker", "subnet": "private", "address": "10.0.5.10"},
    ]  # fmt: skip
    tables = {each["name"]: each["routes"] for each in app["route_tables"]}
    tables["edge"].append({"destination": "10.0.4.0/24", "target": "vpce-a"})
    tables["servers-a"].append({"destination": "10.0.2.0/24", "target": "vpce-a"})
    tables["servers-b"].append({"destination": "10.0.1.0/24", "target": "vpce-b"})
    for name, target in (("open", "igw"), ("public", "vpce-a"), ("private", "nat")):
        app["route_tables"].append({"name": name, "routes": [{"destination": "0.0.0.0/0", "target": target}]})
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(topology(), capture=False, wait=PATIENCE) as lab:
        yield lab


def sent(lab: Lab, port: int) -> PacketReport:
    (report,) = lab.inject(udp=port, source="client", destination="server-a")
    return report


def agrees(report: PacketReport) -> bool:
    assert report.expected is not None
    return report.expected.agrees


# ---- returned and refused --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("port", "told"),
    [
        (spoiler.WRONG_PORT, "UDP port 60000, expected 6081"),
        (spoiler.WRONG_VERSION, "GENEVE version 1, expected 0"),
    ],
)
def test_a_return_that_the_node_refused_is_told_with_field_got_and_expected(lab: Lab, port: int, told: str) -> None:
    report = sent(lab, port)
    assert report.outcome == "dropped"
    assert report.why == f"fw-a returned it and inspect-node-a refused it: {told} (InvalidGeneveTunnel)"
    assert not agrees(report)  # the model takes an appliance that it does not know to return packets as they came


def test_a_return_with_a_broken_checksum_is_told_with_the_right_one(lab: Lab) -> None:
    report = sent(lab, spoiler.WRONG_CHECKSUM)
    assert report.outcome == "lost"
    assert re.match(r"fw-a returned it with inner IP checksum 0x\w{4}, expected 0x\w{4}; it left vpce-a", report.why)
    report = sent(lab, spoiler.WRONG_SEGMENT)
    assert report.why.startswith("delivered to server-a with UDP checksum 0x")
    assert report.why.endswith(", no answer sent")


def test_what_was_not_returned_is_apart_from_that(lab: Lab) -> None:
    report = sent(lab, spoiler.KEPT)
    assert report.outcome == "not-returned"
    assert report.why.startswith("fw-a did not return it")


# ---- the answer ------------------------------------------------------------------------------------------------------
def test_an_answer_that_comes_home_is_followed_through_the_same_targets(lab: Lab) -> None:
    (report,) = lab.inject(tcp=80)
    assert report.why.startswith("delivered to server-a after ")
    assert report.answer is not None
    assert (report.inspected, report.answer.met, report.is_well) == ((True, True), ("vpce-a (fw-a)",), True)
    assert agrees(report)


def test_an_answer_that_takes_the_other_zone_dies_there_and_explain_says_why(lab: Lab) -> None:
    (report,) = lab.inject(tcp=80, source="server-a", destination="server-b")
    assert (report.outcome, report.is_answer_lost) == ("delivered", True)
    assert "no answer seen: server-b's answer died at vpce-b (MidstreamTcp); the packet came by vpce-a" in report.why
    assert report.expected is not None
    assert report.expected.agrees
    assert report.expected.ends[0].endswith("[MidstreamTcp]")
    assert report.expected.parting[-1] == "back  servers-b: route table servers-b: 10.0.1.0/24 -> vpce-b"


def test_three_equal_packets_have_three_answers(lab: Lab) -> None:
    for address in ("server-a", "2001:db8:1:1::10"):
        reports = lab.inject(icmp=True, source="client", destination=address, count=3)
        assert [report.answer.met for report in reports if report.answer] == [("vpce-a (fw-a)",)] * 3
        assert all(report.is_well for report in reports)


# ---- past every endpoint, and at the ends ----------------------------------------------------------------------------
def test_a_packet_past_every_endpoint_is_not_inspected(lab: Lab) -> None:
    (report,) = lab.inject(tcp=80, source="client", destination="bare")
    assert (report.outcome, report.inspected, report.hops) == ("delivered", (False, False), ())
    assert ", not inspected, answered after " in report.why
    assert agrees(report)


def test_what_a_security_group_kept_out_is_counted_at_the_port(lab: Lab) -> None:
    (report,) = lab.inject(udp=53, source="client", destination="bare")
    assert report.outcome == "lost"
    assert (
        "the port of bare dropped 1 packet that it was to receive meanwhile: no rule of the security groups"
        in report.why
    )
    assert report.expected is not None
    assert report.expected.agrees
    assert report.expected.ends[0].endswith("[ENI_SG_RULES_MISMATCH]")


# ---- all sorts of packets --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "expression",
    [
        "IP(dst='198.51.100.10')/TCP(sport=4000,dport=9)",
        "IP(dst='198.51.100.10')/ICMP(id=7,seq=1)",
    ],
)
def test_a_packet_is_known_behind_a_nat_gateway_and_so_is_its_answer(lab: Lab, expression: str) -> None:
    (report,) = lab.inject(expression, source="worker")
    assert [(hop.endpoint, hop.verdict) for hop in report.hops] == [("vpce-a", "to-target"), ("vpce-a", "to-endpoint")]
    assert (report.outcome, report.delivered_to) == ("delivered", "client")
    assert report.answer is not None
    assert (report.answer.met, report.inspected) == (("vpce-a (fw-a)",), (True, True))
    assert report.answer.after is not None
    assert agrees(report)


def test_each_of_many_packets_is_traced_though_nodes_judge_them_by_the_batch(lab: Lab) -> None:
    reports = lab.inject("IP(dst='198.51.100.10')/UDP(sport=4100,dport=9)", source="server-a", count=60)
    assert [(len(each.hops), each.outcome) for each in reports] == [(2, "delivered")] * 60


@pytest.mark.parametrize(
    "expression",
    [
        "IP(dst='198.51.100.10')/GRE()/Raw(bytes(40))",
        "IP(dst='198.51.100.10')/IP(src='10.9.0.1',dst='10.9.0.2')/UDP()",
        "IP(dst='198.51.100.10',proto=50)/Raw(bytes(40))",
    ],
)
def test_what_a_nat_gateway_does_not_carry_is_told_as_lost_there(lab: Lab, expression: str) -> None:
    (report,) = lab.inject(expression, source="worker")
    assert report.outcome == "lost"
    assert report.expected is not None
    assert report.expected.ends[0].startswith("nat translates TCP, UDP and ICMP, not ")
    assert agrees(report)


def test_ipv6_with_extension_headers_is_followed(lab: Lab) -> None:
    packet = "IPv6(dst='2001:db8:1:1::10')/IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/TCP(sport=4001,dport=80)"
    (report,) = lab.inject(packet, source="client")
    assert (report.outcome, len(report.hops), report.inspected) == ("delivered", 2, (True, True))
    assert agrees(report)


def test_a_packet_that_arrives_in_fragments_is_delivered(lab: Lab) -> None:
    (report,) = lab.inject("IP(dst='198.51.100.10')/UDP(sport=4002,dport=9)/Raw(bytes(4000))", source="server-a")
    assert (report.outcome, report.delivered_to, report.fragments) == ("delivered", "client", 3)
    assert report.why.startswith("delivered to client in 3 fragments after ")
    assert {hop.verdict for hop in report.hops} == {"to-target", "to-endpoint"}


# ---- faults made on purpose ------------------------------------------------------------------------------------------
def test_a_frozen_target_is_told_as_that_and_as_made_on_purpose(lab: Lab) -> None:
    lab.fail("process", "fw-a")
    try:
        (report,) = lab.inject(tcp=80, source="client", destination="server-a")
    finally:
        lab.heal("process", "fw-a")
    assert report.outcome == "not-returned"
    assert report.why == "fw-a did not return it: its program is frozen, on purpose (fail process fw-a)"
    assert agrees(report)


def test_a_frozen_node_is_told_and_that_the_packet_ends_there_by_the_model(lab: Lab) -> None:
    lab.fail("process", "inspect-node-a")
    try:
        (report,) = lab.inject(tcp=80, source="client", destination="server-a")
    finally:
        lab.heal("process", "inspect-node-a")
    assert report.why.startswith("no node that answers saw it; inspect-node-a is frozen; its log is ")
    assert report.why.endswith("; broken on purpose: process inspect-node-a")
    assert report.expected is not None
    assert report.expected.ends == ("inspect-node-a is frozen [NodeFrozen]",)


def test_a_dead_target_is_told_as_that_and_as_made_on_purpose(lab: Lab) -> None:
    lab.fail("instance", "fw-b")  # the last test of this lab that needs it: it stays so
    (report,) = lab.inject(tcp=80, source="client", destination="server-b")
    assert report.why == "fw-b did not return it: its program is dead, on purpose (fail instance fw-b)"
    assert agrees(report)
