"""Exceptions that end nothing: each is counted by its kind, and the first of a kind is in the log with its traceback.

Whoever catches what must not end a process tells it to a `Faults`, so that it stays visible: `counts` is in the
status of every process.
"""

from __future__ import annotations

import logging
from pathlib import PurePath

LOG = logging.getLogger("faults")
MOST_KINDS = 50  # told apart; what comes beyond them is counted under `OTHERS`
OTHERS = "others"


class Faults:
    """Counts exceptions. A kind is what was being done, the exception's class and where it was raised."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def note(self, doing: str, error: BaseException) -> None:
        """Count an exception that was raised while `doing` something; log the first of its kind."""
        self._count(f"{doing}: {type(error).__name__}{_place(error)}", error)

    def note_text(self, text: str) -> None:
        """Count something that went wrong without an exception; log the first of its kind."""
        self._count(text, None)

    def _count(self, kind: str, error: BaseException | None) -> None:
        if kind not in self.counts and len(self.counts) >= MOST_KINDS:
            kind = OTHERS
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] == 1:
            LOG.error("%s (from now on only counted)", kind, exc_info=error)


def _place(error: BaseException) -> str:
    """Where the exception was raised: file and line of the innermost frame."""
    traceback = error.__traceback__
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f" at {PurePath(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"
