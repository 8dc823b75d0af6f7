"""A minute of torture: every attack for some seconds, always from the same seed. `make torture` takes an hour."""

from __future__ import annotations

import pytest

from tests.torture.attacks import ATTACKS, SHARES, attack
from tests.torture.tally import BAD, Tally

SEED, SECONDS = 9, 20.0


@pytest.mark.namespace
@pytest.mark.parametrize("name", ATTACKS)
def test_a_lab_survives(name: str) -> None:
    tally = Tally()
    attack(name, tally, seed=SEED, seconds=SECONDS * SHARES[name] / sum(SHARES.values()))
    assert tally.problems == [], "\n".join(tally.lines())
    assert [tally.counts[bad] for bad in BAD] == [0, 0, 0, 0]


def test_a_problem_is_told_with_the_command_that_shows_it_again() -> None:
    tally = Tally()
    tally.counts["kills"] = 2
    tally.problem("kills", 77, "left: namespace x")
    lines = "\n".join(tally.lines())
    assert "--only kills --rounds 1 --seed 77" in lines
    assert "problems: 1" in lines
    assert "leftovers" in lines
