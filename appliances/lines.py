"""Lines appended to a file, visible to readers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from gwlbemu.errors import GwlbemuError


def open_lines(path: Path) -> TextIO:
    """Open a log for appending; every line reaches the file when it is written. GwlbemuError when it cannot be."""
    try:
        return path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise GwlbemuError(f"{path}: cannot write: {error.strerror}") from None
