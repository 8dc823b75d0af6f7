"""A damaged state folder: every verb names the file, in one sentence, and `down` takes the lab down all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import LabError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.lab.state import State, sealed
from gwlbemu.net.record import open_new, read
from gwlbemu.topology.plan.encode import to_json
from tests.topology.builder import plan_of

PLAN = plan_of()
GOOD = {
    "plan.json": sealed(to_json(PLAN)),
    "failures.json": '[["link", "web"], ["zone", "a"]]',
    "shortcuts.json": '{"namespaces": ["test-fabric"], "reason": ""}',
    "record.jsonl": '{"kind": "process", "name": "web", "namespace": "test-web", "pid": 1, "started": 2}\n',
}
PIECES = ["", "\0", "[", "{", "null", '"', "[" * 2000, "9" * 5000, "1e999", "NaN", "-1", "\ud800", "\n", "}", "true"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RunningLab:
    state = State(PLAN.lab, tmp_path_factory.mktemp("root"))
    open_new(PLAN.lab, root=state.root).close()
    state.make_folders()
    return RunningLab(PLAN, state)


def look(lab: RunningLab, name: str) -> None:
    """Read one file as every verb does."""
    if name == "plan.json":
        open_lab(root=lab.state.root)
    elif name == "failures.json":
        failures(lab)
    elif name == "shortcuts.json":
        installed(lab.state)
    else:
        for process in read(PLAN.lab, root=lab.state.root).processes:
            assert isinstance(process.pid, int)
        lab.processes()


def complaint(lab: RunningLab, name: str) -> str:
    """What is said about a file; "" when it is read, or made anew without a word."""
    try:
        look(lab, name)
    except LabError as error:
        return str(error)
    return ""


@given(st.sampled_from(sorted(GOOD)), st.floats(0, 1), st.sampled_from(PIECES), st.integers(0, 40))
def test_a_damaged_file_names_itself_or_does_no_harm(
    lab: RunningLab, name: str, where: float, piece: str, over: int
) -> None:
    good = GOOD[name]
    at = int(where * len(good))
    damaged = (good[:at] + piece + good[at + over :]).encode(errors="surrogatepass")
    path = lab.state.folder / name
    path.write_bytes(damaged)
    said = complaint(lab, name)
    path.write_text(good)
    allowed = ("", f"{path} is damaged: take the lab down")
    assert said.startswith(allowed[1]) or said == "" or "another version of gwlbemu" in said
    if name == "plan.json" and damaged.strip() != good.encode().strip() and b'"digest": "' in damaged[-90:]:
        assert said


@pytest.mark.parametrize("name", ["plan.json", "failures.json"])
@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '"x"', "[[]]", "[1]", '[["link"]]', "[" * 5000, '{"lab": 1}'])
def test_another_text_is_refused_or_means_nothing(lab: RunningLab, name: str, text: str) -> None:
    path = lab.state.folder / name
    path.write_text(text)
    said = complaint(lab, name)
    path.write_text(GOOD[name])
    if name == "failures.json" and text in ("{}", "[]"):
        assert said == ""
    else:
        assert said.startswith(f"{path} is damaged: take the lab down") or "another version" in said


READS = [("status",), ("targets",), ("flows",), ("metrics",), ("doctor",), ("inspect", "--last"), ("watch",),
         ("exec", "client", "--", "true"), ("register", "g", "t"), ("set", "g", "a=b"), ("fail", "link", "web"),
         ("heal", "link", "web"), ("advance", "1"), ("drill",), ("inject", "--tcp", "80")]  # fmt: skip


@pytest.mark.namespace
@pytest.mark.parametrize("words", READS, ids=lambda words: words[0])
def test_every_verb_names_a_damaged_plan(gwlbemu: Callable[..., Any], words: tuple[str, ...]) -> None:
    state = State(PLAN.lab)
    open_new(PLAN.lab).close()
    try:
        state.make_folders()
        state.keep(state.plan, GOOD["plan.json"].replace("10.0", "10.9", 1))
        said = gwlbemu(*words)
        assert (said.code, said.out) == (4, "")
        assert said.err.startswith(f"gwlbemu: {state.plan} is damaged: take the lab down (")
        assert said.err.count("\n") == 1
    finally:
        assert gwlbemu("down").code == 0
    assert not Path(state.folder).exists()
