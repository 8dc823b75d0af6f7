"""Zones: the documented arithmetic of cross-zone load balancing, health per zone, and the loss of a zone."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from gwlbemu import Lab
from tests.lab.oracles import curl
from tests.lab.talkers import talking, until_unhealthy
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace

MANY = """
import socket, sys
address, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for port in range(first, first + count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        sock.sendto(b"x" * 100, (address, 9))
"""
DEAF_TO_NODE_B = """
add table ip deaf
add chain ip deaf in { type filter hook input priority 0; }
add rule ip deaf in ip saddr 10.254.2.254 tcp dport 80 reject with tcp reset
"""
TWO = {"fw-a": "a", "fw-b": "b"}
A = [f"fw-a{n}" for n in (1, 2)]
B = [f"fw-b{n}" for n in range(1, 9)]


@pytest.fixture(scope="module")
def arithmetic() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "cross-zone.yaml", capture=False) as lab:
        # The servers shall be silent: an ICMP error per datagram would be a flow beside ours.
        for server in ("web-a", "web-b"):
            lab.exec(server, ["nft", "add", "table", "ip", "silence"])
            lab.exec(server, ["nft", "add", "chain", "ip", "silence", "in", "{ type filter hook input priority 0; }"])
            lab.exec(server, ["nft", "add", "rule", "ip", "silence", "in", "udp", "dport", "9", "drop"])
        yield lab


def shares(lab: Lab, count: int) -> Counter[str]:
    """How many of `count` new UDP flows into each zone every target gets."""
    lab.advance(200)
    for address in ("203.0.113.10", "203.0.113.11"):
        lab.exec("client", [sys.executable, "-c", MANY, address, "10000", str(count)])
    lab.wait_until(
        lambda: len([flow for flow in lab.flows() if flow.protocol == 17]) == 2 * count, timeout=PATIENCE, what="flows"
    )
    return Counter(flow.target for flow in lab.flows() if flow.protocol == 17)


@pytest.mark.contract("EX-04", "TG-11")
def test_with_cross_zone_off_2_targets_get_25_percent_each_and_8_targets_6_25_percent_each(arithmetic: Lab) -> None:
    found = shares(arithmetic, 400)
    assert sum(found[name] for name in A) == sum(found[name] for name in B) == 400  # exactly half in each zone
    # Multinomial: 5 standard deviations of 400 draws at p = 1/2 are 50, at p = 1/8 they are 33.
    assert all(abs(found[name] - 200) < 50 for name in A)
    assert all(abs(found[name] - 50) < 33 for name in B)
    assert arithmetic.metric("CrossZoneBytes_ToTargets") == 0


@pytest.mark.contract("EX-04", "TG-12", "TG-13")
def test_with_cross_zone_on_each_of_the_10_targets_gets_10_percent_and_the_crossing_bytes_are_counted(
    arithmetic: Lab,
) -> None:
    arithmetic.set("inspect", {"load_balancing.cross_zone.enabled": True})
    try:
        arithmetic.wait_until_healthy()
        found = shares(arithmetic, 400)
        crossed = sum(
            flow.bytes // 2
            for flow in arithmetic.flows()
            if flow.protocol == 17 and flow.node[-1] != flow.target.removeprefix("fw-")[0]
        )
        counted = arithmetic.metric("CrossZoneBytes_ToTargets"), arithmetic.metric("CrossZoneBytes_FromTargets")
    finally:
        arithmetic.set("inspect", {"load_balancing.cross_zone.enabled": False})
    assert all(abs(found[name] - 80) < 43 for name in A + B)  # 5 standard deviations of 800 draws at p = 1/10
    assert counted == (crossed, crossed)
    assert crossed > 0


@pytest.mark.contract("TG-03")
@pytest.mark.topology(
    world({"fw-a": "a", "fw-b": "b"}, balancer={"load_balancing.cross_zone.enabled": True}), capture=False
)
def test_each_zone_checks_for_itself_and_the_zones_may_disagree(lab: Lab) -> None:
    assert lab.exec("fw-a", ["nft", DEAF_TO_NODE_B]).code == 0
    for _ in range(4):
        lab.advance(5)
    lab.wait_for_state("fw-a", "unhealthy", node="inspect-node-b")
    assert lab.target("fw-a", "inspect-node-a").state == "healthy"
    assert lab.target("fw-b", "inspect-node-a").state == lab.target("fw-b", "inspect-node-b").state == "healthy"


@pytest.mark.contract("TG-11")
@pytest.mark.topology(world(TWO), capture=False)
def test_with_cross_zone_off_nothing_spills_over_even_when_the_zones_only_target_is_dead(lab: Lab) -> None:
    lab.fail("instance", "fw-a")
    until_unhealthy(lab, "fw-a")
    assert curl(lab, "http://203.0.113.10/", seconds=1) == 28
    assert curl(lab, "http://203.0.113.11/") == 0
    assert {flow.target for flow in lab.flows() if flow.endpoint == "vpce-a"} == {"fw-a"}


@pytest.mark.contract("EX-03")
@pytest.mark.topology(TOPOLOGIES / "zone-failure.yaml", capture=False)
def test_the_loss_of_a_zone_leaves_the_other_untouched_and_healing_brings_it_back(lab: Lab) -> None:
    with talking(lab, 4, "203.0.113.11") as talk:
        lab.fail("zone", "a")
        assert curl(lab, "http://203.0.113.10/", seconds=1) == 28
        before = talk.state()
        lab.wait_until(
            lambda: all(talk.state()[port][0] > count + 2 for port, (count, _) in before.items()), timeout=PATIENCE
        )
        assert curl(lab, "http://203.0.113.11/") == 0
        lab.heal("zone", "a")
        lab.advance(10)
        lab.wait_until(lambda: curl(lab, "http://203.0.113.10/", seconds=3) == 0, timeout=PATIENCE)
        assert {how for _, how in talk.state().values()} == {"open"}
