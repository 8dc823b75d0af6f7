"""attributes: what is set and what AWS's default is, of a file and of a running lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY
from tests.paths import TOPOLOGIES

TWO_ZONES = str(TOPOLOGIES / "two-zones.yaml")
MINIMAL = TOPOLOGIES / "minimal.yaml"


def test_of_a_file_every_key_has_its_value_and_awss_default(gwlbemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = [*gwlbemu("attributes", "firewall", TWO_ZONES, "--json").json]
    found += gwlbemu("attributes", "firewalls", TWO_ZONES, "--json").json
    assert {(each["kind"], each["key"]) for each in found} == {
        (kind, key) for kind, rows in ATTRIBUTES[GATEWAY].TABLE.items() for key in rows
    }
    delay = {"key": "deregistration_delay.timeout_seconds", "value": "60", "default": "300", "kind": "target-group"}
    (mine,) = (each for each in found if each["value"] != each["default"])
    assert mine == delay | {
        "resource": "firewalls",
        "expected": "a whole number from 0 to 3600",
        "source": "guide, Edit target group attributes",
    }


def test_the_table_marks_what_is_not_a_default_and_fits_80_columns(gwlbemu: Any) -> None:
    lines = gwlbemu("attributes", "firewalls", TWO_ZONES).out.splitlines()
    assert lines[0].split() == ["KEY", "VALUE", "DEFAULT"]
    assert [line.split() for line in lines if line.startswith("*")] == [
        ["*", "deregistration_delay.timeout_seconds", "60", "300"]
    ]
    assert max(map(len, lines)) <= 80
    assert "listener of firewall" in gwlbemu("attributes", "firewall", TWO_ZONES).out.splitlines()


def test_a_file_and_a_lab_is_a_wrong_command_line(gwlbemu: Any) -> None:
    assert gwlbemu("attributes", "firewall", TWO_ZONES, "--lab", "x").code == 2


@pytest.mark.namespace
def test_what_changes_a_lab_says_what_it_did_as_json(gwlbemu: Any, tmp_path: Path) -> None:
    up = gwlbemu("up", str(MINIMAL), "--no-capture", "--json")
    try:
        assert (up.code, up.err) == (0, "")
        assert up.json.keys() == {"lab", "source", "seconds", "troubles", "targets"}
        assert (up.json["lab"], up.json["troubles"]) == ("minimal", [])
        assert [(each["id"], each["state"]) for each in up.json["targets"]] == [("fw", "healthy")]

        key = "target_failover.on_unhealthy"
        values = {key: "rebalance", "target_failover.on_deregistration": "rebalance"}
        said = gwlbemu("set", "firewalls", *(f"{each}={value}" for each, value in values.items()), "--json")
        assert said.json == {"resource": "firewalls", "attributes": values}
        now = {each["key"]: each for each in gwlbemu("attributes", "firewalls", "--json").json}
        assert (now[key]["value"], now[key]["default"]) == ("rebalance", "no_rebalance")

        cable = ["cable fw of minimal-appliances pulled"]
        broken = [{"kind": "link", "name": "fw"}]
        failed = {"kind": "link", "name": "fw", "done": cable, "broken": broken}
        assert gwlbemu("fail", "link", "fw", "--json").json == failed
        assert gwlbemu("fail", "link", "fw", "--json").json == failed | {"done": []}
        healed = gwlbemu("heal", "link", "fw", "--json").json
        assert healed == failed | {"done": ["cable fw of minimal-appliances plugged in"], "broken": []}

        for was in (True, False):
            said = gwlbemu("deregister", "firewalls", "fw", "--json").json
            assert said == {"target_group": "firewalls", "id": "fw", "was_registered": was}
        target = {"id": "fw", "address": "10.254.1.11", "zone": "a", "port": 6081}
        for was in (False, True):
            said = gwlbemu("register", "firewalls", "fw", "--json").json
            assert said == {"target_group": "firewalls", **target, "was_registered": was}
        assert gwlbemu("advance", "5s", "--json").json == {"inspect-node-a": {"count": 0, "flows": []}}
    finally:
        down = gwlbemu("down", "--json")
    assert down.json["lab"] == "minimal"
    assert down.json["was_there"]
    assert down.json["processes"] >= 3
    assert down.json["namespaces"] >= 6
    assert gwlbemu("down", "--json").json == {"lab": None, "was_there": False, "processes": 0, "namespaces": 0}


@pytest.mark.namespace
def test_without_root_the_attributes_of_a_running_lab_can_be_read(
    gwlbemu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(MINIMAL, capture=False):
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        keys = [each["key"] for each in json.loads(gwlbemu("attributes", "inspect", "--json").out)]
        monkeypatch.undo()
    assert "load_balancing.cross_zone.enabled" in keys
