"""ARCHITECTURE.md's import rules, checked: no room imports upward, and only some rooms touch the world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {  # room: the rooms it may import besides itself and errors
    "wire": set(),
    "core": {"wire"},
    "topology": {"core"},
    "capture": {"wire"},
    "ports": {"wire", "capture"},
    "fastpath": {"wire", "core"},
    "net": {"topology"},
    "run": {"wire", "core", "topology", "capture", "ports", "fastpath", "net"},
    "bench": {"wire", "core", "topology", "capture", "ports", "fastpath", "net", "run"},
    "cli": {"topology", "capture", "net", "run", "bench"},
    "appliances": {"wire", "ports"},
}
FRONT_DOORS = {"__init__": {"run"}, "pytest_plugin": {"run"}}  # modules beside the rooms
PURE = {"wire", "core", "topology", "capture"}
WORLD = {
    "asyncio", "os", "random", "secrets", "select", "selectors", "socket", "subprocess", "threading", "time", "logging",
    "pyroute2", "scapy",
}  # fmt: skip
SOURCES = sorted([*ROOT.glob("gwlbemu/**/*.py"), *ROOT.glob("appliances/**/*.py")])


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[0] if parts[0] == "appliances" else (parts[1:] or [""])[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imported(ast.parse(path.read_text())):
        package = name.split(".")[0]
        if package in ("gwlbemu", "appliances"):
            allowed = {**MAY_IMPORT, **FRONT_DOORS}.get(here)
            if allowed is not None:
                assert room(name) in allowed | {here, "errors"}, f"{here} imports {name}"
        elif here in PURE:
            assert package not in WORLD, f"{here} touches the world: {name}"


def test_every_room_is_in_the_table() -> None:
    rooms = {path.name for path in (ROOT / "gwlbemu").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms | {"appliances"} == set(MAY_IMPORT)
