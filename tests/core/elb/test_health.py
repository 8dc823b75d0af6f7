"""Thresholds: results in, decisions out, as two lists side by side."""

from typing import Any

import pytest

from gwlbemu.core.elb.health import (
    RANGES,
    TRAFFIC_PORT,
    Health,
    HealthCheck,
    application_defaults,
    check_health_check,
    status_ranges,
)
from gwlbemu.errors import SettingError

U, H, X = None, True, False  # not decided yet, healthy, unhealthy


@pytest.mark.contract("TG-02")
@pytest.mark.parametrize(
    ("results", "decisions"),
    [
        ([1, 1, 1, 1, 1, 1], [U, U, U, U, H, H]),
        ([0, 0, 0], [U, X, X]),
        ([1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [U, U, U, U, U, U, U, U, U, H]),
        ([1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1], [U, U, U, U, H, H, H, H, X, X, X, X, X, H]),
        ([0, 1, 0, 1, 0, 0], [U, U, U, U, U, X]),
        ([0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [U, X, X, X, X, X, X, X, X, X, X, H]),
    ],
)
def test_a_decision_changes_after_a_threshold_of_results_in_a_row(
    results: list[int], decisions: list[bool | None]
) -> None:
    health, seen = Health(), []
    for ok in results:
        health = health.observe(bool(ok), 5, 2)
        seen.append(health.healthy)
    assert seen == decisions


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


@pytest.mark.contract("NL-06")
@pytest.mark.parametrize(
    ("matcher", "ranges"),
    [
        ("200-399", ((200, 399),)),
        ("200", ((200, 200),)),
        ("200,202", ((200, 200), (202, 202))),
        ("200-299,599", ((200, 299), (599, 599))),
    ],
)
def test_a_matcher_names_statuses_and_ranges(matcher: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert status_ranges(matcher) == ranges
    check = HealthCheck("HTTP", TRAFFIC_PORT, interval_seconds=30, matcher=matcher)
    assert check_health_check(check, "TCP") is check


@pytest.mark.parametrize("matcher", ["", "199", "600", "300-200", "200-600", "200,", "2xx", "200 - 299", "0200"])
def test_a_matcher_that_aws_refuses_is_refused(matcher: str) -> None:
    with pytest.raises(SettingError, match="statuses from 200 to 599"):
        status_ranges(matcher)


def test_a_geneve_group_has_no_traffic_port() -> None:
    with pytest.raises(SettingError, match="port"):
        check_health_check(HealthCheck(port=TRAFFIC_PORT))


@pytest.mark.contract("AL-09")
def test_an_application_load_balancers_group_has_its_own_defaults_and_matcher() -> None:
    made: Any = HealthCheck(**application_defaults("HTTP1"))  # type: ignore[arg-type]
    assert made == HealthCheck("HTTP", TRAFFIC_PORT, "/", 30, 5, 5, 2, "200")
    check_health_check(made, "HTTP", "HTTP1")
    assert status_ranges("200-499", "HTTPS", "HTTP2") == ((200, 499),)
    for matcher in ("500", "200-500", "199", "12", "two"):
        with pytest.raises(SettingError, match="from 200 to 499"):
            status_ranges(matcher, "HTTP", "HTTP1")
    with pytest.raises(SettingError, match="protocol 'TCP'"):
        check_health_check(HealthCheck("TCP", TRAFFIC_PORT), "HTTP", "HTTP1")


@pytest.mark.contract("AL-18")
def test_a_grpc_group_is_judged_by_grpcs_codes() -> None:
    made: Any = HealthCheck(**application_defaults("GRPC"))  # type: ignore[arg-type]
    assert (made.path, made.matcher) == ("/AWS.ALB/healthcheck", "12")
    check_health_check(made, "HTTP", "GRPC")
    assert status_ranges("0,12-14,99", "HTTP", "GRPC") == ((0, 0), (12, 14), (99, 99))
    for matcher in ("100", "200", "5-4", ""):
        with pytest.raises(SettingError, match="from 0 to 99"):
            status_ranges(matcher, "HTTP", "GRPC")
