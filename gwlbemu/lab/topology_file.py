"""A topology file from the user's disk, for the command line and for Python alike."""

from __future__ import annotations

import os
from pathlib import Path

from gwlbemu.errors import TopologyError


def read_topology(file: str | os.PathLike[str]) -> str:
    """Return the text of a topology file. Raises TopologyError when it cannot be read."""
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TopologyError(f"{os.fspath(file)}: cannot be read: {reason}") from error
