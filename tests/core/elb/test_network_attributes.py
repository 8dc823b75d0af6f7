"""The attributes of network load balancers: AWS's ranges, defaults by protocol and target type, refusals."""

from __future__ import annotations

import pytest

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.network_attributes import (
    PRESERVE,
    TERMINATE_UNHEALTHY,
    NetworkAttributes,
    check_group_attributes,
    group_defaults,
)
from gwlbemu.errors import AwsError

DRAINING = "target_health_state.unhealthy.draining_interval_seconds"
END_ON_DEREGISTRATION = "deregistration_delay.connection_termination.enabled"
DNS, ROUTING = (
    f"target_group_health.{each}.minimum_healthy_targets" for each in ("dns_failover", "unhealthy_state_routing")
)


def test_the_defaults_are_awss() -> None:
    attributes = NetworkAttributes()
    assert attributes.as_text(LOAD_BALANCER) == {
        "deletion_protection.enabled": "false",
        "load_balancing.cross_zone.enabled": "false",
        "dns_record.client_routing_policy": "any_availability_zone",
    }
    assert attributes.as_text(LISTENER) == {"tcp.idle_timeout.seconds": "350"}
    assert attributes.as_text(TARGET_GROUP) == {
        "deregistration_delay.timeout_seconds": "300",
        END_ON_DEREGISTRATION: "false",
        "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
        PRESERVE: "true",
        "proxy_protocol_v2.enabled": "false",
        "stickiness.enabled": "false",
        "stickiness.type": "source_ip",
        TERMINATE_UNHEALTHY: "true",
        DRAINING: "0",
        f"{DNS}.count": "1",
        f"{DNS}.percentage": "off",
        f"{ROUTING}.count": "1",
        f"{ROUTING}.percentage": "off",
    }


@pytest.mark.contract("NL-03")
@pytest.mark.parametrize(
    ("protocol", "target_type", "preserved", "datagrams"),
    [
        ("TCP", "instance", True, False),
        ("TLS", "instance", True, False),
        ("TCP", "ip", False, False),
        ("TLS", "ip", False, False),
        ("UDP", "instance", True, True),
        ("UDP", "ip", True, True),
        ("TCP_UDP", "instance", True, True),
        ("TCP_UDP", "ip", True, True),
        ("TCP", "alb", True, False),
    ],
)
def test_defaults_that_depend_on_protocol_and_target_type(
    protocol: str, target_type: str, preserved: bool, datagrams: bool
) -> None:
    found = NetworkAttributes.from_text(target_group=group_defaults(protocol, target_type))
    assert found.preserve_client_ip is preserved
    assert found.terminate_on_deregistration is datagrams
    assert found.terminate_on_unhealthy is not datagrams


@pytest.mark.parametrize("text", ["off", "1", "100"])
def test_a_number_that_may_be_off_is_0_then_and_off_again_as_text(text: str) -> None:
    found = NetworkAttributes.from_text(target_group={f"{DNS}.percentage": text, f"{DNS}.count": text})
    assert (found.dns_minimum_percentage, found.dns_minimum_count) == (0 if text == "off" else int(text),) * 2
    assert found.as_text(TARGET_GROUP)[f"{DNS}.percentage"] == text
    assert found.as_text(TARGET_GROUP)[f"{DNS}.count"] == text


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        (f"{DNS}.percentage", "0", "from 1 to 100 or off"),
        (f"{DNS}.percentage", "101", "from 1 to 100 or off"),
        (f"{DNS}.count", "501", "from 1 to 500 or off"),
        (f"{ROUTING}.count", "off", "from 1 to 500$"),
        (f"{ROUTING}.percentage", "OFF", "or off"),
        (DRAINING, "360001", "from 0 to 360000"),
        (DRAINING, "off", "from 0 to 360000$"),
        ("load_balancing.cross_zone.enabled", "yes", "true or false or use_load_balancer_configuration"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_was_expected(key: str, text: str, expected: str) -> None:
    with pytest.raises(AwsError, match=expected):
        NetworkAttributes.from_text(target_group={key: text})


def test_draining_needs_connections_that_stay() -> None:
    with pytest.raises(AwsError, match=f"{DRAINING} can be configured only while {TERMINATE_UNHEALTHY} is false"):
        NetworkAttributes.from_text(target_group={DRAINING: "5"})
    kept = NetworkAttributes.from_text(target_group={DRAINING: "5", TERMINATE_UNHEALTHY: "false"})
    assert kept.unhealthy_draining_seconds == 5
    with pytest.raises(AwsError) as caught:
        kept.changed(TARGET_GROUP, {TERMINATE_UNHEALTHY: "true"})
    assert caught.value.code == "InvalidConfigurationRequest"


@pytest.mark.contract("NL-03")
@pytest.mark.parametrize(
    ("protocol", "target_type", "given", "named"),
    [
        ("UDP", "instance", {PRESERVE: "false"}, "can't be disabled for target groups of protocol UDP"),
        ("TCP_UDP", "ip", {PRESERVE: "false"}, "can't be disabled for target groups of protocol TCP_UDP"),
        ("TCP", "alb", {PRESERVE: "false"}, "can't be disabled for target groups with targets of type alb"),
        ("UDP", "ip", {TERMINATE_UNHEALTHY: "true"}, "can't be enabled for target groups of protocol UDP"),
        ("TLS", "ip", {"stickiness.enabled": "true"}, "not supported with TLS target groups"),
    ],
)
def test_what_a_group_of_that_protocol_and_target_type_cannot_have_is_refused(
    protocol: str, target_type: str, given: dict[str, str], named: str
) -> None:
    with pytest.raises(AwsError, match=named) as caught:
        check_group_attributes(protocol, target_type, given)
    assert caught.value.code == "InvalidConfigurationRequest"


@pytest.mark.contract("NL-03")
@pytest.mark.parametrize(("protocol", "target_type"), [("TCP", "instance"), ("TCP", "ip"), ("TLS", "ip")])
@pytest.mark.parametrize("text", ["true", "false"])
def test_preservation_can_be_changed_for_tcp_and_tls(protocol: str, target_type: str, text: str) -> None:
    check_group_attributes(protocol, target_type, {PRESERVE: text, TERMINATE_UNHEALTHY: text})
    changed = NetworkAttributes.from_text(target_group=group_defaults(protocol, target_type) | {PRESERVE: text})
    assert changed.preserve_client_ip is (text == "true")


@pytest.mark.parametrize(
    ("balancer", "group", "on"),
    [
        ("false", "use_load_balancer_configuration", False),
        ("true", "use_load_balancer_configuration", True),
        ("true", "false", False),
        ("false", "true", True),
    ],
)
@pytest.mark.contract("NL-08")
def test_a_group_says_whether_zones_are_crossed_or_leaves_it_to_its_load_balancer(
    balancer: str, group: str, on: bool
) -> None:
    key = "load_balancing.cross_zone.enabled"
    assert NetworkAttributes.from_text({key: balancer}, target_group={key: group}).cross_zone is on
