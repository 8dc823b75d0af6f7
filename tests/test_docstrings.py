"""Every public definition of a module or a class has a docstring: it tells a caller what the signature does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

SOURCES = sorted([*ROOT.glob("gwlbemu/**/*.py"), *ROOT.glob("appliances/**/*.py")])
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield every public definition of a module or class with its dotted name; setters and overloads repeat one."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_") and not _repeats(node):
            yield inside + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{inside}{node.name}.")


def _repeats(node: Definition) -> bool:
    names = {name for each in node.decorator_list for name in (getattr(each, "attr", ""), getattr(each, "id", ""))}
    return bool(names & {"setter", "deleter", "overload"})


def missing(source: str) -> list[str]:
    """Return the module (as "") and the public definitions of a source text that have no docstring."""
    tree = ast.parse(source)
    found = [name for name, node in public(tree.body) if not ast.get_docstring(node)]
    return found if ast.get_docstring(tree) else ["", *found]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_definition_has_a_docstring(path: Path) -> None:
    assert missing(path.read_text()) == []


def test_a_definition_without_a_docstring_is_found() -> None:
    source = 'class A:\n    """A."""\n    @property\n    def b(self): ...\n    def _c(self): ...\nasync def d(): ...\n'
    assert missing(source) == ["", "A.b", "d"]
