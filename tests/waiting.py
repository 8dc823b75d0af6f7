"""Waiting for what another process or the kernel does.

A test waits for a condition, never for a time, and gives up only where a busy machine would have been done long ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PATIENCE = 60.0  # seconds; a machine that is ten times slower than usual keeps well within it
POLL = 0.01
QUIET = 15  # looks at which nothing has changed: on a busy machine they take longer, as everything does

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: object = "", *, seconds: float = PATIENCE) -> T:
    """Return the value of `condition()` as soon as it is true; AssertionError after `seconds`.

    `what` is told then: text, or a function that makes it.
    """
    give_up_at = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"waited {seconds:g} s for {what() if callable(what) else what or condition}")
        time.sleep(POLL)
    return found


def wait_until_quiet(file: Path) -> None:
    """Wait until a file that somebody writes packets to has stopped growing, so that no more are to be expected."""
    size, looks = -1, 0
    while looks < QUIET:
        before, size = size, file.stat().st_size
        looks = looks + 1 if size == before else 0
        time.sleep(POLL)
