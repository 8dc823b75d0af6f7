"""Network load balancers as destinations, by the path model and by packets: expectations, and who reaches whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.lab import failure
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.trials.reach import by_packets
from gwlbemu.trials.verify import judge_in_a_lab
from gwlbemu.views.expectations import judge_by_model
from gwlbemu.views.reach import questions
from gwlbemu.views.states import present_states
from gwlbemu.wire.protocols import TCP, UDP
from tests.lab.fronts import BOTH, ECHO, NOBODY, ONLY_A, PRIVATE, PUBLIC, front
from tests.waiting import PATIENCE

GONE = {"after": ["fail instance web-b"]}
EXPECT = [
    {"from": "client", "to": "front", "port": [80, 81, 82, 83]},
    {"from": "near", "to": PRIVATE["a"], "port": ECHO, "protocol": "udp"},
    {"from": "near", "to": "front", "port": 80, "dropped": {"by": "igw"}},  # a public address, from none
    {"from": "client", "to": "front", "port": 99, "dropped": {"by": "front", "reason": "ELBV2_LISTENERS_MISMATCH"}},
    {"from": "web-a", "to": PRIVATE["b"], "port": ONLY_A, "dropped": {"by": "web-a", "reason": "Hairpin"}},
    {"from": "client", "to": PUBLIC["b"], "port": 80} | GONE,
    {"from": "client", "to": "front", "port": 82, "dropped": {"by": "app-b"}} | GONE,  # fails open
]


def parsed() -> Parsed:
    document = yaml.safe_load(front(lab="judged"))
    document["expect"] = EXPECT
    return parse(yaml.safe_dump(document, sort_keys=False), "front.yaml")


def test_what_is_expected_of_a_network_load_balancer_holds_by_the_model() -> None:
    results = [*judge_by_model(parsed(), resolve(parsed()))]
    assert [(str(each.case), each.problems) for each in results if each.problems] == []
    assert len(results) == 10


@pytest.mark.namespace
def test_what_is_expected_of_a_network_load_balancer_holds_by_packets() -> None:
    results = [*judge_in_a_lab(parsed())]
    assert [(str(each.case), each.problems) for each in results if each.problems] == []
    assert len(results) == 10


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(front(lab="reached", shortcuts=False), wait=PATIENCE) as lab:
        yield lab


@pytest.mark.namespace
@pytest.mark.parametrize(("protocol", "port"), [(TCP, 80), (TCP, ONLY_A), (UDP, ECHO)])
def test_packets_to_a_load_balancer_do_what_the_model_says(lab: Lab, protocol: int, port: int) -> None:
    pairs = by_packets(lab.running, [*questions(lab.plan, protocol, port)])
    assert [str(pair.question) for pair in pairs if pair.differs] == []
    symbols = {pair.question.sender: pair.symbol for pair in pairs if pair.question.receiver == "front"}
    assert symbols["client"] == "-"
    assert symbols["near"] == "x"


def test_a_load_balancer_is_a_destination_where_it_listens() -> None:
    plan = resolve(parsed())
    assert {each.receiver for each in questions(plan, TCP, 80)} >= {"front"}
    assert {each.receiver for each in questions(plan, TCP, 22)} == {"client", "web-a", "web-b", "near"}


@pytest.mark.namespace
@pytest.mark.parametrize("port", [BOTH, ONLY_A, NOBODY])
def test_an_injected_packet_is_followed_through_a_node_that_changes_its_port(lab: Lab, port: int) -> None:
    (report,) = lab.inject(tcp=port, source="client", destination=PUBLIC["a"])
    assert report.delivered_to in {"web-a", "web-b"}
    assert report.answer is not None
    assert report.answer.after is not None
    assert report.expected is not None
    assert report.expected.agrees


@pytest.mark.namespace
def test_a_report_names_the_node_the_target_and_the_connection(lab: Lab) -> None:
    (report,) = lab.inject(tcp=BOTH, source="client", destination=PUBLIC["a"])
    (connection,) = report.connections
    assert (connection.node, connection.listener, connection.target_group) == ("front-node-a", f"TCP:{BOTH}", "both")
    assert connection.target == report.delivered_to
    assert connection.packets_to >= 1 <= connection.packets_from


@pytest.mark.namespace
def test_a_packet_that_did_not_arrive_is_told_with_the_target_that_it_was_given_to(lab: Lab) -> None:
    failure.fail(lab.running, "link", "web-a")
    try:
        (report,) = lab.inject(tcp=ONLY_A, source="client", destination=PUBLIC["a"])
    finally:
        failure.heal(lab.running, "link", "web-a")
        lab.wait_until_healthy(PATIENCE)
    (connection,) = report.connections
    assert (connection.target, connection.packets_to, connection.packets_from) == ("web-a", 1, 0)
    where = f"web-a ({connection.target_address} port {connection.target_port})"
    assert report.why.startswith(f"front-node-a gave it to {where}, where it was not seen to arrive")


@pytest.mark.namespace
def test_what_a_frozen_keeper_would_know_is_not_guessed(lab: Lab) -> None:
    failure.fail(lab.running, "process", "front-node-a")
    try:
        (report,) = lab.inject(tcp=BOTH, source="client", destination=PUBLIC["a"])
    finally:
        failure.heal(lab.running, "process", "front-node-a")
        lab.wait_until_healthy(PATIENCE)
    assert report.connections == ()
    assert "front-node-a is frozen" in " ".join(report.silent)


@pytest.mark.namespace
def test_an_injected_packet_that_no_listener_takes_is_explained(lab: Lab) -> None:
    (report,) = lab.inject(tcp=9999, source="near", destination=PRIVATE["b"])
    assert (report.delivered_to, report.answer, report.came_to) == ("", None, "front-node-b")
    assert report.why == "arrived at front-node-b's interface; nothing there was seen to take it"
    assert report.expected is not None
    assert "ELBV2_LISTENERS_MISMATCH" in " ".join(report.expected.ends)


@pytest.mark.namespace
def test_an_injected_echo_request_to_a_node_arrives_there_and_is_taken_by_nothing(lab: Lab) -> None:
    (report,) = lab.inject(icmp=True, source="client", destination=PUBLIC["a"])
    assert (report.outcome, report.came_to) == ("lost", "front-node-a")
    assert report.why == "arrived at front-node-a's interface; nothing there was seen to take it"


@pytest.mark.namespace
@pytest.mark.contract("NL-02")
def test_with_the_labs_seed_the_model_says_which_target_each_connection_gets() -> None:
    with Lab("static-ip", name="chosen", wait=PATIENCE) as lab:
        plan, states, _ = present_states(lab.running)
        assert set(states.seeds) == {node.name for node in plan.network_nodes}
        met = set()
        for _ in range(20):
            (report,) = lab.inject(tcp=80, source="client", destination="203.0.113.1")
            assert report.expected is not None
            assert report.expected.agrees, report
            met.add(report.delivered_to)
        assert met <= {"web-a1", "web-a2"}
