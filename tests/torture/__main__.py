"""`python -m tests.torture --seconds 3600 --seed N`: what a lab must survive, for as long as you like.

One lab lives for the whole time, in a process of its own: it is changed and broken under traffic, and its memory is
looked at by quarters. Beside it the other attacks have their turns, one after the other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.machine import MARK, isolate
from tests.paths import ROOT
from tests.torture.attacks import ATTACKS, RESIDENT, SHARES, attack
from tests.torture.tally import Tally

LAST_WORDS = 600.0  # seconds for the lab that lives throughout to end its last round on a busy machine


def main() -> int:
    """Run what the command line asks for; return 1 when something happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="for all attacks together (default: an hour)")
    parser.add_argument("--seed", type=int, default=None, help="of the first round of each attack (default: the time)")
    parser.add_argument("--rounds", type=int, default=None, help="of each attack, at most")
    parser.add_argument(
        "--only", action="append", choices=list(ATTACKS), help="this attack; may be given several times"
    )
    parser.add_argument("--json", type=Path, help="write what was counted to this file")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    seed = int(time.time()) if options.seed is None else options.seed
    tally = Tally()
    if options.only:
        isolate()
        _take_turns(options.only, tally, seed, options.seconds, options.rounds)
    else:
        with _resident(tally, seed, options.seconds):
            isolate()
            _take_turns([each for each in ATTACKS if each != RESIDENT], tally, seed, options.seconds, options.rounds)
    if options.json:
        options.json.write_text(tally.to_json())
    print("\n".join([f"seed {seed}", *tally.lines()]), flush=True)
    return 1 if tally.problems else 0


def _take_turns(chosen: list[str], tally: Tally, seed: int, seconds: float, most_rounds: int | None) -> None:
    whole = sum(SHARES[name] for name in chosen)
    for name in chosen:
        turn = seconds * SHARES[name] / whole
        print(f"{name}: seed {seed}, {turn:.0f} s", flush=True)
        known = len(tally.problems)
        rounds = attack(name, tally, seed=seed, seconds=turn, most_rounds=most_rounds)
        print(f"{name}: {rounds} rounds, {len(tally.problems) - known} problems", flush=True)


@contextmanager
def _resident(tally: Tally, seed: int, seconds: float) -> Iterator[None]:
    """Run the attack that lasts throughout in a process and a part of the machine of its own; add what it counted."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "tally.json"
        words = ["--only", RESIDENT, "--seconds", str(seconds), "--seed", str(seed), "--json", str(told)]
        print(f"{RESIDENT}: seed {seed}, {seconds:.0f} s, beside the others", flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != MARK},
        )  # fmt: skip
        try:
            yield
            said, _ = process.communicate(timeout=LAST_WORDS)
            if told.exists():
                tally.add(Tally.from_json(told.read_text()))
            else:
                tally.problem(RESIDENT, seed, f"it ended with {process.returncode}: {said[-1000:]}")
        except subprocess.TimeoutExpired:
            tally.problem(RESIDENT, seed, f"its last round takes longer than {LAST_WORDS:g} s")
        finally:
            process.terminate()
            process.communicate()


if __name__ == "__main__":
    sys.exit(main())
