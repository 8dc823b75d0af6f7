"""Trace sessions of these tests ask a `FakeLab` where they are given one."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.trials import trace
from gwlbemu.views.ask import ask_nodes as ask
from tests.trials.fake_lab import FakeLab


@pytest.fixture(autouse=True)
def fake_labs_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a `FakeLab` answer for its nodes; a real lab is asked as ever."""

    def ask_nodes(lab: Any, verb: str, **arguments: Any) -> Any:
        return lab.ask_nodes(verb, **arguments) if isinstance(lab, FakeLab) else ask(lab, verb, **arguments)

    monkeypatch.setattr(trace, "ask_nodes", ask_nodes)
