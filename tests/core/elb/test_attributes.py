"""AWS's attribute keys: ranges, defaults, and what AWS refuses."""

from typing import Any

import pytest

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TABLE, TARGET_GROUP, Attributes
from gwlbemu.core.elb.health import RANGES, HealthCheck, check_health_check
from gwlbemu.core.emulation import EXPLANATIONS, Emulation
from gwlbemu.core.gateway.settings import check_ip_target, check_target_group
from gwlbemu.errors import SettingError
from tests.core.gateway.core_lab import node


def test_the_defaults_are_awss() -> None:
    assert {resource: Attributes().as_text(resource) for resource in TABLE} == {
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
    assert Attributes.from_text() == Attributes()


@pytest.mark.parametrize("resource", [LOAD_BALANCER, LISTENER, TARGET_GROUP])
def test_every_value_is_read_back_as_it_was_written(resource: str) -> None:
    texts = Attributes().as_text(resource)
    assert Attributes().changed(resource, texts) == Attributes()


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
        Attributes().changed(resource, {key: value})
    assert expected in str(refused.value)
    assert (key if resource != "rule" else "rule") in str(refused.value)
    assert refused.value.code == "ValidationError"


@pytest.mark.contract("TG-09")
@pytest.mark.parametrize(
    "given", [("rebalance", "no_rebalance"), ("no_rebalance", "rebalance"), ("rebalance", None), (None, "rebalance")]
)
def test_the_two_failover_values_must_be_equal(given: tuple[str | None, str | None]) -> None:
    keys = ("target_failover.on_deregistration", "target_failover.on_unhealthy")
    balancer = node()
    with pytest.raises(SettingError) as refused:
        balancer.set_attributes(
            TARGET_GROUP, {key: value for key, value in zip(keys, given, strict=True) if value}, now=1.0
        )
    assert all(key in str(refused.value) for key in keys)
    assert refused.value.code == "ValidationError"
    assert balancer.attributes(TARGET_GROUP) == Attributes().as_text(TARGET_GROUP)


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
        attributes = Attributes().changed(TARGET_GROUP, before)
        with pytest.raises(SettingError) as refused:
            attributes.changed(TARGET_GROUP, after)
        assert key in str(refused.value)
        assert named in str(refused.value)
        assert refused.value.code == "InvalidConfigurationRequest"


@pytest.mark.contract("FL-06")
def test_the_tcp_idle_timeout_cannot_be_changed_while_stickiness_is_on() -> None:
    sticky = Attributes().changed(TARGET_GROUP, {"stickiness.enabled": "true"})
    with pytest.raises(SettingError, match=r"tcp\.idle_timeout\.seconds.*stickiness\.enabled"):
        sticky.changed(LISTENER, {"tcp.idle_timeout.seconds": "60"})


@pytest.mark.contract("TG-01")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("TCP", 6081, "ip"), "protocol"), (("GENEVE", 6080, "ip"), "port"), (("GENEVE", 6081, "alb"), "target_type")],
)
def test_a_group_that_is_not_geneve_on_6081_with_instances_or_addresses_is_refused(
    arguments: tuple[str, int, str], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        check_target_group(*arguments)
    for kind in ("instance", "ip"):
        check_target_group("GENEVE", 6081, kind)


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("10.9.9.9", True),
        ("100.64.0.1", True),
        ("172.31.0.1", True),
        ("203.0.113.9", True),
        ("198.51.100.1", False),
        ("fd00::1", False),
    ],
)
def test_an_ip_target_is_in_the_vpc_or_private(address: str, good: bool) -> None:
    if good:
        check_ip_target(address, ["203.0.113.0/24"])
    else:
        with pytest.raises(SettingError) as refused:
            check_ip_target(address, ["203.0.113.0/24"])
        assert refused.value.code == "InvalidTarget"


@pytest.mark.contract("TG-02")
def test_health_checks_have_awss_defaults_and_ranges() -> None:
    assert HealthCheck() == HealthCheck("TCP", 80, "/", 10, 5, 5, 2, "200-399")
    assert RANGES == {
        "port": (1, 65535),
        "interval_seconds": (5, 300),
        "timeout_seconds": (2, 120),
        "healthy_threshold_count": (2, 10),
        "unhealthy_threshold_count": (2, 10),
    }
    check_health_check(HealthCheck())
    check_health_check(HealthCheck("HTTPS", 443, "/up", 300, 120, 10, 10))


@pytest.mark.contract("TG-02")
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"protocol": "UDP"}, "protocol"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"interval_seconds": 4}, "interval_seconds"),
        ({"interval_seconds": 301}, "interval_seconds"),
        ({"timeout_seconds": 1}, "timeout_seconds"),
        ({"timeout_seconds": 121, "interval_seconds": 300}, "timeout_seconds"),
        ({"timeout_seconds": 11}, "timeout_seconds.*interval_seconds"),
        ({"timeout_seconds": 10, "protocol": "HTTP"}, "timeout_seconds.*interval_seconds"),
        ({"healthy_threshold_count": 1}, "healthy_threshold_count"),
        ({"unhealthy_threshold_count": 11}, "unhealthy_threshold_count"),
        ({"matcher": "200"}, "matcher"),
        ({"protocol": "HTTP", "path": "up"}, "path"),
    ],
)
def test_a_health_check_out_of_range_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        check_health_check(HealthCheck(**wrong))


def test_a_tcp_health_checks_timeout_may_equal_its_interval() -> None:
    check_health_check(HealthCheck(timeout_seconds=10))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"source_port": "random"}, "aws or rfc8926"),
        ({"ttl_decrement": 3}, "0 or 1 or 2"),
        ({"ttl_decrement": True}, "0 or 1 or 2"),
        ({"fin_linger_seconds": -1}, "a number of seconds"),
        ({"fin_linger_seconds": None}, "a number of seconds"),
        ({"half_open_timeout_seconds": "30"}, "a number of seconds or null"),
        ({"mss_clamp": 1}, "true or false"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_switch_is_refused_by_name_with_what_was_expected(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingError, match=expected) as refused:
        Emulation.from_values(wrong)
    assert next(iter(wrong)) in str(refused.value)


def test_every_switch_has_one_line_of_explanation() -> None:
    assert EXPLANATIONS.keys() == set(Emulation.__dataclass_fields__)
    assert (
        Emulation.from_values({"half_open_timeout_seconds": None, "fin_linger_seconds": 0.5}).fin_linger_seconds == 0.5
    )
