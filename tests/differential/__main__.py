"""`python -m tests.differential --seeds 0-299`: many random topologies as real labs, and what the path model said.

From seed 1000 on there are network load balancers, from 2000 on application load balancers: 2000-2099 for a hundred.

Needs root; it works in a network and mount namespace of its own. Prints each difference, and a summary.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections import Counter

from tests.differential.run import Report, run
from tests.machine import isolate


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    """Run the seeds and return 1 when the model and the labs do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=_seeds, default=range(10), help="one, or a range such as 0-299")
    parser.add_argument("--most", type=int, default=3, help="differences that are printed for each seed")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("namespaces need root", file=sys.stderr)
        return 5
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the lab that is up is taken down
    isolate()
    reports: list[Report] = []
    failed: list[int] = []
    for seed in options.seeds:
        try:
            report = run(seed)
        except Exception:
            traceback.print_exc()
            failed.append(seed)
            continue
        reports.append(report)
        print(report, flush=True)
        if report.comparison:
            print(report.details(options.most), flush=True)
    print(summary(reports, failed))
    return 1 if failed or any(report.comparison for report in reports) else 0


def summary(reports: list[Report], failed: list[int]) -> str:
    """Return what came of all seeds."""
    kinds = Counter(report.sample.fault or "sound" for report in reports)
    wrong = Counter(report.sample.fault or "sound" for report in reports if report.comparison)
    ends: Counter[str] = sum((report.comparison.ends for report in reports), Counter())
    designs = Counter(report.sample.design for report in reports)
    lines = [
        f"{len(reports)} topologies, {sum(report.sample.zones >= 2 for report in reports)} of two zones or more, "
        f"{sum(report.probes for report in reports)} probes, {sum(report.answered for report in reports)} answered, "
        f"{sum(report.inspected for report in reports)} inspected, "
        f"{sum(len(report.comparison.differences) for report in reports)} differences and "
        f"{sum(len(report.comparison.miscounts) for report in reports)} miscounts in "
        f"{sum(bool(report.comparison) for report in reports)} topologies, "
        f"{sum(report.seconds for report in reports) / max(1, len(reports)):.1f} s each",
        *(f"  {kind}: {count}, {wrong[kind]} with differences" for kind, count in sorted(kinds.items())),
        "  designs: " + ", ".join(f"{name} {count}" for name, count in sorted(designs.items())),
        "  ends: " + ", ".join(f"{name} {count}" for name, count in sorted(ends.items())),
    ]
    if failed:
        lines.append(f"  failed: seeds {', '.join(map(str, failed))}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
