"""The random topologies are those that were asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.differential.designs import DESIGNS
from tests.differential.faults import FAULTS
from tests.differential.grammar import sample

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


def test_a_seed_gives_the_same_topology_again() -> None:
    assert sample(17) == sample(17)
    assert sample(17).text != sample(19).text
