"""What torture has counted: how much was done to labs, and what must not have happened."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

BAD = ("leftovers", "deaths", "unexplained", "outside")  # what must be 0
MARKS = (0, 1, 2, 3, 4)  # quarters of the time that a lab was looked at


class Look(NamedTuple):
    """A process at one moment."""

    at: float  # seconds
    memory: int  # KiB
    files: int


@dataclass
class Tally:
    """Counts by name, every violation as a sentence with the seed that shows it again, and looks at processes."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    looks: dict[str, list[Look]] = field(default_factory=dict)  # by lab/process, in the order of time

    def problem(self, attack: str, seed: int, text: object) -> None:
        """Note what must not have happened, with the command line that does it again."""
        self.problems.append(f"{text}\n    again: python -m tests.torture --only {attack} --rounds 1 --seed {seed}")

    def look(self, figures: Mapping[str, tuple[int, int]]) -> None:
        """Note memory (KiB) and open files of processes as they are now."""
        now = time.monotonic()
        for name, (memory, files) in figures.items():
            self.looks.setdefault(name, []).append(Look(now, memory, files))

    def add(self, other: Tally) -> None:
        """Add what another run has counted at the same time."""
        self.counts += other.counts
        self.problems += other.problems
        self.looks |= other.looks

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps({"counts": dict(self.counts), "problems": self.problems, "looks": self.looks})

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Read what `to_json` wrote."""
        found = json.loads(text)
        looks = {name: [Look(*each) for each in looks] for name, looks in found["looks"].items()}
        return cls(Counter(found["counts"]), found["problems"], looks)

    def lines(self) -> list[str]:
        """Return the report, line by line."""
        counts = [f"{name:28} {self.counts[name]:12,}" for name in sorted(set(self.counts) | set(BAD))]
        head = (
            f"{'memory in KiB, after':28}"
            + "".join(f"{f'{mark}/4':>10}" for mark in MARKS)
            + "  of seconds   open files"
        )
        problems = [f"! {each}" for each in self.problems]
        return [*counts, head, *map(self._line, self.looks), *problems, f"problems: {len(self.problems)}"]

    def _line(self, name: str) -> str:
        looks = self.looks[name]
        memory = "".join(f"{at_mark(looks, mark).memory:10,}" for mark in MARKS)
        return f"{name:28}{memory}  {looks[-1].at - looks[0].at:10,.0f}   {looks[0].files} -> {looks[-1].files}"


def at_mark(looks: list[Look], mark: int) -> Look:
    """Return the look that is nearest to so many quarters of the time."""
    first, last = looks[0].at, looks[-1].at
    return min(looks, key=lambda look: abs(look.at - (first + (last - first) * mark / MARKS[-1])))
