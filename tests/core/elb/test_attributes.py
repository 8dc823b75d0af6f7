"""AWS's attribute keys: ranges, defaults, and what AWS refuses."""

import pytest

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.errors import SettingError


def test_the_defaults_are_awss() -> None:
    assert {resource: GatewayAttributes().as_text(resource) for resource in GatewayAttributes.TABLE} == {
        "load-balancer": {"deletion_protection.enabled": "false", "load_balancing.cross_zone.enabled": "false"},
        "listener": {"tcp.idle_timeout.seconds": "350", "send_tcp_reset.on_idle_timeout.enabled": "false"},
        "target-group": {
            "deregistration_delay.timeout_seconds": "300",
            "stickiness.enabled": "false",
            "stickiness.type": "source_ip_dest_ip",
            "target_failover.on_deregistration": "no_rebalance",
            "target_failover.on_unhealthy": "no_rebalance",
            "send_tcp_reset.on_deregistration.enabled": "false",
            "send_tcp_reset.on_unhealthy.enabled": "false",
        },
    }
    assert GatewayAttributes.from_text() == GatewayAttributes()


@pytest.mark.parametrize("resource", [LOAD_BALANCER, LISTENER, TARGET_GROUP])
def test_every_value_is_read_back_as_it_was_written(resource: str) -> None:
    texts = GatewayAttributes().as_text(resource)
    assert GatewayAttributes().changed(resource, texts) == GatewayAttributes()


@pytest.mark.parametrize(
    ("resource", "key", "value", "expected"),
    [
        (LISTENER, "tcp.idle_timeout.seconds", "59", "a whole number from 60 to 6000"),
        (LISTENER, "tcp.idle_timeout.seconds", "6001", "a whole number from 60 to 6000"),
        (LISTENER, "tcp.idle_timeout.seconds", "-60", "a whole number from 60 to 6000"),
        (LISTENER, "tcp.idle_timeout.seconds", "300.0", "a whole number from 60 to 6000"),
        (TARGET_GROUP, "deregistration_delay.timeout_seconds", "3601", "a whole number from 0 to 3600"),
        (TARGET_GROUP, "stickiness.type", "source_ip", "source_ip_dest_ip or source_ip_dest_ip_proto"),
        (TARGET_GROUP, "stickiness.enabled", "True", "true or false"),
        (TARGET_GROUP, "target_failover.on_unhealthy", "yes", "no_rebalance or rebalance"),
        (LOAD_BALANCER, "load_balancing.cross_zone.enabled", "1", "true or false"),
        (LOAD_BALANCER, "idle_timeout.timeout_seconds", "60", "is not recognized"),
        ("rule", "x", "1", "expected one of: load-balancer, listener, target-group"),
    ],
)
def test_a_bad_value_or_key_is_refused_by_name(resource: str, key: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as refused:
        GatewayAttributes().changed(resource, {key: value})
    assert expected in str(refused.value)
    assert (key if resource != "rule" else "rule") in str(refused.value)
    assert refused.value.code == "ValidationError"


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize("key", ["send_tcp_reset.on_unhealthy.enabled", "send_tcp_reset.on_deregistration.enabled"])
@pytest.mark.parametrize(
    ("first", "named"),
    [
        ({"stickiness.enabled": "true"}, "stickiness.enabled"),
        (
            dict.fromkeys(("target_failover.on_unhealthy", "target_failover.on_deregistration"), "rebalance"),
            "target_failover.on_unhealthy",
        ),
    ],
    ids=["sticky", "rebalance"],
)
def test_tcp_resets_need_5_tuples_and_no_rebalance_whichever_comes_first(
    key: str, first: dict[str, str], named: str
) -> None:
    for before, after in ((first, {key: "true"}), ({key: "true"}, first)):
        attributes = GatewayAttributes().changed(TARGET_GROUP, before)
        with pytest.raises(SettingError) as refused:
            attributes.changed(TARGET_GROUP, after)
        assert key in str(refused.value)
        assert named in str(refused.value)
        assert refused.value.code == "InvalidConfigurationRequest"


@pytest.mark.contract("FL-06")
def test_the_tcp_idle_timeout_cannot_be_changed_while_stickiness_is_on() -> None:
    sticky = GatewayAttributes().changed(TARGET_GROUP, {"stickiness.enabled": "true"})
    with pytest.raises(SettingError, match=r"tcp\.idle_timeout\.seconds.*stickiness\.enabled"):
        sticky.changed(LISTENER, {"tcp.idle_timeout.seconds": "60"})
