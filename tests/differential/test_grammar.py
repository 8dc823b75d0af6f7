"""The random topologies are those that were asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.differential.application_designs import APPLICATION_DESIGNS
from tests.differential.designs import DESIGNS
from tests.differential.faults import FAULTS
from tests.differential.grammar import APPLICATION, NETWORK, sample
from tests.differential.network_designs import NETWORK_DESIGNS
from tests.differential.probes import probes

SEEDS = range(300)


@pytest.mark.slow
def test_every_design_and_every_kind_of_fault_occurs() -> None:
    samples = [sample(seed) for seed in SEEDS]
    faults = Counter(each.fault for each in samples)
    designs = Counter(each.design for each in samples)
    assert faults[""] == len(SEEDS) // 2
    assert {kind: faults[kind] for kind in FAULTS if faults[kind] < 10} == {}
    assert sum(each.zones >= 2 for each in samples) >= len(SEEDS) // 2
    assert {design: designs[design] for design in DESIGNS if designs[design] < 10} == {}
    assert sum(each.ipv6 for each in samples) >= 30


@pytest.mark.slow
def test_network_load_balancers_come_with_all_that_matters() -> None:
    samples = [sample(seed) for seed in range(NETWORK, NETWORK + 100)]
    designs = Counter(each.design for each in samples)
    assert {design: designs[design] for design in NETWORK_DESIGNS if designs[design] < 10} == {}
    assert sum(each.zones >= 2 for each in samples) >= 50
    assert sum(each.broken is not None for each in samples) >= 15
    groups = [group for each in samples for group in each.plan.target_groups if group.protocol != "GENEVE"]
    assert {group.protocol for group in groups} == {"TCP", "UDP", "TCP_UDP"}
    for key, values in (
        ("preserve_client_ip.enabled", {"true", "false"}),
        ("stickiness.enabled", {"true", "false"}),
        ("load_balancing.cross_zone.enabled", {"true", "false", "use_load_balancer_configuration"}),
    ):
        assert {group.attributes[key] for group in groups} == values
    balancers = [each for one in samples for each in one.plan.load_balancers if each.type == "network"]
    assert {each.scheme for each in balancers} == {"internal", "internet-facing"}
    assert {bool(each.security_groups) for each in balancers} == {True, False}
    assert max(len(action.target_groups) for b in balancers for e in b.listeners for action in e.default_actions) > 1


@pytest.mark.slow
def test_application_load_balancers_come_with_all_that_matters() -> None:
    samples = [sample(seed) for seed in range(APPLICATION, APPLICATION + 100)]
    designs = Counter(each.design for each in samples)
    assert {design: designs[design] for design in APPLICATION_DESIGNS if designs[design] < 10} == {}
    assert sum(each.broken is not None for each in samples) >= 15
    balancers = [each for one in samples for each in one.plan.load_balancers if each.type == "application"]
    assert {each.scheme for each in balancers} == {"internal", "internet-facing"}
    assert {bool(each.security_groups) for each in balancers} == {True, False}
    groups = [group for each in samples for group in each.plan.target_groups if group.protocol != "GENEVE"]
    assert {group.target_type for group in groups} == {"instance", "ip", "alb"}
    assert {group.protocol for group in groups} == {"HTTP", "TCP"}
    assert "true" in {group.attributes.get("proxy_protocol_v2.enabled") for group in groups}
    assert {group.attributes["load_balancing.cross_zone.enabled"] for group in groups} == {
        "true", "false", "use_load_balancer_configuration",
    }  # fmt: skip
    sent = [probe for one in samples[:20] for probe in probes(one.plan, one.seed)]
    nodes = {node.name for one in samples[:20] for node in one.plan.application_nodes}
    assert sum(probe.sender.name in nodes for probe in sent) >= 100


def test_a_seed_gives_the_same_topology_again() -> None:
    assert sample(17) == sample(17)
    assert sample(17).text != sample(19).text
