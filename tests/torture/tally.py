"""What torture has counted: how much was done to labs, and what must not have happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BAD = ("leftovers", "deaths", "unexplained", "outside")  # what must be 0


@dataclass
class Figures:
    """Memory and open files of one process, at the beginning and at the end."""

    memory: tuple[int, int]  # KiB
    files: tuple[int, int]


@dataclass
class Tally:
    """Counts by name, and every violation as a sentence with the seed that shows it again."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    figures: dict[str, Figures] = field(default_factory=dict)

    def problem(self, attack: str, seed: int, text: object) -> None:
        """Note what must not have happened, with the command line that does it again."""
        self.problems.append(f"{text}\n    again: python -m tests.torture --only {attack} --rounds 1 --seed {seed}")

    def lines(self) -> list[str]:
        """Return the report, line by line."""
        counts = [f"{name:20} {self.counts[name]:,}" for name in sorted(set(self.counts) | set(BAD))]
        figures = [
            f"{name:32} {each.memory[0]:8,} -> {each.memory[1]:8,} KiB   {each.files[0]:4} -> {each.files[1]:4} files"
            for name, each in self.figures.items()
        ]
        problems = [f"! {each}" for each in self.problems]
        return [*counts, *figures, *problems, f"problems: {len(self.problems)}"]
