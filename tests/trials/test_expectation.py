"""What the model says of a packet, held against made-up evidence: agreeing, parting, and not to be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gwlbemu.paths.values import Packet, States
from gwlbemu.paths.walk import Paths
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials.craft import CraftedPacket, PacketSpec, craft
from gwlbemu.trials.expectation import SenderModel, in_model
from gwlbemu.trials.packet_report import Answer, NodeVerdict, PacketReport
from gwlbemu.wire.mismatch import Mismatch
from gwlbemu.wire.protocols import ICMP, TCP
from gwlbemu.wire.tcp import ACK, SYN
from tests.lab.worlds import world

CLIENT, PUBLIC, PRIVATE = "198.51.100.10", "203.0.113.10", "10.0.1.10"
TO_TARGET = NodeVerdict(1.0, "inspect-node-a", "vpce-a", "to-target", "fw", "0x1", "")
RETURNED = replace(TO_TARGET, verdict="to-endpoint", returned=True)
CROSSED = (TO_TARGET, RETURNED)


@pytest.fixture(scope="module")
def model() -> SenderModel:
    plan = load(world(), "here")
    return SenderModel(Paths(plan), States(), next(each for each in plan.instances if each.name == "client"))


def syn(destination: str = PUBLIC, source: str = CLIENT) -> CraftedPacket:
    return craft(PacketSpec("tcp", 80), source, destination, ip_id=7, source_port=5000)


def syn_ack() -> bytes:
    packet = craft(PacketSpec("tcp", 5000, flags="SA"), PRIVATE, CLIENT, ip_id=0, source_port=80)
    return packet.packet


ANSWER = Answer("SA", "server-a", "client", CROSSED, 0.004)
WELL = PacketReport(1, "S", CROSSED, "server-a", 0.002, ("SA",), answer=ANSWER)


def test_a_packet_is_in_the_models_words() -> None:
    assert in_model(syn().packet) == Packet(CLIENT, PUBLIC, TCP, 5000, 80, size=40, tcp_flags=SYN, sequence=1000)
    told = in_model(syn_ack())
    assert told is not None
    assert told.tcp_flags == SYN | ACK
    echo = craft(PacketSpec("icmp"), CLIENT, PUBLIC, ip_id=7, source_port=5)
    assert in_model(echo.packet) == Packet(CLIENT, PUBLIC, ICMP, size=28)
    assert in_model(b"\x45") is None


def test_what_went_as_expected_needs_no_words(model: SenderModel) -> None:
    told = model.held_against(WELL, syn(), syn_ack())
    assert told is not None
    assert (told.agrees, told.ends, told.parting) == (True, (), ())
    assert model.receivers(syn()) == ("server-a",)


@pytest.mark.parametrize(
    ("report", "expected", "seen"),
    [
        (
            PacketReport(1, "S", (TO_TARGET,)),
            "by vpce-a (fw), arrives at server-a",
            "by vpce-a (fw), not-returned",
        ),
        (PacketReport(1, "S"), "by vpce-a (fw), arrives at server-a", "past every endpoint, lost"),
        (
            replace(WELL, answer=replace(ANSWER, after=None)),
            "the answer by vpce-a (fw), arrives at client",
            "the answer by vpce-a (fw), lost",
        ),
        (
            replace(WELL, answer=replace(ANSWER, hops=())),
            "the answer by vpce-a (fw), arrives at client",
            "the answer past every endpoint, arrives at client",
        ),
    ],
)
def test_what_departs_from_it_is_told_beside_what_was_expected(
    model: SenderModel, report: PacketReport, expected: str, seen: str
) -> None:
    told = model.held_against(report, syn(), syn_ack())
    assert told is not None
    assert (told.agrees, told.expected, told.seen) == (False, expected, seen)


def test_an_end_that_was_expected_comes_with_its_reason(model: SenderModel) -> None:
    sent = craft(PacketSpec("udp", 53), CLIENT, "203.0.113.77", ip_id=7, source_port=5000)
    told = model.held_against(PacketReport(1, "S"), sent, None)
    assert told is not None
    assert told.agrees
    assert told.ends[0].endswith("[NO_ROUTE_TO_DESTINATION]")


@pytest.mark.parametrize(
    "report",
    [
        replace(WELL, is_changed=True),
        replace(WELL, wrong=Mismatch("IP checksum", "0x0001", "0x0002")),
    ],
)
def test_nothing_is_said_where_the_model_cannot_tell(model: SenderModel, report: PacketReport) -> None:
    assert model.held_against(report, syn(), syn_ack()) is None


def test_nothing_is_said_of_a_source_that_is_nobodys(model: SenderModel) -> None:
    assert model.held_against(PacketReport(1, "S"), syn(source="192.0.2.1"), None) is None


def test_what_a_silent_node_did_not_tell_is_no_departure(model: SenderModel) -> None:
    silent = {"inspect-node-a"}
    unseen = PacketReport(1, "S", (), "server-a", 0.002, answer=replace(ANSWER, hops=()))
    told = model.held_against(unseen, syn(), syn_ack(), silent)
    assert told is not None
    assert told.agrees
    assert model.held_against(unseen, syn(), syn_ack(), {"another"}) is None
    assert model.held_against(PacketReport(1, "S"), syn(), None, silent) is None


def test_a_frozen_node_is_where_the_model_sees_a_packet_end() -> None:
    plan = load(world(), "here")
    states = States(broken=frozenset({("process", "inspect-node-a")}))
    model = SenderModel(Paths(plan), states, next(each for each in plan.instances if each.name == "client"))
    told = model.held_against(PacketReport(1, "S"), syn(), None, {"inspect-node-a"})
    assert told is not None
    assert told.ends == ("inspect-node-a is frozen [NodeFrozen]",)
