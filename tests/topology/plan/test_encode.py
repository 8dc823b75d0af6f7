"""A plan is written down and read again without loss; one of another version is not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gwlbemu.topology.plan.encode import PlanVersionError, from_json, to_json
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import VERSION
from tests.paths import TOPOLOGIES
from tests.topology.builder import plan_of


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_plan_survives(path: Path) -> None:
    plan = load(path.read_text(), path.name)
    assert from_json(to_json(plan)) == plan


@pytest.mark.parametrize("version", [None, 1, VERSION + 1, "2"])
def test_a_plan_of_another_version_is_not_read(version: object) -> None:
    found = json.loads(to_json(plan_of()))
    found["version"] = version
    if version is None:  # as before there was one
        del found["version"], found["load_balancers"][0]["listeners"]
    with pytest.raises(PlanVersionError, match=f"expected a plan of version {VERSION}, got {version or 1}"):
        from_json(json.dumps(found))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"version": 2}', f'{{"lab": "x", "version": {VERSION}}}'])
def test_what_is_no_plan_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's own words
        from_json(text)
    assert not isinstance(caught.value, PlanVersionError)
