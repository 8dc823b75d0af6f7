"""What a review says: one finding is one thing that users get wrong, and the line of the topology that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gwlbemu.topology.file.document import Path

Severity = Literal["error", "warning", "hint"]
HINT: Severity = "hint"  # what leaves the exit code 0
SEVERITIES: tuple[Severity, ...] = ("error", "warning", HINT)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `kind` is a stable word for scripts, `text` a sentence for people.

    `path` is where in the file to mend it, `change` what to write there, or to do. Of a design it was `tried`, and ""
    when no single line mends it: then `path` is the likeliest line. `also` has other lines that take part.
    """

    kind: str
    severity: Severity
    text: str
    path: Path
    change: str
    also: tuple[Path, ...] = ()
    tried: bool = False


def listed(names: list[str], most: int = 3) -> str:
    """Return the first `most` names in words, such as `a, b, c and 2 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def counted(number: int, thing: str) -> str:
    """Return a number of things in words: `1 packet`, `2 packets`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
