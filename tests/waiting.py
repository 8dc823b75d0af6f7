"""Waiting for what another process or the kernel does.

A test waits for a condition, never for a time, and gives up only where a busy machine would have been done long ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0  # seconds; a machine that is ten times slower than usual keeps well within it
POLL = 0.01

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
