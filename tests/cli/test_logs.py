"""`gwlbemu logs`: what was written, and what comes until the lab is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gwlbemu.cli import logs
from gwlbemu.lab.state import State
from gwlbemu.views.logs import process_log
from tests.views.application_plan import application_plan
from tests.views.fake_lab import FakeLab


def lab_of(root: Path) -> FakeLab:
    state = State("web", root)
    state.make_folders()
    state.plan.write_text("{}")
    return FakeLab(application_plan(), state, {"web-a": "running"})


@pytest.mark.parametrize(("most", "shown"), [(None, "a\nb\nc\n"), (2, "b\nc\n"), (9, "a\nb\nc\n"), (0, "")])
def test_the_last_lines_are_shown(most: int | None, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs._show(["a", "b", "c"], most)
    assert capsys.readouterr().out == shown


def test_what_comes_is_followed_until_the_lab_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of(tmp_path)
    path = lab.state.log("web-a")
    comes = iter(["first\n", "second\nth", "ird", None])

    def sleep(seconds: float) -> None:
        """Meanwhile the process writes, and at last somebody takes the lab down."""
        text = next(comes)
        if text is None:
            lab.state.plan.unlink()
            return
        with path.open("a") as file:
            file.write(text)

    monkeypatch.setattr("gwlbemu.cli.logs.time.sleep", sleep)
    logs._follow(lab, process_log(lab, "web-a"))
    assert capsys.readouterr().out == "first\nsecond\nthird\n"


def test_ctrl_c_is_the_usual_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(tmp_path)

    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gwlbemu.cli.logs.time.sleep", sleep)
    logs._follow(lab, process_log(lab, "web-a"))
