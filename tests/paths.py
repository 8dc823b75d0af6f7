"""Where things are that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPOLOGIES = ROOT / "topologies"
SHARED = ROOT.parent / "shared"  # facts, cases and captures beside the project; tests skip without them
PCAPS = SHARED / "pcaps"
