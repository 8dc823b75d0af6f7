"""ARCHITECTURE.md's import rules, checked: no room imports upward, only some rooms touch the world, no two files import
each other, and a module named inside a string (`"gwlbemu.programs.web"`) is an import, too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT


def _table() -> dict[str, tuple[str, ...]]:
    """Read ARCHITECTURE.md's table: room -> the rooms it may import, besides itself and `errors`.

    What stands beside the sub-rooms of a room (core/emulation, topology/names, programs/web) is a room of its own.
    """
    found = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and re.fullmatch(r"`[\w/]+`", cells[1]):
            found[cells[1].strip("`")] = tuple(filter(None, cells[3].split(", ")))
    return found


MAY_IMPORT = {**_table(), "": ("public",), "__main__": ("cli",)}  # and the package's own two files
# Programs are started, not imported: who may name them in a string.
MAY_START = {
    "lab": ("programs/gateway", "programs/network", "programs/application", "programs/recorder", "programs/resolver"),
    "topology/plan": ("programs", "appliances"),
    "trials/drill": ("programs",),
    "trials/web": ("programs",),
    "bench": ("bench", "cli", "programs/gateway"),
    "cli": ("cli",),
}
PURE = {"wire", "core", "topology", "paths", "review", "capture"}
WORLD = {
    "asyncio", "os", "random", "secrets", "select", "selectors", "socket", "subprocess", "threading", "time", "logging",
    "pyroute2", "scapy",
}  # fmt: skip
SOURCES = sorted([*ROOT.glob("gwlbemu/**/*.py"), *ROOT.glob("appliances/**/*.py")])
OWN = {"gwlbemu", "appliances"}
MODULE = re.compile(r"(?:gwlbemu|appliances)(?:\.\w+)+")


def name_of(path: Path) -> str:
    """Return the dotted name of a file: of an `__init__.py` its folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in SOURCES}


def module_of(dotted: str) -> str:
    """Return the module that a dotted name is, or is in."""
    while dotted not in MODULES and "." in dotted:
        dotted = dotted.rpartition(".")[0]
    return dotted


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every module that a file imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named_in_strings(tree: ast.AST) -> Iterator[str]:
    """Yield every module of ours that a string is the name of; docstrings, which are not that short, may name any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value


def room(dotted: str) -> str:
    """Return the innermost room that a module stands in; `appliances` is one."""
    parts = dotted.split(".")
    if parts[0] == "appliances":
        return "appliances"
    return next((name for size in (2, 1) if (name := "/".join(parts[1 : 1 + size])) in MAY_IMPORT), "/".join(parts[1:]))


def allowed(rooms: tuple[str, ...], name: str) -> bool:
    """Whether one of `rooms` (with /*: and its sub-rooms; or a single module) covers a module."""
    there, path = room(name), "/".join(name.split(".")[1:])
    return any(
        there == each or path == each or (each.endswith("/*") and (there + "/").startswith(each[:-1])) for each in rooms
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    here, tree = room(name_of(path)), ast.parse(path.read_text())
    for name in imported(tree):
        package = name.split(".")[0]
        if package in OWN and here != "errors":
            there = module_of(name)
            fine = room(there) in (here, "errors") or allowed(MAY_IMPORT[here], there)
            assert fine, f"{here} imports {name}"
        elif here.split("/")[0] in PURE:
            assert package not in WORLD, f"{here} touches the world: {name}"
    for name in named_in_strings(tree):
        there = module_of(name)
        fine = room(there) == here or allowed((*MAY_IMPORT[here], *MAY_START.get(here, ())), there)
        assert fine, f"{here} names {name}"


def test_every_room_is_in_the_table() -> None:
    folders = {
        "/".join(path.relative_to(ROOT / "gwlbemu").parts)
        for path in (ROOT / "gwlbemu").rglob("*")
        if path.is_dir() and any(path.glob("*.py"))
    }
    modules = {path.stem for path in (ROOT / "gwlbemu").glob("*.py")} - {"__init__", "errors"}
    assert folders | modules | {"", "appliances"} == set(MAY_IMPORT)


def test_no_two_files_import_each_other() -> None:
    """Circles of any length; what only a type checker sees (`if TYPE_CHECKING`) counts as well."""
    edges = {
        name_of(path): {module_of(name) for name in imported(ast.parse(path.read_text())) if name.split(".")[0] in OWN}
        for path in SOURCES
    }
    done: set[str] = set()
    for start in edges:
        assert not (circle := _circle(start, edges, [], done)), f"imports go in a circle: {' -> '.join(circle)}"


def _circle(name: str, edges: dict[str, set[str]], way: list[str], done: set[str]) -> list[str]:
    if name in way:
        return [*way[way.index(name) :], name]
    if name in done:
        return []
    for following in sorted(edges.get(name, set()) - {name}):
        if found := _circle(following, edges, [*way, name], done):
            return found
    done.add(name)
    return []
