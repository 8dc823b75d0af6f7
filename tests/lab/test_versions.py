"""A lab that another version of gwlbemu brought up can be taken down, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.errors import LabError
from gwlbemu.lab.running import open_lab
from gwlbemu.lab.state import State
from gwlbemu.net.record import list_labs, open_new
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.values import VERSION
from tests.lab.worlds import world
from tests.topology.builder import plan_of

Rewrite = Callable[[dict[str, Any]], object]


def of_version_1(plan: dict[str, Any]) -> None:
    """As it was written before plans had a version: one target group and its listener's attributes."""
    del plan["version"]
    for balancer in plan["load_balancers"]:
        (listener,) = balancer.pop("listeners")
        balancer["target_group"] = listener["default_actions"][0]["target_groups"][0]["target_group"]
        balancer["listener_attributes"] = listener["attributes"]
    for program in plan["programs"]:
        del program["kind"], program["listens"]


def of_the_next_version(plan: dict[str, Any]) -> None:
    """As a future version might write it: something is there that nobody knows today."""
    plan["version"] = VERSION + 1
    plan["load_balancers"] = [{"name": "web", "scheme": "internal"}]


REWRITES = [of_version_1, of_the_next_version]


@pytest.mark.parametrize("rewrite", REWRITES)
def test_opening_such_a_lab_says_what_can_be_done_with_it(rewrite: Rewrite, tmp_path: Path) -> None:
    state = State("test", tmp_path)
    open_new("test", root=tmp_path).close()
    plan = json.loads(to_json(plan_of()))
    rewrite(plan)
    state.plan.write_text(json.dumps(plan))
    with pytest.raises(LabError, match="lab test was brought up by another version of gwlbemu") as caught:
        open_lab("test", root=tmp_path)
    assert "gwlbemu down --lab test" in str(caught.value)
    assert down("test", root=tmp_path).was_there
    assert list_labs(root=tmp_path) == []


VERBS = [
    "status", "targets", "flows", "metrics", "doctor", "inject", "advance 1s", "set inspect x=1", "exec client true",
    "register firewalls fw", "deregister firewalls fw", "fail instance fw", "heal instance fw", "inspect --last",
]  # fmt: skip


@pytest.mark.namespace
@pytest.mark.parametrize("rewrite", REWRITES)
def test_every_verb_but_down_refuses_it_in_one_sentence(rewrite: Rewrite, capsys: pytest.CaptureFixture[str]) -> None:
    with Lab(world(), capture=False) as lab:
        path = lab.running.state.plan
        plan = json.loads(path.read_text())
        rewrite(plan)
        path.write_text(json.dumps(plan))
        for verb in VERBS:
            assert main(verb.split()) == 4, verb
            (line,) = capsys.readouterr().err.splitlines()
            assert "another version of gwlbemu" in line, verb
            assert "gwlbemu down --lab world" in line, verb
        assert main(["down"]) == 0
        assert "world is down: 4 processes ended, " in capsys.readouterr().out
        assert not [name for name in os.listdir("/run/netns") if name.startswith("world-")]
