"""The frame of a process: its end, its exit code, and the one line about an error."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from gwlbemu.errors import NetError
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.process import run_process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_loop_and_everything_is_given_back(number: signal.Signals) -> None:
    closed: list[str] = []
    said: list[str] = []

    def work(loop: Loop, stack: ExitStack) -> None:
        stack.callback(closed.append, "first opened")
        stack.callback(closed.append, "last opened")
        loop.call_at(loop.now, lambda: os.kill(os.getpid(), number))
        loop.run()

    assert run_process(work, report=said.append) == 0
    assert (closed, said) == (["last opened", "first opened"], [])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NetError("no such interface"), "no such interface"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (PermissionError(13, "Permission denied", "/run/x"), "Permission denied: /run/x"),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_code_2(error: Exception, sentence: str) -> None:
    said: list[str] = []

    def work(loop: Loop, stack: ExitStack) -> None:
        raise error

    assert run_process(work, report=said.append) == 2
    assert said == [sentence]


def test_a_bug_is_raised() -> None:
    def work(loop: Loop, stack: ExitStack) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_process(work, report=lambda text: None)
