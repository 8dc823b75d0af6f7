"""What a process of a lab said last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gwlbemu.errors import plain
from gwlbemu.lab.running import Process


def last_words(process: Process) -> str:
    """Return the last line in the log of a process that does not run any more; "" for any other, or without a line."""
    if process.state not in ("dead", "ended"):
        return ""
    with suppress(OSError):
        lines = Path(process.log).read_text(errors="replace").split("\n")
        return next((plain(line.strip()) for line in reversed(lines) if line.strip()), "")
    return ""
