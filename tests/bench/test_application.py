"""The figures of an application load balancer: what is compared, and what wrk says."""

from __future__ import annotations

import pytest

from gwlbemu.bench.application import application_plan, rate, without_load_balancer
from gwlbemu.errors import NetError

SAID = """Running 2s test @ http://10.0.3.254:80/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.86ms    3.65ms  48.28ms   88.27%
  11470 requests in 2.00s, 2.41MB read
Requests/sec:   5727.13
Transfer/sec:      1.20MB
"""


def test_what_it_is_compared_with_is_the_same_lab_without_keepers() -> None:
    plan = application_plan("bench-x")
    other = without_load_balancer(plan)
    assert (len(plan.application_nodes), other.application_nodes) == (2, ())
    assert (other.namespaces, other.links) == (plan.namespaces, plan.links)
    assert not plan.capture.enabled


def test_the_rate_is_what_wrk_says() -> None:
    assert rate(SAID) == 5727.13


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"]
)
def test_a_load_of_which_some_failed_is_no_figure(line: str) -> None:
    with pytest.raises(NetError, match=line.strip().split(":")[0]):
        rate(SAID.replace("Requests/sec", f"{line}Requests/sec"))


def test_without_a_rate_there_is_no_figure() -> None:
    with pytest.raises(NetError, match="wrk: no rate"):
        rate("unable to connect")
