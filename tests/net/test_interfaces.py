"""Pulling the cables of interfaces."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gwlbemu.errors import NetError
from gwlbemu.net.interfaces import set_link
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import Plan
from tests.net.net_plans import run
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace


def flags(namespace: str, device: str) -> list[str]:
    (link,) = json.loads(run(namespace, "ip", "-j", "link", "show", "dev", device))
    return list(link["flags"])


def test_a_pulled_cable_keeps_the_routes_and_works_again_when_it_is_back(up: Callable[..., Plan]) -> None:
    up()
    set_link(path_of("small-east"), "host", up=False)  # the end in the bridge: it holds no address and no route
    # Linux tells the other end of a cable a little later (net/core/link_watch.c).
    wait_until(lambda: "NO-CARRIER" in flags("small-east-host", "eth0"))
    assert "UP" in flags("small-east-host", "eth0")
    with pytest.raises(AssertionError):
        run("small-east-host", "ping", "-c", "1", "-W", "0.2", "10.0.2.10")
    set_link(path_of("small-east"), "host", up=True)
    for address in ("10.0.2.10", "fd00:2::10"):
        assert "1 received" in run("small-east-host", "ping", "-c", "1", "-W", "30", address)


def test_what_is_not_there_is_named(up: Callable[..., Plan]) -> None:
    up()
    with pytest.raises(NetError, match="cannot set eth9 of small-east-host down: No such device"):
        set_link(path_of("small-east-host"), "eth9", up=False)
    with pytest.raises(NetError, match="cannot enter"):
        set_link(path_of("nowhere"), "eth0", up=False)
