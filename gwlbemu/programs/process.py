"""The frame of a process that keeps a log: `ports.process` with the log's format, and the size of everybody's logs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from gwlbemu.ports.logfile import TRIM_SECONDS, trim
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.process import run_process


def run_logged(name: str, work: Callable[[Loop, ExitStack], None]) -> int:
    """Run `work` as `run_process` does, with a log on standard error; `name` begins the line of an error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_process(work, report=lambda text: logging.getLogger(name).error("%s: %s", name, text))


def keep_logs_small(loop: Loop, folder: Path) -> None:
    """Look every second, from now on, whether what a lab's processes print into `folder` has become too long.

    The capture does this for its lab, or without one each node: a program writes its log itself and knows no bounds.
    """

    def look() -> None:
        gone = trim(folder.glob("*.log"))
        if gone:
            logging.getLogger("logs").info("%d bytes of old log lines were removed", gone)
        loop.call_after(TRIM_SECONDS, look)

    look()
