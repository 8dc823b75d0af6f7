"""A user's YAML file -> plain data and the line of every key; topology files and the appliances' rule files alike.

This file knows YAML and nothing of what is written in it. Unlike `yaml.safe_load` it refuses a key that stands twice in
a mapping, remembers where everything stands, and has bounds: whatever somebody hands in is read or refused in a moment,
with the line that goes too far. Merge keys and tags of the user's own are not read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TypeAlias

import yaml

from gwlbemu.errors import GwlbemuError

MOST_BYTES = 2 << 20  # of a file
MOST_VALUES = 100_000  # an alias counts each time it is used: nine levels of nine are a billion
DEEPEST = 20  # levels of lists and keys
LONGEST_TEXT = 1 << 16  # characters of one value or key
LONGEST_NUMBER = 64  # characters

Path = tuple[str | int, ...]
Value: TypeAlias = "str | int | float | bool | tuple[Value, ...] | dict[str, Value] | None"

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, where it is built in
_NUMBERS = {f"tag:yaml.org,2002:{name}": name for name in ("int", "float")}
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", *_NUMBERS.values())}
_NO_TEXT = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)  # YAML 1.1, 5.1


class YamlError(GwlbemuError):
    """A file that is not YAML, or beyond the bounds of this file: the text names the file and the line."""

    code = "InvalidYaml"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the file: where, and what was expected instead."""

    path: Path
    text: str
    line: int = 0  # where the path's own line would mislead


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a file, with the line (from 1) on which each path begins."""

    source: str
    data: Value
    lines: dict[Path, int] = field(default_factory=dict)


class _TooMany(Exception):
    pass


def read_text(path: FilePath) -> str:
    """Return the text of a file, of at most `MOST_BYTES` in UTF-8.

    Raises OSError when it cannot be opened, YamlError when it is too large, no text, or endless (a device).
    """
    with path.open("rb") as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty():
            raise YamlError(f"{path}: cannot be read: it is a device")
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise YamlError(f"{path}: cannot be read: it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}: cannot be read: byte {error.start} is no UTF-8") from None


def read(text: str, source: str) -> Document:
    """Read one YAML document; `source` is what errors call the file.

    Raises YamlError for syntax, a repeated key, a key that is not text, a value that its tag does not fit, and for
    everything beyond the bounds at the top of this file.
    """
    _check_characters(text, source)
    loader = None
    try:
        _check_bounds(text, source)
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        problems: list[Problem] = []
        data = _value(loader, node, (), lines, problems) if node is not None else None
    except _TooMany:
        raise _too_many(source) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{min(mark.line, text.rstrip().count(chr(10))) + 1}" if mark else ""  # not behind the last
        raise YamlError(f"{source}{line}: this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"{source}: this is not YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if problems:
        raise YamlError(complaint(source, lines, problems))
    return Document(source, data, lines)


def complaint(source: str, lines: dict[Path, int], problems: Iterable[Problem]) -> str:
    """Return what is wrong, a line for each problem, in the order of the file; "" when nothing is."""
    found = [(problem.line or line_of(lines, problem.path), problem) for problem in problems]
    found.sort(key=lambda each: each[0])
    return "\n".join(f"{source}:{line}: {dotted(p.path)}: {p.text}" for line, p in found)


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


def _too_many(source: str) -> YamlError:
    return YamlError(f"{source}: more than {MOST_VALUES:,} values, each alias counted where it is used")


def _check_characters(text: str, source: str) -> None:
    if len(text) > MOST_BYTES:
        raise YamlError(f"{source}: larger than {MOST_BYTES >> 20} MiB")
    found = _NO_TEXT.search(text, 1 if text.startswith("\ufeff") else 0)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise YamlError(f"{source}:{line}: this is not YAML: the character U+{ord(found[0]):04X} is not allowed")


def _check_bounds(text: str, source: str) -> None:
    """Go through the file once without making anything of it: what composes nodes, calls itself at each level."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise YamlError(f"{source}:{line}: nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_TEXT:
            raise YamlError(f"{source}:{line}: a text of more than {LONGEST_TEXT:,} characters")
        values += isinstance(event, yaml.NodeEvent)
        if values > 2 * MOST_VALUES:  # keys are counted here, too
            raise _too_many(source)


def _value(
    loader: yaml.SafeLoader, node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem]
) -> Value:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:
        raise _TooMany
    if len(path) > DEEPEST:  # by aliases; also ends an anchor that contains itself
        problems.append(Problem(path[:3], f"nested deeper than {DEEPEST} levels"))
        return None
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(loader, item, (*path, index), lines, problems) for index, item in enumerate(node.value))
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node, path, problems)
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


def _scalar(loader: yaml.SafeLoader, node: yaml.Node, path: Path, problems: list[Problem]) -> Value:
    """The value of a scalar; dates and the like stay text: they are YAML's idea, not ours."""
    line = node.start_mark.line + 1
    if node.tag not in _PLAIN:
        return str(node.value)
    if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
        problems.append(Problem(path, f"a number of {len(node.value):,} characters", line))
        return None
    try:
        value: Value = loader.construct_object(node)
    except (ValueError, LookupError, OverflowError, yaml.YAMLError):  # what a tag says of a text that is none
        name = node.tag.rpartition(":")[2]
        problems.append(Problem(path, f"expected what the tag !!{name} says, got {node.value[:40]!r}", line))
        return None
    return value
