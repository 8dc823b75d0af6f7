"""What stands on the machine is what the plan says; judged by iproute2, ping, nft, tc and ethtool."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.net import namespaces, record
from gwlbemu.net.build import build
from gwlbemu.topology.plan.values import Plan
from tests.net.net_plans import links_here, mac, run, small_plan

pytestmark = pytest.mark.namespace
Up = Callable[..., Plan]


@pytest.mark.parametrize("address", ["10.0.2.10", "fd00:2::10"])
def test_hosts_reach_each_other_across_the_fabric(up: Up, address: str) -> None:
    up()
    output = run("small-east-host", "ping", "-c", "2", "-i", "0.01", "-W", "30", address)
    assert "2 received" in output
    assert "ttl=62" in output  # a router at each end


def test_nothing_is_seen_outside_the_lab(up: Up) -> None:
    before = links_here()
    up()
    assert links_here() == before


def test_the_main_table_is_the_plans_routes(up: Up) -> None:
    up()
    routes = json.loads(run("small-east", "ip", "-j", "route"))
    found = {(route.get("type", "unicast"), route["dst"], route.get("gateway"), route.get("dev")) for route in routes}
    assert found == {
        ("unicast", "10.0.2.0/24", "169.254.0.2", "fabric"),
        ("blackhole", "10.0.0.0/16", None, None),
        ("unicast", "10.0.1.0/24", None, "subnet"),
        ("unicast", "169.254.0.0/17", None, "fabric"),
    }


def test_a_rule_sends_an_interface_to_its_own_table(up: Up) -> None:
    up()
    rules = json.loads(run("small-east", "ip", "-j", "rule"))
    assert [rule["table"] for rule in rules if rule.get("iif") == "subnet"] == ["1000"]
    route = run("small-east", "ip", "route", "get", "192.0.2.1", "from", "10.0.1.10", "iif", "subnet")
    assert "via 169.254.0.2" in route


def test_a_network_without_traffic_is_silent(up: Up) -> None:
    plan = up()
    sent = {
        (namespace.name, link["ifname"]): link["stats64"]["tx"]["packets"]
        for namespace in plan.namespaces
        for link in json.loads(run(namespace.name, "ip", "-j", "-s", "link"))
        if link["ifname"] != "lo"
    }
    assert len(sent) == 2 * 4 + 3  # ends and bridges
    assert not {where: packets for where, packets in sent.items() if packets}


def test_neighbours_are_permanent_and_nobody_asks(up: Up) -> None:
    up()
    neighbours = json.loads(run("small-east-host", "ip", "-j", "neigh"))
    assert {(n["dst"], n["lladdr"], *n["state"]) for n in neighbours} == {
        ("10.0.1.1", mac("east", "subnet"), "PERMANENT"),
        ("fd00:1::1", mac("east", "subnet"), "PERMANENT"),
    }
    assert "NOARP" in json.loads(run("small-east-host", "ip", "-j", "link", "show", "eth0"))[0]["flags"]


def test_bridge_ports_learn_and_flood_nothing(up: Up) -> None:
    up()
    (port,) = json.loads(run("small-east", "bridge", "-d", "-j", "link"))
    assert (port["learning"], port["flood"], port["mcast_flood"], port["state"]) == (False, False, False, "forwarding")
    entries = run("small-east", "bridge", "fdb", "show", "br", "subnet")
    assert f"{mac('east', 'host')} dev host master subnet static" in entries


@pytest.mark.parametrize(
    ("namespace", "name", "value"),
    [
        ("small-east", "ipv4/ip_forward", "1"),
        ("small-east", "ipv6/conf/fabric/forwarding", "1"),
        ("small-east-host", "ipv4/ip_forward", "0"),
        ("small-east-host", "ipv6/conf/all/forwarding", "0"),
        ("small-east", "ipv4/conf/all/rp_filter", "0"),
        ("small-east", "ipv4/conf/fabric/rp_filter", "0"),
        ("small-east", "ipv4/conf/subnet/send_redirects", "0"),
        ("small-east", "ipv4/icmp_ratelimit", "0"),
        ("small-east-host", "ipv6/conf/eth0/accept_ra", "0"),
        ("small-east-host", "ipv6/conf/eth0/addr_gen_mode", "1"),
    ],
)
def test_kernel_settings(up: Up, namespace: str, name: str, value: str) -> None:
    up()
    assert run(namespace, "cat", f"/proc/sys/net/{name}").strip() == value


def test_frames_are_as_on_a_wire(up: Up) -> None:
    up()
    features = run("small-east-host", "ethtool", "-k", "eth0")
    for feature in (
        "tx-checksumming",
        "tx-tcp-segmentation",
        "generic-segmentation-offload",
        "generic-receive-offload",
    ):
        assert re.search(rf"\b{feature}: off", features), feature


def test_a_rate_is_a_ceiling(up: Up) -> None:
    up(rate_mbit=100.0)
    (discipline,) = json.loads(run("small-east-host", "tc", "-j", "qdisc", "show", "dev", "eth0"))
    assert (discipline["kind"], discipline["options"]["rate"]) == ("tbf", 12_500_000)


def test_a_ruleset_is_loaded(up: Up) -> None:
    up(nftables="table inet t {\n chain c {\n type filter hook input priority 0;\n icmp type 8 drop\n}\n}\n")
    assert "echo-request drop" in run("small-west-host", "nft", "list", "ruleset")
    assert run("small-east-host", "nft", "list", "ruleset") == ""


def test_a_bad_ruleset_is_named_and_unwound(root: Path) -> None:
    with (
        record.open_new("small", root=root) as opened,
        pytest.raises(NetError, match=r"nonsense(.|\n)*small-west-host"),
    ):
        build(small_plan(nftables="nonsense\n"), opened)
    assert not list(namespaces.DIRECTORY.iterdir())


def test_the_kernels_refusal_says_what_was_tried(root: Path) -> None:
    plan = small_plan()
    broken = Plan(**{**{name: getattr(plan, name) for name in plan.__slots__}, "links": (*plan.links, plan.links[0])})
    with (
        record.open_new("small", root=root) as opened,
        pytest.raises(NetError, match=r"cannot link east of small-fabric"),
    ):
        build(broken, opened)
    assert not list(namespaces.DIRECTORY.iterdir())


def test_two_labs_with_the_same_addresses_stand_side_by_side(up: Up) -> None:
    up("one")
    up("two")
    run("one-east-host", "ip", "link", "set", "eth0", "down")
    assert "1 received" in run("two-east-host", "ping", "-c", "1", "-W", "30", "10.0.2.10")
