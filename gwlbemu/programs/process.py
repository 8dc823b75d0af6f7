"""The frame of a process that keeps a log: `ports.process` with the log's format."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from gwlbemu.ports.loop import Loop
from gwlbemu.ports.process import run_process


def run_logged(name: str, work: Callable[[Loop, ExitStack], None]) -> int:
    """Run `work` as `run_process` does, with a log on standard error; `name` begins the line of an error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_process(work, report=lambda text: logging.getLogger(name).error("%s: %s", name, text))
