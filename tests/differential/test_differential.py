"""The path model against real packets, on a handful of random topologies; `python -m tests.differential` has more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

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


@pytest.mark.namespace
@pytest.mark.parametrize("seed", SEEDS + NETWORK_SEEDS)
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
    designs = Counter(sample(seed).design for seed in SEEDS + NETWORK_SEEDS)
    assert set(designs) == {*DESIGNS, *NETWORK_DESIGNS}


@pytest.mark.namespace
def test_another_target_in_the_model_is_a_difference() -> None:
    """The comparison can fail: the model has other seeds than the lab, and chooses other targets."""
    chosen = sample(1024)
    observation = observe(chosen.plan, probes(chosen.plan, 1024), SECRET)
    assert not compare(chosen.plan, chosen.states, observation)
    other = replace(chosen.states, seeds={name: seed ^ 1 for name, seed in chosen.states.seeds.items()})
    assert compare(chosen.plan, other, observation).differences
