"""An application load balancer in a lab: who reaches it, who answers, what becomes of it when something breaks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from gwlbemu import Lab
from gwlbemu.errors import AwsError, NetError
from gwlbemu.lab import engines, failure
from gwlbemu.lab.engines import missing, proxy_name
from tests.lab.webs import GROUP, HTTP, NAME, NODES, PORT, PUBLIC, TARGETS, as_text, ask, names, web_tier
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.skipif(missing() is not None, reason="needs HAProxy")]
SILENCE = -28  # curl's exit code


@contextmanager
def balanced(text: str) -> Iterator[Lab]:
    with Lab(text, wait=PATIENCE) as lab:
        yield lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with balanced(as_text(web_tier())) as lab:
        yield lab


@pytest.fixture
def changing() -> Iterator[Lab]:
    """A lab for one test: an engine that takes a new text is another process."""
    with balanced(as_text(web_tier(lab="webs2"))) as lab:
        yield lab


@pytest.mark.contract("AL-01", "AL-02")
@pytest.mark.parametrize("zone", "ab")
def test_the_target_sees_the_node_and_the_client_in_x_forwarded_for(lab: Lab, zone: str) -> None:
    got = ask(lab, "client", PUBLIC[zone])
    assert isinstance(got, dict)
    assert got["peer_address"] == NODES[zone]
    assert {key.lower(): value for key, value in got["headers"].items()}["x-forwarded-for"] == "198.51.100.10"


def test_its_name_has_the_assigned_address_of_each_zone_for_everybody(lab: Lab) -> None:
    for who in ("client", "near"):
        found = lab.exec(who, ["getent", "ahostsv4", NAME]).stdout.split()
        assert {word for word in found if word[0].isdigit()} == set(PUBLIC.values()), who


@pytest.mark.contract("AL-10")
@pytest.mark.parametrize("zone", "ab")
def test_each_node_uses_the_targets_of_both_zones(lab: Lab, zone: str) -> None:
    assert names(lab, "client", 4, PUBLIC[zone]) == set(TARGETS)


@pytest.mark.contract("AL-13")
def test_clients_reach_the_listeners_port_alone_and_servers_the_load_balancer_alone(lab: Lab) -> None:
    assert isinstance(ask(lab, "client"), dict)
    assert ask(lab, "client", NAME, PORT, seconds=1.0) == SILENCE  # a listener is there, no rule lets in
    assert ask(lab, "near", TARGETS["web-a"], seconds=1.0) == SILENCE
    assert isinstance(ask(lab, "near", NODES["a"]), dict)


@pytest.mark.contract("AL-22")
def test_targets_come_and_go_in_a_running_lab(changing: Lab) -> None:
    lab = changing
    assert lab.deregister(GROUP, "web-b")
    assert not lab.deregister(GROUP, "web-b")
    wait_until(lambda: names(lab, "client", 4) == {"web-a"}, "the deregistered target to get nothing more")
    assert lab.register(GROUP, "web-b").id == "web-b"
    wait_until(lambda: names(lab, "client", 4) == set(TARGETS), "the registered target's first request")


def _forwards_no_address(lab: Lab, zone: str) -> bool:
    got = ask(lab, "client", PUBLIC[zone])
    return isinstance(got, dict) and "x-forwarded-for" not in str(got["headers"]).lower()


def test_set_changes_both_nodes_and_refuses_what_aws_refuses(changing: Lab) -> None:
    lab = changing
    lab.set("front", {"routing.http.xff_header_processing.mode": "remove"})
    try:
        for zone in NODES:
            wait_until(partial(_forwards_no_address, lab, zone), zone)
    finally:
        lab.set("front", {"routing.http.xff_header_processing.mode": "append"})
    for resource, key, words in (
        ("front", "waf.fail_open.enabled", "no web application firewall"),
        (GROUP, "slow_start.duration_seconds", "0 or 30 to 900"),
    ):
        with pytest.raises(AwsError, match=words):
            lab.set(resource, {key: "5"})


@pytest.mark.contract("EX-03")
def test_a_lost_node_is_left_by_its_name_and_comes_back(lab: Lab) -> None:
    lab.fail("node", "front-node-a")
    try:
        assert ask(lab, "client", PUBLIC["a"], seconds=1.0) == SILENCE
        assert isinstance(ask(lab, "client", PUBLIC["b"]), dict)
    finally:
        lab.heal("node", "front-node-a")
    assert isinstance(ask(lab, "client", PUBLIC["a"]), dict)


@pytest.mark.contract("EX-03")
def test_a_lost_zone_leaves_the_other_one(lab: Lab) -> None:
    lab.fail("zone", "b")
    try:
        wait_until(lambda: names(lab, "client", 4, PUBLIC["a"]) == {"web-a"}, "the lost targets to be unhealthy")
    finally:
        lab.heal("zone", "b")
    wait_until(lambda: names(lab, "client", 4, PUBLIC["b"]) == set(TARGETS), "both zones again")


def pid_of(lab: Lab, name: str) -> int:
    return next(process.pid for process in lab.running.processes() if process.name == name)


@pytest.mark.parametrize("what", ["keeper", "engine"])
def test_a_killed_keeper_or_engine_is_started_again_by_heal(changing: Lab, what: str) -> None:
    lab = changing
    name = "front-node-a" if what == "keeper" else proxy_name("front-node-a")
    os.kill(pid_of(lab, name), signal.SIGKILL)
    wait_until(lambda: any(each.name == name and each.state == "dead" for each in lab.running.processes()), name)
    if what == "keeper":  # its engine goes on
        assert isinstance(ask(lab, "client", PUBLIC["a"]), dict)
    else:
        wait_until(lambda: not isinstance(ask(lab, "client", PUBLIC["a"], seconds=1.0), dict), "the engine's end")
    done = failure.heal(lab.running, "node", "front-node-a")
    assert any("started again" in sentence for sentence in done), done
    wait_until(lambda: isinstance(ask(lab, "client", PUBLIC["a"], seconds=2.0), dict), "the node's answer")
    wait_until(lab.running.state.control("front-node-a").exists, "the keeper")
    assert lab.deregister(GROUP, "web-b")  # it hears of changes, too
    wait_until(lambda: names(lab, "client", 4, PUBLIC["a"]) == {"web-a"}, "the change")
    lab.register(GROUP, "web-b")
    wait_until(lambda: names(lab, "client", 4, PUBLIC["a"]) == set(TARGETS), "both targets")


def test_without_an_engine_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_candidates", list)
    with pytest.raises(NetError, match=r"no HAProxy: none is installed\. Install Debian's package haproxy"):
        Lab(as_text(web_tier(lab="no-engine"))).__enter__()
    assert not os.path.exists("/run/gwlbemu/no-engine")


def test_dual_stack_clients_are_answered_by_either_family() -> None:
    document = web_tier(lab="webs6", ip_address_type="dualstack")
    document["internet"]["ipv6_cidr"] = "2001:db8:ffff::/64"
    app = document["vpcs"][0]
    app["ipv6_cidr"] = "2001:db8::/56"
    for number, subnet in enumerate(app["subnets"]):
        subnet["ipv6_cidr"] = f"2001:db8:0:{number:x}::/64"
    app["route_tables"][0]["routes"].append({"destination": "::/0", "target": "igw"})
    app["security_groups"][0]["ingress"].append({"protocol": "tcp", "ports": HTTP, "source": "::/0"})
    with balanced(as_text(document)) as lab:
        for family, client in (("-4", "198.51.100.10"), ("-6", "2001:db8:ffff::a")):
            got = ask(lab, "client", NAME, HTTP, "/?json", family)
            assert isinstance(got, dict), (family, got)
            assert got["peer_address"] in NODES.values()  # targets are IPv4 alone
            assert client in str(got["headers"])
