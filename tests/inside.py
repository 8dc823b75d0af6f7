"""Commands inside a network namespace, in the foreground."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from gwlbemu.net.inside import inside
from gwlbemu.net.spawn import wait_for


def run_inside(namespace: Path, argv: Sequence[str]) -> int:
    """Run a command in `namespace` with our own input and output; return its exit code."""
    with inside(namespace):
        process = subprocess.Popen(argv)
    return wait_for(process)
