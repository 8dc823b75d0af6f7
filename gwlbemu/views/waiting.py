"""Waiting until a lab is well, and what is wrong with one that is not."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from gwlbemu.errors import plain
from gwlbemu.lab.running import Process, RunningLab
from gwlbemu.views.targets import read_targets


def wait_until_healthy(lab: RunningLab, timeout: float) -> list[str]:
    """Wait until every registered target is healthy at every node; returns what is still not, one sentence each.

    Does not wait for a process that has died.
    """
    give_up_at = time.monotonic() + timeout
    while True:
        # Looked for first: whoever dies after this is among the troubles of the next round.
        dead = any(process.state == "dead" for process in lab.processes())
        troubles = _troubles(lab)
        if not troubles or dead or time.monotonic() > give_up_at:
            return troubles
        time.sleep(0.05)


def _last_words(process: Process) -> str:
    """What a dead process said last."""
    if process.state != "dead":
        return ""
    with suppress(OSError):
        lines = Path(process.log).read_text(errors="replace").split("\n")
        return next((f": {plain(line.strip())}" for line in reversed(lines) if line.strip()), "")
    return ""


def _troubles(lab: RunningLab) -> list[str]:
    ailing = [process for process in lab.processes() if process.state != "running"]
    found = [f"{process.name} is {process.state}{_last_words(process)}; see {process.log}" for process in ailing]
    targets = read_targets(lab)
    named = {process.name for process in ailing}
    found += [node.sentence for node in targets.silent if node.process not in named]
    for target in targets.items:
        if target.state not in ("healthy", "unused"):
            found.append(f"{target.id} is {target.state} for {target.node}: {target.description or target.reason}")
    return found
