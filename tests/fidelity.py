"""FIDELITY.md, made from the contract (contract.yaml) and the markers of the tests: `python -m tests.fidelity`.

A line counts as reproduced when a test carries its ID. The markers are read from the syntax trees of the test files:
nothing is imported or run, so the page is the same on every machine.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONTRACT = Path(__file__).with_name("contract.yaml")
PAGE = ROOT / "FIDELITY.md"
SHOWN = 3  # tests named per line
ID = re.compile(r"[A-Z]{2}-\d\d")
HEAD = """\
# Fidelity

What gwlbemu does like AWS, what AWS says about it, and which test proves it. Made from `tests/contract.yaml` and the
markers of the tests by `make fidelity`; a test fails when it is out of date. Nothing was measured on live AWS.

"""
EVIDENCE = """\
Evidence: **D** AWS or an RFC documents it. **C** seen in captures of AWS traffic, or in public code that runs against
AWS. **I** AWS leaves it open: *a choice of ours*, never to be taken for a fact about AWS. Two letters: part of the line
each. A choice that can be switched is a key of `emulation:` in the topology; `gwlbemu plan FILE` lists them.
"""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Line:
    """One behaviour of the contract."""

    id: str
    behaviour: str
    aws: str
    pages: tuple[str, ...]
    evidence: tuple[str, ...]  # D, C, I
    missing: str  # why no test names it, while none does


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that names a line; `packets`: it runs in network namespaces."""

    test: str  # tests/core/test_x.py::test_name
    packets: bool


class MarkerError(Exception):
    """A contract marker that cannot be read, or that no test carries."""


def contract(path: Path = CONTRACT) -> tuple[Section, ...]:
    """Every section of the contract, in its order."""
    data = yaml.safe_load(path.read_text())
    return tuple(
        Section(
            section["id"],
            section["title"],
            tuple(
                Line(
                    name,
                    line["behaviour"],
                    line["aws"],
                    tuple(data["pages"][page] for page in line["page"]),
                    tuple(line["evidence"].split("/")),
                    line.get("missing") or section.get("missing", "no test names it yet"),
                )
                for name, line in section["lines"].items()
            ),
        )
        for section in data["sections"]
    )


def proofs(folder: Path = ROOT / "tests") -> dict[str, list[Proof]]:
    """ID -> the tests that carry it, those on packets first. Raises MarkerError."""
    found: dict[str, list[Proof]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for ids, proof in _of_file(ast.parse(path.read_text()), path.relative_to(folder.parent).as_posix(), folder):
            for each in ids:
                found.setdefault(each, []).append(proof)
    return {each: sorted(tests, key=lambda proof: (not proof.packets, proof.test)) for each, tests in found.items()}


def _of_file(tree: ast.Module, name: str, folder: Path) -> Iterator[tuple[list[str], Proof]]:
    """Markers of a function, of its class, of the module (`pytestmark`), and of the parameters it is given.

    A marker made out of a table of cases, `contract(*case.contract)`, stands for every ID in that table.
    """
    known = _named(tree)
    outer = [known.pop("pytestmark")] if "pytestmark" in known else []
    tables = _imported(tree, folder) | known
    read: set[ast.Call] = set()
    for function, marks in _tests(tree.body, outer):
        trees = [*marks, *_used(marks, known)]
        calls = _calls(trees, "contract")
        read.update(calls)
        if calls and not _uses(trees, "xfail"):
            cases = sorted(_constants(_used(trees, tables)))
            ids = sorted({each for call in calls for each in _ids(call, cases, name)})
            yield ids, Proof(f"{name}::{function.name}", _uses(marks, "namespace"))
    if lost := [call for call in _calls([tree], "contract") if call not in read]:
        raise MarkerError(f"{name}:{lost[0].lineno}: no test carries this contract marker")


def _named(tree: ast.Module) -> dict[str, ast.AST]:
    """What the top level of a file names, but for tests: lists of parameters, and functions that make them."""
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("test"):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _imported(tree: ast.Module, folder: Path) -> dict[str, ast.AST]:
    """The same for what a file imports from a module at the top of the tests, such as `cases`."""
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = folder / f"{node.module.removeprefix('tests.')}.py"
            if module.is_file():
                named = _named(ast.parse(module.read_text()))
                found |= {each.name: named[each.name] for each in node.names if each.name in named}
    return found


def _used(trees: Iterable[ast.AST], named: dict[str, ast.AST]) -> list[ast.AST]:
    words = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return [tree for name, tree in named.items() if name in words]


def _constants(trees: Iterable[ast.AST]) -> set[str]:
    texts = {str(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in texts if ID.fullmatch(text)}


def _tests(body: Iterable[ast.stmt], outer: list[ast.AST]) -> Iterator[tuple[Function, list[ast.AST]]]:
    for node in body:
        if isinstance(node, Function) and node.name.startswith("test"):
            yield node, [*outer, *node.decorator_list]
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            own = [
                each.value
                for each in node.body
                if isinstance(each, ast.Assign) and any(ast.unparse(target) == "pytestmark" for target in each.targets)
            ]
            yield from _tests(node.body, [*outer, *node.decorator_list, *own])


def _calls(trees: Iterable[ast.AST], mark: str) -> list[ast.Call]:
    return [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f"mark.{mark}")
    ]


def _uses(trees: Iterable[ast.AST], mark: str) -> bool:
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node).endswith(f"mark.{mark}")
        for tree in trees
        for node in ast.walk(tree)
    )


def _ids(call: ast.Call, cases: list[str], name: str) -> Iterator[str]:
    for argument in call.args:
        if isinstance(argument, ast.Constant) and ID.fullmatch(str(argument.value)):
            yield str(argument.value)
        elif isinstance(argument, ast.Starred) and ast.unparse(argument).endswith(".contract") and cases:
            yield from cases
        else:
            raise MarkerError(f'{name}:{call.lineno}: expected IDs such as "GV-01", got {ast.unparse(argument)}')


def unknown_ids(sections: Iterable[Section], found: Iterable[str]) -> list[str]:
    """IDs that tests name and the contract does not."""
    return sorted(set(found) - {line.id for section in sections for line in section.lines})


def page(sections: tuple[Section, ...], found: dict[str, list[Proof]]) -> str:
    """FIDELITY.md."""
    lines = [line for section in sections for line in section.lines]
    proved = [line for line in lines if line.id in found]
    on_packets = sum(found[line.id][0].packets for line in proved)
    text = [
        *HEAD.splitlines(),
        f"**{len(proved)} of {len(lines)} behaviours are proved by a test**, {on_packets} of them on real packets in",
        f"network namespaces, {len(proved) - on_packets} in pure code only (bytes, core or plan).",
        "",
        "| section | behaviours | proved | on real packets |",
        "|---|---|---|---|",
    ]
    for section in sections:
        names = [line.id for line in section.lines if line.id in found]
        packets = sum(found[name][0].packets for name in names)
        text.append(f"| [{section.title}](#{_anchor(section)}) | {len(section.lines)} | {len(names)} | {packets} |")
    text += ["", *EVIDENCE.splitlines()]
    for section in sections:
        text += ["", f"## {_heading(section)}", "", "| ID | behaviour | AWS says (page) | evidence | proved by |"]
        text.append("|---|---|---|---|---|")
        text += [_row(line, found.get(line.id, [])) for line in section.lines]
    return "\n".join(text) + "\n"


def _heading(section: Section) -> str:
    return f"{section.id}: {section.title}"


def _anchor(section: Section) -> str:
    return re.sub(r"[^a-z0-9 -]", "", _heading(section).lower()).replace(" ", "-")


def _row(line: Line, tests: list[Proof]) -> str:
    words = {"D": "D", "C": "C, seen", "I": "**I, our choice**"}
    evidence = " / ".join(words[each] for each in line.evidence)
    aws = f"{line.aws} ({'; '.join(line.pages)})"
    return f"| {' | '.join((line.id, line.behaviour, aws, evidence, _proved(line, tests)))} |"


def _proved(line: Line, tests: list[Proof]) -> str:
    if not tests:
        return f"*not reproduced yet*: {line.missing}"
    packets = [proof for proof in tests if proof.packets]
    shown, parts = tests[:SHOWN], []
    for title, chosen in (("on real packets", packets), ("pure", [proof for proof in tests if not proof.packets])):
        names = [f"`{proof.test.removeprefix('tests/')}`" for proof in chosen if proof in shown]
        if names:
            parts.append(f"{title}: {', '.join(names)}")
    more = f"; {len(tests)} tests in all" if len(tests) > SHOWN else ""
    return "; ".join(parts) + more


def main() -> int:
    """Write FIDELITY.md; 1 when a marker names an ID that the contract has not."""
    sections, found = contract(), proofs()
    if unknown := unknown_ids(sections, found):
        print(f"no such line in the contract: {', '.join(unknown)}", file=sys.stderr)
        return 1
    PAGE.write_text(page(sections, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
