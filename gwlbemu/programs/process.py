"""The frame of a long-running process of a lab: a log, one loop, an end by signal, and an exit code."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack

from gwlbemu.errors import GwlbemuError
from gwlbemu.ports.loop import Loop


def run_process(name: str, work: Callable[[Loop, ExitStack], None]) -> int:
    """Run `work`, which runs the loop until SIGTERM or SIGINT stops it; what it pushes on the stack is undone after.

    Returns 0, or 2 with one line in the log when something is refused.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    log = logging.getLogger(name)
    try:
        with ExitStack() as stack:
            loop = Loop()
            stack.callback(loop.close)
            loop.stop_on(signal.SIGTERM, signal.SIGINT)
            work(loop, stack)
    except GwlbemuError as error:
        log.error("%s", error)
        return 2
    except OSError as error:
        log.error("%s: %s", name, error.strerror or error)
        return 2
    return 0
