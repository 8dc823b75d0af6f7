"""The path model against real packets, on a handful of random topologies; `python -m tests.differential` has more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from gwlbemu.topology.plan.values import SecurityGroup
from tests.differential.application_designs import APPLICATION_DESIGNS
from tests.differential.compare import compare
from tests.differential.designs import DESIGNS
from tests.differential.grammar import SECRET, sample
from tests.differential.network_designs import NETWORK_DESIGNS
from tests.differential.observe import observe
from tests.differential.probes import probes
from tests.differential.run import run

# Every design, seven of the faults; 59: a packet with a TTL of 9 that a loop uses up, seen thrice in a tunnel.
SEEDS = (1, 2, 11, 13, 15, 19, 28, 41, 59)
# Network load balancers: each design; an instance and a zone that fail; security groups; shortcuts.
NETWORK_SEEDS = (1002, 1005, 1009, 1010, 1014, 1024)
# Application load balancers: each design; a network load balancer in front; a node that fails; shortcuts.
APPLICATION_SEEDS = (2000, 2004, 2010, 2012, 2014, 2034)


@pytest.mark.namespace
@pytest.mark.parametrize("seed", SEEDS + NETWORK_SEEDS + APPLICATION_SEEDS)
def test_the_model_says_what_becomes_of_packets(seed: int) -> None:
    report = run(seed)
    assert not report.comparison, f"{report}\n{report.details(3)}"
    assert report.probes > 2


@pytest.mark.namespace
def test_another_route_table_in_the_model_is_a_difference() -> None:
    """The comparison can fail: the lab has the sound topology, the model one whose endpoints lead nowhere."""
    sound = sample(14)
    observation = observe(sound.plan, probes(sound.plan, 14), SECRET)
    assert not compare(sound.plan, sound.states, observation)
    namespaces = tuple(
        replace(each, routes=tuple(route for route in each.routes if route.destination != "0.0.0.0/0"))
        if each.resource == "ep-a"
        else each
        for each in sound.plan.namespaces
    )
    wrong = compare(replace(sound.plan, namespaces=namespaces), sound.states, observation)
    assert {each.outcome.probe.sender.name for each in wrong.differences} >= {"web-a"}
    assert all("ep-a" in str(each) for each in wrong.differences)
    assert [each.partition(" ")[0] for each in wrong.miscounts] == ["ep-a"]


def test_the_seeds_have_every_design() -> None:
    designs = Counter(sample(seed).design for seed in SEEDS + NETWORK_SEEDS + APPLICATION_SEEDS)
    assert set(designs) == {*DESIGNS, *NETWORK_DESIGNS, *APPLICATION_DESIGNS}


@pytest.mark.namespace
def test_another_target_in_the_model_is_a_difference() -> None:
    """The comparison can fail: the model has other seeds than the lab, and chooses other targets."""
    chosen = sample(1024)
    observation = observe(chosen.plan, probes(chosen.plan, 1024), SECRET)
    assert not compare(chosen.plan, chosen.states, observation)
    other = replace(chosen.states, seeds={name: seed ^ 1 for name, seed in chosen.states.seeds.items()})
    assert compare(chosen.plan, other, observation).differences


@pytest.mark.namespace
def test_another_port_and_another_security_group_in_the_model_are_differences() -> None:
    """The comparison can fail at a node, and on the way of the connections that it begins."""
    chosen = sample(2012)
    observation = observe(chosen.plan, probes(chosen.plan, 2012), SECRET)
    assert not compare(chosen.plan, chosen.states, observation)
    (balancer,) = chosen.plan.load_balancers
    listeners = tuple(replace(each, port=(each.port or 0) + 1) for each in balancer.listeners)
    moved = replace(chosen.plan, load_balancers=(replace(balancer, listeners=listeners),))
    found = compare(moved, chosen.states, observation).differences
    assert {each.model.there.end.reason for each in found} == {"ELBV2_LISTENERS_MISMATCH"}
    nodes = {node.name for node in chosen.plan.application_nodes}
    targets = {target.address for group in chosen.plan.target_groups for target in group.targets}
    shut = replace(
        chosen.plan,
        security_groups=(*chosen.plan.security_groups, SecurityGroup("nobody", "app", (), None)),
        instances=tuple(
            replace(one, security_groups=("nobody",)) if one.address in targets else one
            for one in chosen.plan.instances
        ),
    )
    found = compare(shut, chosen.states, observation).differences
    assert {each.outcome.probe.sender.name for each in found} >= nodes
