"""What a lab's processes are told at their start."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.core.network.settings import Forward
from gwlbemu.lab.configs import capture_config_for, fresh_secret, node_config_for, node_seed
from gwlbemu.lab.state import CLOSED, State
from gwlbemu.topology.plan.network_settings import network_balancer
from tests.topology.builder import Data, plan_of, put

STATE = State("test", Path("/run/gwlbemu"))
NODE = "inspect-node-a"


def test_a_node_is_told_its_targets_and_the_attributes_of_balancer_listener_and_group() -> None:
    def change(data: Data) -> None:
        put("load_balancers.0.listener.attributes", {"tcp.idle_timeout.seconds": 400})(data)
        put("load_balancers.0.attributes", {"load_balancing.cross_zone.enabled": True})(data)
        put("target_groups.0.attributes", {"deregistration_delay.timeout_seconds": 7})(data)

    config = node_config_for(plan_of(change), NODE, STATE, "secret")
    assert (config.load_balancer, config.target_group) == ("inspect", "firewalls")
    assert (config.zone, config.zones) == ("a", ("a",))
    assert config.targets == (("fw-a", "10.254.1.11", "a"),)
    assert [endpoint.name for endpoint in config.endpoints] == ["vpce-a"]
    assert config.attributes["listener"]["tcp.idle_timeout.seconds"] == "400"
    assert config.attributes["load-balancer"]["load_balancing.cross_zone.enabled"] == "true"
    assert config.attributes["target-group"]["deregistration_delay.timeout_seconds"] == "7"


@pytest.mark.contract("NL-13")
def test_of_two_rules_for_one_ip_version_the_lower_priority_counts() -> None:
    def change(data: Data) -> None:
        vpc = data["vpcs"][0]
        vpc["ipv6_cidr"] = "2001:db8::/56"
        vpc["subnets"][0]["ipv6_cidr"] = "2001:db8::/64"
        data["target_groups"] += [
            {"name": name, "vpc": "app", "protocol": "TCP", "port": 80, "targets": ["web"]}
            for name in ("first", "second", "rest")
        ]
        condition = {"field": "source-ip", "source_ip_config": {"ip_address_type": "ipv6"}}
        rules = [
            {"priority": priority, "conditions": [condition], "actions": [{"type": "forward", "target_group": name}]}
            for priority, name in ((7, "second"), (3, "first"))
        ]
        actions = [{"type": "forward", "target_group": "rest"}]
        listener = {"protocol": "TCP", "port": 80, "default_actions": actions, "rules": rules}
        data["load_balancers"].append(
            {
                "name": "front", "type": "network", "ip_address_type": "dualstack", "subnets": ["app-a"],
                "listeners": [listener],
            }
        )  # fmt: skip

    (told,) = network_balancer(plan_of(change), "front").listeners
    assert told.by_version == ((6, Forward((("first", 1),))),)
    assert told.forward_of(4) == Forward((("rest", 1),))


@pytest.mark.parametrize(("enabled", "socket"), [(True, "/run/gwlbemu/test/own/capture/discards"), (False, "")])
def test_a_node_hands_its_discards_to_the_capture_where_there_is_one(enabled: bool, socket: str) -> None:
    plan = plan_of()
    plan = replace(plan, capture=replace(plan.capture, enabled=enabled))
    assert node_config_for(plan, NODE, STATE, "secret").discards == socket


def test_the_seed_of_a_node_follows_from_the_labs_secret_and_the_nodes_name_and_nothing_else() -> None:
    one, renamed, other = (
        node_config_for(plan_of(lab=lab), NODE, STATE, secret).seed
        for lab, secret in (("one", "secret"), ("two", "secret"), ("one", "another"))
    )
    assert one == renamed != other
    assert one == node_seed("secret", NODE) != node_seed("secret", "inspect-node-b")


def test_a_lab_without_a_seed_has_a_secret_that_no_other_has() -> None:
    assert len({fresh_secret() for _ in range(100)}) == 100


def test_the_secret_is_for_root_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    state = State("test", tmp_path)
    state.make_folders()
    before = os.umask(0)
    try:
        state.keep(state.secret, "caf\udce9", mode=CLOSED)
    finally:
        os.umask(before)
    assert state.secret.stat().st_mode & 0o777 == 0o600


def test_the_capture_knows_nodes_endpoints_and_the_targets_of_groups_in_use() -> None:
    unused = {"name": "spare", "vpc": "security", "protocol": "GENEVE", "port": 6081, "targets": ["fw-b"]}
    plan = plan_of(put("target_groups+", unused))
    config = json.loads(capture_config_for(plan, STATE))
    assert config["targets"] == {"10.254.1.11": "fw-a"}
    assert config["endpoints"] == {plan.endpoints[0].endpoint_id: "vpce-a"}
    assert config["nodes"] == {NODE: plan.gateway_nodes[0].address}
    assert config["control"] == "/run/gwlbemu/test/own/capture/sock"
