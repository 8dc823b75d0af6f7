"""YAML text -> plain data and the line of every key; the first of the four steps from file to plan.

This file knows YAML and nothing of load balancers. Unlike `yaml.safe_load` it refuses a key that stands twice in a
mapping, and it remembers where everything stands, so that later complaints can name the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from gwlbemu.errors import TopologyError

MOST_VALUES = 100_000  # an alias counts each time it is used: nine levels of nine are a billion

Path = tuple[str | int, ...]
Value: TypeAlias = "str | int | float | bool | tuple[Value, ...] | dict[str, Value] | None"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the file: where, and what was expected instead."""

    path: Path
    text: str
    line: int = 0  # where the path's own line would mislead


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a topology file, with the line (from 1) on which each path begins."""

    source: str
    data: Value
    lines: dict[Path, int] = field(default_factory=dict)


class _TooMany(Exception):
    pass


def read(text: str, source: str) -> Document:
    """Read one YAML document.

    Raises TopologyError for syntax, a repeated key, a key that is not text, and aliases that expand beyond measure.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        problems: list[Problem] = []
        data = _value(loader, node, (), lines, problems) if node is not None else None
    except _TooMany:
        raise TopologyError(
            f"{source}: more than {MOST_VALUES:,} values, each alias counted where it is used"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise TopologyError(f"{source}{line}: this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise TopologyError(f"{source}: this is not YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()
    document = Document(source, data, lines)
    refuse(document.source, document.lines, problems)
    return document


def refuse(source: str, lines: dict[Path, int], problems: Iterable[Problem]) -> None:
    """Raise one TopologyError that lists every problem on a line of its own, in the order of the file."""
    found = [(problem.line or line_of(lines, problem.path), problem) for problem in problems]
    found.sort(key=lambda each: each[0])
    if found:
        raise TopologyError("\n".join(f"{source}:{line}: {dotted(p.path)}: {p.text}" for line, p in found))


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line (from 1) of `path`, or of the nearest thing around it that stands in the file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def dotted(path: Path) -> str:
    """Return a path the way a person would write it, such as `vpcs[0].subnets[2].cidr`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part:
            text += f"[{part!r}]"
        else:
            text += f".{part}" if text else part
    return text or "the file"


def _value(
    loader: yaml.SafeLoader, node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem]
) -> Value:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:
        raise _TooMany
    if len(path) > 20:  # also ends an anchor that contains itself
        problems.append(Problem(path[:3], "nested deeper than anything a topology has"))
        return None
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(loader, item, (*path, index), lines, problems) for index, item in enumerate(node.value))
    if not isinstance(node, yaml.MappingNode):
        scalar: Value = loader.construct_object(node)
        if isinstance(scalar, str | int | float | bool) or scalar is None:
            return scalar
        return str(node.value)  # dates and the like: YAML's idea, not ours
    result: dict[str, Value] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        here = (*path, key if key is not None else "?")
        if key is not None and key in result:
            first, again = lines[here], key_node.start_mark.line + 1
            problems.append(Problem(here, f"this key stands twice, first on line {first}", again))
            continue
        lines[here] = key_node.start_mark.line + 1
        if key is None or key == "<<":
            problems.append(Problem(here, "expected a key that is plain text (merge keys are not read)"))
            continue
        result[key] = _value(loader, value_node, here, lines, problems)
    return result
