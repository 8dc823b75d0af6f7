"""A topology file, the user's own or one that comes with gwlbemu, for the command line and for Python alike."""

from __future__ import annotations

import os
from pathlib import Path

from gwlbemu.errors import TopologyError
from gwlbemu.yaml_file import YamlError, read_text

BUNDLED = Path(__file__).parents[1] / "topologies"


def bundled_names() -> list[str]:
    """Return the names of the topologies that come with gwlbemu, in alphabetical order."""
    return sorted(file.stem for file in BUNDLED.glob("*.yaml"))


def topology_path(file: str | os.PathLike[str]) -> Path:
    """Return the path of a topology file: `file` itself, or the bundled topology of that name where there is no such
    file. Nothing is read: a path that leads nowhere comes back as it is.
    """
    path = Path(file)
    if not path.exists() or path.is_dir():
        name = os.fspath(file)
        if name in bundled_names():
            return BUNDLED / f"{name}.yaml"
    return path


def read_topology(file: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the text of a topology file, and its path for messages.

    `file` is a path, or the name of a bundled topology (`two-zones`); a file of that path comes first. Raises
    TopologyError when it cannot be read; where there is no such file the message lists the bundled names.
    """
    if not os.fspath(file):
        raise TopologyError(f"no topology file is named: expected a path, or one of {', '.join(bundled_names())}")
    path = topology_path(file)
    try:
        return read_text(path), str(path)
    except FileNotFoundError as error:
        names = ", ".join(bundled_names())
        raise TopologyError(f"{path}: cannot be read: {error.strerror}. By name there are {names}") from error
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from error
    except (YamlError, ValueError) as error:  # a name with a NUL byte is a ValueError
        raise TopologyError(
            str(error) if isinstance(error, YamlError) else f"{file!r}: cannot be read: {error}"
        ) from error
