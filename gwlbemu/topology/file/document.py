"""The first of the four steps from file to plan: the text of a topology file as plain data (see `yaml_file`)."""

from __future__ import annotations

from collections.abc import Iterable

from gwlbemu import yaml_file
from gwlbemu.errors import TopologyError
from gwlbemu.yaml_file import Document, Path, Problem, dotted, line_of

__all__ = ["Document", "Path", "Problem", "dotted", "line_of", "read", "refuse"]


def read(text: str, source: str) -> Document:
    """Read one YAML document. Raises TopologyError where `yaml_file.read` raises YamlError."""
    try:
        return yaml_file.read(text, source)
    except yaml_file.YamlError as error:
        raise TopologyError(str(error)) from None


def refuse(source: str, lines: dict[Path, int], problems: Iterable[Problem]) -> None:
    """Raise one TopologyError that lists every problem on a line of its own, in the order of the file."""
    if found := yaml_file.complaint(source, lines, problems):
        raise TopologyError(found)
