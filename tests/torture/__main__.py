"""`python -m tests.torture --seconds 3600 --seed N`: what a lab must survive, for as long as you like."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.machine import isolate
from tests.torture.attacks import ATTACKS, SHARES, attack
from tests.torture.tally import Tally


def main() -> int:
    """Run what the command line asks for; return 1 when something happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="for all attacks together (default: an hour)")
    parser.add_argument("--seed", type=int, default=None, help="of the first round of each attack (default: the time)")
    parser.add_argument("--rounds", type=int, default=None, help="of each attack, at most")
    parser.add_argument(
        "--only", action="append", choices=list(ATTACKS), help="this attack; may be given several times"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    isolate()
    seed = int(time.time()) if options.seed is None else options.seed
    chosen = options.only or list(ATTACKS)
    tally, whole = Tally(), sum(SHARES[name] for name in chosen)
    for name in chosen:
        seconds = options.seconds * SHARES[name] / whole
        print(f"{name}: seed {seed}, {seconds:.0f} s", flush=True)
        known = len(tally.problems)
        rounds = attack(name, tally, seed=seed, seconds=seconds, most_rounds=options.rounds)
        print(f"{name}: {rounds} rounds, {len(tally.problems) - known} problems", flush=True)
    print("\n".join([f"seed {seed}", *tally.lines()]), flush=True)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
