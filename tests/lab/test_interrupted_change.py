"""A change whose maker died, or one of whose nodes would not hear: told by status, mended by the next change."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from gwlbemu.errors import LabError, NetError
from gwlbemu.lab import change
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.state import State, is_damaged, sealed
from tests.lab.test_change import CROSS, IDLE, NODES, Fakes, fakes, targets

__all__ = ["fakes"]
REGISTER = {"verb": "register", "id": "fw-b", "address": "10.254.2.11", "zone": "b"}


def killed_after(calls: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do `act` in a process that is killed when it would make its next call after so many."""
    child = os.fork()
    if child == 0:
        real, made = RunningLab.call, 0

        def call(self: RunningLab, name: str, verb: str, **arguments: Any) -> dict[str, Any]:
            nonlocal made
            if made == calls:
                os._exit(9)
            made += 1
            return real(self, name, verb, **arguments)

        monkeypatch.setattr(RunningLab, "call", call)
        act()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("calls", [0, 1])
def test_the_next_change_tells_every_node_what_an_interrupted_one_did_not(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    killed_after(calls, monkeypatch, lambda: change.register(fakes.lab, "firewalls", "fw-b"))
    assert fakes.lab.state.plan_before.exists()
    assert targets(fakes.plan) == [("fw-a", "a"), ("fw-b", "b")]
    for heard in fakes.heard:
        heard.clear()
    change.set_attributes(fakes.lab, "inspect", {CROSS: "true"})
    for heard in fakes.heard:
        assert heard[0] == REGISTER
        assert [each["verb"] for each in heard] == ["register", "set"]
    assert not fakes.lab.state.plan_before.exists()


def test_a_refusal_is_told_back_to_the_nodes_that_took_it(fakes: Fakes) -> None:
    fakes.nodes[1].answer = {"ok": False, "error": "no", "code": "InvalidInput"}
    for act, back in (
        (lambda: change.register(fakes.lab, "firewalls", "fw-b"), {"verb": "deregister", "id": "fw-b"}),
        (lambda: change.deregister(fakes.lab, "firewalls", "fw-a"), {**REGISTER, "id": "fw-a", "address": "10.254.1.11",
                                                                     "zone": "a"}),
        (lambda: change.set_attributes(fakes.lab, "inspect", {IDLE: "400"}),
         {"verb": "set", "resource": "listener", "attributes": {IDLE: "350"}}),
    ):  # fmt: skip
        before = fakes.lab.state.plan.read_text()
        fakes.nodes[0].heard.clear()
        with pytest.raises(Exception, match="no"):
            act()
        assert fakes.nodes[0].heard[-1] == back
        assert fakes.lab.state.plan.read_text() == before
        assert not fakes.lab.state.plan_before.exists()


def test_a_node_that_cannot_be_told_back_is_told_by_the_next_change(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fakes.plan

    def silent(self: RunningLab, name: str, verb: str, **arguments: Any) -> dict[str, Any]:
        raise LabError(f"{name} does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(RunningLab, "call", silent)
        with pytest.raises(LabError, match=f"{NODES[0]} does not answer"):
            change.register(fakes.lab, "firewalls", "fw-b")
    assert fakes.plan == before
    assert fakes.lab.state.plan_before.exists()
    change.set_attributes(fakes.lab, "inspect", {CROSS: "true"})
    assert [[each["verb"] for each in heard] for heard in fakes.heard] == [["deregister", "set"]] * 2


def test_what_cannot_be_written_reaches_no_node(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fakes.lab.state.plan.read_text()

    def full(*_: object, **__: object) -> None:
        raise NetError("the disk is full")

    monkeypatch.setattr(State, "keep", full)
    with pytest.raises(NetError, match="the disk is full"):
        change.register(fakes.lab, "firewalls", "fw-b")
    assert fakes.heard == [[], []]
    assert fakes.lab.state.plan.read_text() == before
    assert not fakes.lab.state.plan_before.exists()


@pytest.mark.parametrize("text", ["{}", '{"a": {"b": 1}}', '{\n "a": [1]\n}\n'])
def test_a_seal_knows_its_text_again(text: str) -> None:
    seal = sealed(text)
    assert not is_damaged(seal)
    assert not is_damaged(text)
    assert is_damaged(seal.replace("{", "[", 1))
