"""A minute of torture: every attack for some seconds, always from the same seed. `make torture` takes an hour."""

from __future__ import annotations

import pytest

from tests.torture.attacks import ATTACKS, SHARES, attack
from tests.torture.tally import BAD, Look, Tally

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


def test_what_a_run_beside_this_one_counted_is_added_and_memory_is_told_by_quarters() -> None:
    here, beside = Tally(), Tally()
    here.counts["packets"] = 5
    beside.counts["packets"] = 7
    beside.problem("churn", 1, "not flat")
    beside.looks["churn/fw"] = [Look(float(at), 100 + at, 9) for at in range(0, 101, 5)]
    here.add(Tally.from_json(beside.to_json()))
    assert (here.counts["packets"], len(here.problems)) == (12, 1)
    (line,) = (line.split() for line in here.lines() if line.startswith("churn/fw"))
    assert line == ["churn/fw", "100", "125", "150", "175", "200", "100", "9", "->", "9"]
