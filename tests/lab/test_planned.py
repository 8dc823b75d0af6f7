"""Changes of a plan with a network load balancer: names of targets and resources, what is refused, who is told what."""

from __future__ import annotations

import pytest

from gwlbemu.errors import SettingError
from gwlbemu.lab import change, planned
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.attributes import read_attributes
from tests.lab.fronts import front

PLAN = load(front(), "front.yaml")
IDLE = "tcp.idle_timeout.seconds"


def targets(plan: object, group: str) -> list[tuple[str, int]]:
    return [(one.id, one.port) for one in planned.group_named(plan, group).targets]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "target_id", "port"),
    [("web-b", "web-b", 80), ("web-b:80", "web-b", 80), ("web-b:8080", "web-b:8080", 8080)],
)
def test_a_target_has_its_port_in_its_name_where_that_is_not_the_groups(given: str, target_id: str, port: int) -> None:
    plan, target = planned.registered(PLAN, "only-a", given)
    assert (target.id, target.port, target.address) == (target_id, port, "10.0.2.10")
    assert targets(plan, "only-a") == [("web-a", 80), (target_id, port)]
    again, _ = planned.registered(plan, "only-a", given)
    assert targets(again, "only-a") == targets(plan, "only-a")
    assert planned.deregistered(plan, "only-a", given) == PLAN


def test_one_instance_with_two_ports_is_two_targets() -> None:
    plan, _ = planned.registered(PLAN, "only-a", "web-a:8080")
    assert targets(plan, "only-a") == [("web-a", 80), ("web-a:8080", 8080)]
    assert targets(planned.deregistered(plan, "only-a", "web-a"), "only-a") == [("web-a:8080", 8080)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("web-c:80", "web-c is not an instance of VPC app; there are: web-a"),
        ("web-a:0", "a port is from 1 to 65535"),
        ("web-a:65536", "a port is from 1 to 65535"),
        ("web-a:http", "web-a:http is not an instance"),
        ("client", "client is not an instance of VPC app"),
    ],
)
def test_what_is_no_target_is_refused(given: str, told: str) -> None:
    with pytest.raises(SettingError) as caught:
        planned.registered(PLAN, "only-a", given)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("resource", "values", "told"),
    [
        ("both", {"preserve_client_ip.enabled": "maybe"}, "preserve_client_ip.enabled"),
        ("echo", {"preserve_client_ip.enabled": "false"}, "can't be disabled for target groups of protocol UDP"),
        ("echo", {"proxy_protocol_v2.enabled": "true"}, "emulated for TCP, not for UDP"),
        ("both", {"target_failover.on_unhealthy": "rebalance"}, "is not an attribute of both"),
        ("front", {"load_balancing.cross_zone.enabled": "no"}, "load_balancing.cross_zone.enabled"),
        ("front/TCP:80", {"load_balancing.cross_zone.enabled": "true"}, "is not an attribute of front/TCP:80"),
        ("front/TCP:9", {IDLE: "60"}, "no listener front/TCP:9; there are: front/TCP:80"),
        ("front/UDP:7", {IDLE: "60"}, "can't be changed for a UDP or TLS listener"),
        ("nobody-else", {IDLE: "60"}, "no load balancer or target group nobody-else"),
    ],
)
def test_attributes_that_aws_refuses_change_nothing(resource: str, values: dict[str, str], told: str) -> None:
    with pytest.raises(SettingError) as caught:
        planned.with_attributes(PLAN, resource, values)
    assert told in str(caught.value)


def test_a_group_that_nobody_uses_is_checked_all_the_same() -> None:
    text = front().replace("target_group: only-b", "target_group: only-a")
    plan = load(text, "front.yaml")
    assert not plan.balancers_of("only-b")
    with pytest.raises(SettingError, match=r"stickiness\.enabled"):
        planned.with_attributes(plan, "only-b", {"stickiness.enabled": "perhaps"})
    changed, balancers = planned.with_attributes(plan, "only-b", {"stickiness.enabled": "true"})
    assert planned.group_named(changed, "only-b").attributes["stickiness.enabled"] == "true"
    assert balancers == set()


def test_a_node_is_told_the_whole_load_balancer_once_and_only_when_it_differs() -> None:
    changed, _ = planned.with_attributes(PLAN, "front/TCP:80", {IDLE: "60"})
    for node in PLAN.network_nodes:
        assert not list(change._differences(node, PLAN, PLAN))
        ((verb, arguments),) = change._differences(node, PLAN, changed)
        assert verb == "configure"
        listeners = arguments["balancer"]["listeners"]
        assert [one["attributes"].get(IDLE) for one in listeners if one["port"] == 80] == ["60"]
    assert network_balancer(PLAN, "front") != network_balancer(changed, "front")


def test_each_listener_has_attributes_of_its_own_and_a_groups_defaults_are_those_of_its_protocol() -> None:
    owners = [each.owner for each in read_attributes(PLAN, "front") if each.key == IDLE]
    assert owners == [f"listener of front/TCP:{port}" for port in (80, 81, 82, 83)]
    for group, default in (("both", "false"), ("echo", "true")):
        rows = {each.key: each for each in read_attributes(PLAN, group)}
        assert rows["deregistration_delay.connection_termination.enabled"].default == default
        assert all(each.is_default for each in rows.values())
