"""One seed from its topology to its differences; many of them: `python -m tests.differential --seeds 0-299`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.differential.compare import Comparison, compare
from tests.differential.grammar import SECRET, Sample, sample
from tests.differential.observe import observe
from tests.differential.probes import probes


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one seed."""

    sample: Sample
    probes: int
    answered: int
    inspected: int
    comparison: Comparison
    seconds: float

    def __str__(self) -> str:
        wrong = len(self.comparison.differences) + len(self.comparison.miscounts)
        verdict = f"{wrong} DIFFERENCES" if wrong else "agreed"
        return f"{self.sample}: {self.probes} probes, {self.answered} answered, {self.seconds:.1f} s, {verdict}"

    def details(self, most: int) -> str:
        """Return the first `most` differences as text."""
        return "\n".join([*self.comparison.miscounts[:most], *map(str, self.comparison.differences[:most])])


def run(seed: int) -> Report:
    """Build the topology of a seed as a lab, send its probes and compare. Needs root, and a network to itself."""
    began = time.monotonic()
    chosen = sample(seed)
    observation = observe(chosen.plan, probes(chosen.plan, seed), SECRET, chosen.broken)
    return Report(
        chosen,
        len(observation.outcomes),
        sum(bool(one.back and one.back.delivered_to) for one in observation.outcomes),
        sum(bool(one.there.endpoints) for one in observation.outcomes),
        compare(chosen.plan, chosen.states, observation),
        time.monotonic() - began,
    )
