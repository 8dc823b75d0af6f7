"""Every attack by its name, and running one for a while.

An attack is a context: what it needs is up while the block runs, and gone afterwards. It gives a round, a function of a
seed that alone decides what the round does; round number n of a run has the seed of the run plus n.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.torture.churn import churn
from tests.torture.controls import controls
from tests.torture.disks import disks
from tests.torture.files import files
from tests.torture.kills import kills
from tests.torture.overload import overload
from tests.torture.packets import frames, packets
from tests.torture.tally import Tally
from tests.torture.worlds import note_leftovers, outside

Attack = Callable[[Tally], AbstractContextManager[Callable[[int], None]]]
ATTACKS: dict[str, Attack] = {
    "kills": kills, "frames": frames, "packets": packets, "files": files, "controls": controls, "churn": churn,
    "disks": disks, "overload": overload,
}  # fmt: skip
SHARES = {"kills": 5, "frames": 2, "packets": 4, "files": 1, "controls": 1, "churn": 5, "disks": 1, "overload": 1}
RESIDENT = "churn"  # in a run of all attacks it takes no turn, but lasts throughout

MOST_BROKEN = 5  # rounds that raise, then an attack is given up


def attack(name: str, tally: Tally, *, seed: int, seconds: float, most_rounds: int | None = None) -> int:
    """Run rounds of an attack for so many seconds, one at least; return how many were made to their end.

    A round that raises is a problem; the next one begins with everything anew.
    """
    end, rounds, broken, before = time.monotonic() + seconds, 0, 0, outside()

    def goes_on() -> bool:
        return rounds + broken == 0 or (
            time.monotonic() < end and rounds + broken != most_rounds and broken < MOST_BROKEN
        )

    while goes_on():
        try:
            with ATTACKS[name](tally) as one_round:
                while goes_on():
                    one_round(seed + rounds + broken)
                    rounds += 1
        except Exception as error:
            tally.problem(name, seed + rounds + broken, f"{type(error).__name__}: {error}")
            broken += 1
    note_leftovers(tally, name, seed)
    if escaped := outside() - before:
        tally.counts["outside"] += escaped
        tally.problem(name, seed, f"{escaped} packets outside the labs")
    return rounds
