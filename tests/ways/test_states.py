"""What is so at the moment decides with the plan: health, live flows, seeds; and the core is who chooses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import ToTarget
from gwlbemu.lab.configs import node_config_for, node_seed
from gwlbemu.lab.planned import deregistered, with_attributes
from gwlbemu.lab.state import State
from gwlbemu.paths.choices import MOST, every
from gwlbemu.paths.values import FlowKey, Packet, States, Way
from gwlbemu.paths.walk import Paths, exchange, way
from gwlbemu.topology.plan.resolve import load
from gwlbemu.wire.aws import parse_endpoint
from gwlbemu.wire.protocols import GRE, ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK, build_tcp
from tests.paths import TOPOLOGIES

NODE = "firewall-node-a"
REQUEST = Packet("client", "web-a", TCP, 40000, 80)


PLAN = load((TOPOLOGIES / "two-zones.yaml").read_text(), "two-zones.yaml")
PATHS = Paths(PLAN)
SECRET = "secret"
SEEDS = {node.name: node_seed(SECRET, node.name) for node in PLAN.gateway_nodes}


def firewall_of(found: Way) -> str:
    (target,) = [target for node, target in found.targets if node == NODE]
    return target


def test_with_a_seed_the_target_is_the_one_that_a_node_chooses(tmp_path: Path) -> None:
    """The node is made of its own configuration, as the lab makes it, and is given the packet's bytes."""
    settings = node_config_for(PLAN, NODE, State(PLAN.lab, tmp_path), SECRET).settings()
    node = Balancer(settings, now=0.0)
    for target in settings.targets:
        for _ in range(settings.health_check.healthy_threshold_count):
            node.receive_probe_result(target.id, True, now=0.0)
    (endpoint,) = [each for each in PLAN.endpoints if each.name == "vpce-fw-a"]
    chosen: Counter[str] = Counter()
    for port in range(40000, 40050):
        packet = build_tcp(ip_address("198.51.100.10").packed, ip_address("10.0.1.10").packed, port, 80)
        verdict = node.receive_packet(parse_endpoint(endpoint.endpoint_id), packet, now=0.0)
        assert isinstance(verdict, ToTarget)
        found = way(PATHS, Packet("client", "web-a", TCP, port, 80), States(seeds=SEEDS))
        assert (firewall_of(found), found.alternatives) == (verdict.target, ())
        chosen[verdict.target] += 1
    assert set(chosen) == {"fw-a1", "fw-a2"}  # both, or the comparison above says little


@pytest.mark.parametrize("packet", [REQUEST, Packet("client", "web-a", GRE), Packet("client", "web-a", ICMP)])
def test_without_a_seed_every_target_is_possible(packet: Packet) -> None:
    found = way(PATHS, packet)
    assert {firewall_of(each) for each in found.alternatives} == {"fw-a1", "fw-a2"}
    assert {each.choices for each in found.alternatives} == {(f"{NODE}: fw-a1",), (f"{NODE}: fw-a2",)}


def test_a_source_port_that_is_left_open_leaves_the_target_open_but_not_where_flows_have_no_ports() -> None:
    open_port, states = replace(REQUEST, source_port=None), States(seeds=SEEDS)
    assert {firewall_of(each) for each in way(PATHS, open_port, states).alternatives} == {"fw-a1", "fw-a2"}
    sticky, _ = with_attributes(
        PLAN, "firewalls", {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"}
    )
    assert way(Paths(sticky), open_port, states).alternatives == ()


def test_a_live_flow_stays_where_it_is_in_both_directions() -> None:
    for target in ("fw-a1", "fw-a2"):
        flows: dict[FlowKey, str] = {("vpce-fw-a", TCP, "198.51.100.10", 40000, "10.0.1.10", 80): target}
        states = States(seeds=SEEDS, flows={NODE: flows})
        onward = way(PATHS, replace(REQUEST, tcp_flags=ACK), states)
        assert firewall_of(onward) == target
        backward = way(PATHS, Packet("web-a", "198.51.100.10", TCP, 80, 40000, tcp_flags=ACK), states)
        assert backward.end.reason == "MidstreamTcp"  # at the IDS, which knows no such flow
        assert backward.end.at == "vpce-ids-a"
        known = {"ids-node-a": {("vpce-ids-a", *key[1:]): "ids-a" for key in flows}}
        backward = way(
            PATHS,
            Packet("web-a", "198.51.100.10", TCP, 80, 40000, tcp_flags=ACK),
            replace(states, flows={NODE: flows, **known}),
        )
        assert firewall_of(backward) == target


@pytest.mark.parametrize("state", ["unhealthy", "draining", "initial"])
def test_a_new_flow_goes_to_a_healthy_target_and_a_live_one_stays(state: str) -> None:
    targets = {(NODE, "fw-a1"): state}
    found = way(PATHS, REQUEST, States(targets=targets))
    assert (firewall_of(found), found.alternatives) == ("fw-a2", ())
    flows: dict[FlowKey, str] = {("vpce-fw-a", TCP, "198.51.100.10", 40000, "10.0.1.10", 80): "fw-a1"}
    assert firewall_of(way(PATHS, REQUEST, States(targets=targets, flows={NODE: flows}))) == "fw-a1"


def test_a_flow_of_a_failed_target_moves_or_is_reset_as_the_attributes_say() -> None:
    flows: dict[FlowKey, str] = {("vpce-fw-a", TCP, "198.51.100.10", 40000, "10.0.1.10", 80): "fw-a1"}
    states = States(targets={(NODE, "fw-a1"): "unhealthy"}, flows={NODE: flows})
    packet = replace(REQUEST, tcp_flags=ACK)
    both = {"target_failover.on_unhealthy": "rebalance", "target_failover.on_deregistration": "rebalance"}
    moving, _ = with_attributes(PLAN, "firewalls", both)
    found = way(Paths(moving), packet, states)
    assert firewall_of(found) == "fw-a2"
    assert "fw-a2: flow moved to a healthy target" in [hop.rule for hop in found.hops]
    resetting, _ = with_attributes(PLAN, "firewalls", {"send_tcp_reset.on_unhealthy.enabled": "true"})
    assert way(Paths(resetting), packet, states).end.reason == "Reset"


def test_when_no_target_is_healthy_any_may_be_meant_even_with_a_seed() -> None:
    states = States(targets={(NODE, "fw-a1"): "unhealthy", (NODE, "fw-a2"): "unhealthy"}, seeds=SEEDS)
    found = way(PATHS, REQUEST, states)
    assert {firewall_of(each) for each in found.alternatives} == {"fw-a1", "fw-a2"}
    assert "fw-a1: fail open: no target in scope is healthy" in [hop.rule for hop in found.hops]


def test_with_cross_zone_load_balancing_the_targets_of_every_zone_are_possible() -> None:
    plan, _ = with_attributes(PLAN, "firewall", {"load_balancing.cross_zone.enabled": "true"})
    found = way(Paths(plan), REQUEST)
    assert {firewall_of(each) for each in found.alternatives} == {"fw-a1", "fw-a2", "fw-b1", "fw-b2"}


def test_a_deregistered_target_that_the_plan_has_forgotten_keeps_its_flows() -> None:
    plan = deregistered(PLAN, "firewalls", "fw-a1")
    flows: dict[FlowKey, str] = {("vpce-fw-a", TCP, "198.51.100.10", 40000, "10.0.1.10", 80): "fw-a1"}
    states = States(targets={(NODE, "fw-a1"): "draining"}, flows={NODE: flows})
    assert firewall_of(way(Paths(plan), REQUEST, states)) == "fw-a1"
    assert firewall_of(way(Paths(plan), replace(REQUEST, source_port=40001), states)) == "fw-a2"


def test_a_firewall_that_let_the_packet_in_lets_its_answer_out() -> None:
    found = exchange(PATHS, REQUEST, States(seeds=SEEDS))
    assert found.back is not None
    assert found.answered
    assert [hop.rule for hop in found.back.hops if hop.kind == "choice"][1].endswith(": live flow")


def test_a_rejected_packet_is_answered_by_the_firewall() -> None:
    found = exchange(PATHS, replace(REQUEST, destination_port=22), States(seeds=SEEDS))
    assert found.back is None
    assert found.there.end.reason == "FIREWALL_RULES_RESTRICTION"
    assert "rejects the packet and answers its sender: rule no-ssh" in found.there.end.sentence


def test_an_answer_to_a_udp_packet_is_the_same_flow() -> None:
    plan = load((TOPOLOGIES / "cross-zone.yaml").read_text(), "cross-zone.yaml")
    found = exchange(Paths(plan), Packet("client", "web-a", UDP, 40000, 80))
    assert found.answered
    assert all(each.same_targets for each in found.possible)


def test_of_very_many_ways_the_first_are_walked() -> None:
    walked = list(every(lambda choices: tuple(choices.pick(number, range(8)) for number in range(3))))
    assert len(walked) == MOST
    assert walked[0] == (0, 0, 0)
    assert len(set(walked)) == MOST
    fewer = list(every(lambda choices: tuple(choices.pick(number % 2, "ab") for number in range(4))))
    assert sorted(fewer) == [tuple("aaaa"), tuple("abab"), tuple("baba"), tuple("bbbb")]
