"""What a lab's processes are told at their start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.lab.configs import capture_config_for, node_config_for
from gwlbemu.lab.state import State
from tests.topology.builder import Data, plan_of, put

STATE = State("test", Path("/run/gwlbemu"))
NODE = "inspect-node-a"


def test_a_node_is_told_its_targets_and_the_attributes_of_balancer_listener_and_group() -> None:
    def change(data: Data) -> None:
        put("load_balancers.0.listener.attributes", {"tcp.idle_timeout.seconds": 400})(data)
        put("load_balancers.0.attributes", {"load_balancing.cross_zone.enabled": True})(data)
        put("target_groups.0.attributes", {"deregistration_delay.timeout_seconds": 7})(data)

    config = node_config_for(plan_of(change), NODE, STATE)
    assert (config.load_balancer, config.target_group) == ("inspect", "firewalls")
    assert (config.zone, config.zones) == ("a", ("a",))
    assert config.targets == (("fw-a", "10.254.1.11", "a"),)
    assert [endpoint.name for endpoint in config.endpoints] == ["vpce-a"]
    assert config.attributes["listener"]["tcp.idle_timeout.seconds"] == "400"
    assert config.attributes["load-balancer"]["load_balancing.cross_zone.enabled"] == "true"
    assert config.attributes["target-group"]["deregistration_delay.timeout_seconds"] == "7"


@pytest.mark.parametrize(("enabled", "socket"), [(True, "/run/gwlbemu/test/own/capture/discards"), (False, "")])
def test_a_node_hands_its_discards_to_the_capture_where_there_is_one(enabled: bool, socket: str) -> None:
    plan = plan_of()
    plan = replace(plan, capture=replace(plan.capture, enabled=enabled))
    assert node_config_for(plan, NODE, STATE).discards == socket


def test_a_node_of_another_lab_has_another_seed_and_the_same_node_always_the_same() -> None:
    first, again, other = (node_config_for(plan_of(lab=lab), NODE, STATE).seed for lab in ("one", "one", "two"))
    assert first == again != other


def test_the_capture_knows_nodes_endpoints_and_the_targets_of_groups_in_use() -> None:
    unused = {"name": "spare", "vpc": "security", "protocol": "GENEVE", "port": 6081, "targets": ["fw-b"]}
    plan = plan_of(put("target_groups+", unused))
    config = json.loads(capture_config_for(plan, STATE))
    assert config["targets"] == {"10.254.1.11": "fw-a"}
    assert config["endpoints"] == {plan.endpoints[0].endpoint_id: "vpce-a"}
    assert config["nodes"] == {NODE: plan.gateway_nodes[0].address}
    assert config["control"] == "/run/gwlbemu/test/own/capture/sock"
