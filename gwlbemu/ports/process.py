"""The frame of every long-running process of a lab: one loop, an end by signal, an exit code, one line for an error."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack

from gwlbemu.errors import GwlbemuError
from gwlbemu.ports.loop import Loop

FAILED = 2  # the exit code of a process that says in one line why it cannot go on


def run_process(work: Callable[[Loop, ExitStack], None], *, report: Callable[[str], object]) -> int:
    """Run `work`, which runs the loop until SIGTERM or SIGINT stops it; what it pushes on the stack is undone after.

    Returns 0, or 2 after one sentence to `report` when something is refused, by us (GwlbemuError) or by the kernel
    (OSError). Any other exception is a bug and is raised.
    """
    try:
        with ExitStack() as stack:
            loop = Loop()
            stack.callback(loop.close)
            loop.stop_on(signal.SIGTERM, signal.SIGINT)
            work(loop, stack)
    except GwlbemuError as error:
        report(str(error))
        return FAILED
    except OSError as error:
        report(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return FAILED
    return 0
