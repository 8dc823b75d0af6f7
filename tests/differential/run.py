"""One seed from its topology to its differences; many of them: `python -m tests.differential --seeds 0-299`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.differential.compare import Difference, differences
from tests.differential.grammar import Sample, sample
from tests.differential.observe import observe
from tests.differential.probes import probes


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one seed."""

    sample: Sample
    probes: int
    answered: int
    inspected: int
    differences: tuple[Difference, ...]
    seconds: float


def run(seed: int) -> Report:
    """Build the topology of a seed as a lab, send its probes and compare. Needs root, and a network to itself."""
    began = time.monotonic()
    chosen = sample(seed)
    outcomes = observe(chosen.plan, probes(chosen.plan, seed))
    return Report(
        chosen,
        len(outcomes),
        sum(bool(one.back and one.back.delivered_to) for one in outcomes),
        sum(bool(one.there.endpoints) for one in outcomes),
        tuple(differences(chosen.plan, chosen.states, outcomes)),
        time.monotonic() - began,
    )
