"""What is seen of probes in a real lab; what should be seen is written here by hand, no model is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gwlbemu import Lab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.trials.probes import observe
from gwlbemu.trials.reach import by_packets
from gwlbemu.trials.sightings import Seen
from gwlbemu.views.model import Question
from gwlbemu.views.reach import questions
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "two-zones.yaml", capture=False) as lab:
        yield lab


def seen(lab: Lab, sender: str, receiver: str, protocol: int, port: int | None = None) -> Seen:
    ((_, found),) = observe(lab.running, [Question(sender, receiver, protocol, port)])
    return found


def test_one_that_is_answered_and_who_looked_at_it(lab: Lab) -> None:
    found = seen(lab, "client", "web-a", TCP, 80)
    outcome = found.outcome
    assert (outcome.word, outcome.there, outcome.back, outcome.inspected) == (
        "answered", ("firewall", "ids"), ("ids", "firewall"), "same"
    )  # fmt: skip
    there, back = found.journey
    assert there.startswith("there  client, ")
    assert "vpce-fw-a => fw-a" in there
    assert "vpce-ids-a => ids-a" in there
    assert there.endswith(", web-a")
    assert back.startswith("back   web-a, ")
    assert back.endswith(", client")


def test_one_that_goes_past_every_endpoint(lab: Lab) -> None:
    outcome = seen(lab, "web-a", "web-b", TCP, 80).outcome
    assert (outcome.word, outcome.there, outcome.back) == ("answered", (), ())


@pytest.mark.parametrize("port", [22, 23])  # rejected, and denied
def test_a_firewall_that_says_why_it_keeps_a_packet(lab: Lab, port: int) -> None:
    outcome = seen(lab, "client", "web-a", TCP, port).outcome
    assert outcome.lost is not None
    assert (outcome.there, outcome.lost.reason) == (("firewall",), "FIREWALL_RULES_RESTRICTION")
    assert outcome.lost.names[0] in ("fw-a1", "fw-a2")
    assert "firewall" in outcome.lost.names


def test_a_security_group_says_nothing_and_the_packet_is_last_seen_in_front_of_it(lab: Lab) -> None:
    outcome = seen(lab, "web-a", "web-b", TCP, 443).outcome
    assert outcome.lost is not None
    assert (outcome.lost.reason, "web-b" in outcome.lost.names) == ("", True)


def test_an_address_that_nobody_has(lab: Lab) -> None:
    outcome = seen(lab, "client", "203.0.113.99", ICMP).outcome
    assert outcome.lost is not None
    assert outcome.there == ()


def test_ends_without_an_address_in_common_are_told_without_a_packet(lab: Lab) -> None:
    outcome = seen(lab, "client", "2001:db8::1", TCP, 80).outcome
    assert outcome.lost is not None
    assert "no IPv6 address" in outcome.lost.sentence


def test_a_port_where_nothing_listens_answers_with_a_rst(lab: Lab) -> None:
    lab.exec("web-b", ["true"])  # its namespace is there whatever ran before
    assert seen(lab, "web-a", "web-b", TCP, 23).outcome.word == "answered"


def test_of_a_frozen_target_it_is_told_who_had_the_packet_last(lab: Lab) -> None:
    lab.fail("process", "ids-b")
    try:
        outcome = seen(lab, "client", "web-b", TCP, 80).outcome
    finally:
        lab.heal("process", "ids-b")
        wait_until(lambda: all(each.state == "healthy" for each in lab.targets()))
    assert outcome.lost is not None
    assert outcome.lost.names[0] == "ids-b"
    assert outcome.there == ("firewall", "ids")


def test_nothing_of_it_is_left(lab: Lab) -> None:
    """The ports at which datagrams are answered are free again."""
    seen(lab, "web-a", "web-b", UDP, 53)
    namespace = next(each.namespace for each in lab.plan.instances if each.name == "web-b")
    with inside(path_of(namespace)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 53))


def test_packets_and_the_model_agree_about_every_pair(lab: Lab) -> None:
    for protocol, port in ((TCP, 80), (UDP, 53), (ICMP, None)):
        pairs = by_packets(lab.running, [*questions(lab.plan, protocol, port)])
        assert len(pairs) == 6
        assert [pair.question for pair in pairs if pair.differs] == []
        assert {pair.seen for pair in pairs} != {None}


PLAIN = """
lab: plain
internet:
  cidr: 198.51.100.0/24
  ipv6_cidr: 2001:db8:f::/64
  instances: [{name: client, address: 198.51.100.10, ipv6_address: '2001:db8:f::10'}]
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    ipv6_cidr: 2001:db8:1::/56
    internet_gateway: {name: igw}
    subnets: [{name: app-a, zone: a, cidr: 10.0.1.0/24, ipv6_cidr: '2001:db8:1:1::/64', route_table: out}]
    route_tables: [{name: out, routes: [{destination: 0.0.0.0/0, target: igw}, {destination: '::/0', target: igw}]}]
    instances:
      - {name: one, subnet: app-a, ipv6_address: '2001:db8:1:1::a', public_address: 203.0.113.10}
      - {name: two, subnet: app-a}
"""


def test_the_same_over_ipv6_and_a_datagram_that_is_answered() -> None:
    with Lab(PLAIN, capture=False) as lab:
        asked = [
            Question("client", "2001:db8:1:1::a", protocol, port)
            for protocol, port in ((TCP, 80), (UDP, 53), (ICMP, None))
        ]
        asked += [
            Question("client", "one", UDP, 53),
            Question("two", "one", UDP, 53),
            Question("client", "two", UDP, 53),
        ]
        words = [found.outcome.word for _, found in observe(lab.running, asked)]
    assert words == ["answered", "answered", "answered", "answered", "answered", "lost"]


def test_a_lab_whose_kernel_has_another_route_differs_from_its_plan() -> None:
    with Lab(PLAIN, capture=False) as lab:
        assert not any(pair.differs for pair in by_packets(lab.running, [Question("one", "client", TCP, 80)]))
        lab.exec("app-a", ["ip", "route", "replace", "blackhole", "default"])
        (pair,) = by_packets(lab.running, [Question("one", "client", TCP, 80)])
    assert (pair.symbol, pair.differs) == ("x", True)
    assert pair.outcome.lost is not None
    assert "app-a" in pair.outcome.lost.names
