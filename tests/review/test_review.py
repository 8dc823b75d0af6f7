"""Every finding of a review: a topology that has it, and the same one mended as the finding says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu.review.finding import Finding, listed
from gwlbemu.review.review import planned_mtus, review, with_changes
from gwlbemu.topology.file.document import dotted
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from tests.paths import TOPOLOGIES
from tests.topology.builder import BASE, Data, put

TWO_ZONES = yaml.safe_load((TOPOLOGIES / "cross-zone.yaml").read_text())
TRANSIT = yaml.safe_load((TOPOLOGIES / "transit-gateway.yaml").read_text())
NAT = yaml.safe_load((TOPOLOGIES / "egress-nat.yaml").read_text())
CHAIN = yaml.safe_load((TOPOLOGIES / "two-zones.yaml").read_text())
EAST_WEST = yaml.safe_load((TOPOLOGIES / "east-west.yaml").read_text())
Change = Callable[[Data], object]


def findings(data: Data, *changes: Change) -> list[Finding]:
    changed = copy.deepcopy(data)
    for change in changes:
        change(changed)
    parsed = parse(yaml.safe_dump(changed, sort_keys=False), "test.yaml")
    return review(parsed.topology, mtus=planned_mtus(resolve(parsed)))


def the_only(data: Data, *changes: Change) -> Finding:
    (found,) = findings(data, *changes)
    return found


def told(found: Finding) -> tuple[str, str, str, str]:
    return found.kind, found.severity, dotted(found.path), found.change


def route(vpc: int, table: int, line: int, target: str) -> Change:
    return put(f"vpcs.{vpc}.route_tables.{table}.routes.{line}.target", target)


def no_route(vpc: int, table: int, line: int) -> Change:
    def change(data: Data) -> None:
        del data["vpcs"][vpc]["route_tables"][table]["routes"][line]

    return change


def add_route(vpc: int, table: int, destination: str, target: str) -> Change:
    return put(f"vpcs.{vpc}.route_tables.{table}.routes+", {"destination": destination, "target": target})


def without(path: str, key: str) -> Change:
    def change(data: Data) -> None:
        place: Any = data
        for part in path.split("."):
            place = place[int(part)] if isinstance(place, list) else place[part]
        del place[key]

    return change


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_topologies_have_nothing_to_be_found(path: Path) -> None:
    parsed = parse(path.read_text(), path.name)
    assert review(parsed.topology, mtus=planned_mtus(resolve(parsed))) == []


# ---- ways that skip an endpoint ------------------------------------------------------------------------------------
def test_an_answer_that_skips_the_endpoint_is_found_at_the_line_that_skips_it() -> None:
    found = the_only(BASE, route(0, 1, 0, "igw"))
    assert told(found) == ("skips-endpoint", "error", "vpcs[0].route_tables[1].routes[0].target", "target: vpce-a")
    assert "web -> client (and 1 alike): the packet skips vpce-a, which its answer passes" in found.text
    assert "route table app-a: 0.0.0.0/0 -> igw" in found.text


def test_a_request_that_skips_the_endpoint_is_an_error_because_the_answer_finds_no_flow() -> None:
    found = the_only(BASE, no_route(0, 0, 0))
    change = "add {destination: 10.0.1.0/24, target: vpce-a}"
    assert told(found) == ("skips-endpoint", "error", "vpcs[0].route_tables[0]", change)
    assert "client -> web: the packet skips vpce-a, which its answer passes" in found.text
    mended = add_route(0, 0, "10.0.1.0/24", "vpce-a")
    assert findings(BASE, no_route(0, 0, 0), mended) == []


def test_an_internet_gateway_without_a_route_table_lets_requests_skip_the_endpoint() -> None:
    found = the_only(BASE, without("vpcs.0.internet_gateway", "route_table"))
    here = "vpcs[0].internet_gateway.route_table"
    assert told(found) == ("skips-endpoint", "error", here, "route_table: edge")
    unused: Change = put("vpcs.0.route_tables.0", {"name": "edge", "routes": []})
    found = the_only(BASE, without("vpcs.0.internet_gateway", "route_table"), unused)
    own = "route_table: one of its own, with {destination: 10.0.1.0/24, target: vpce-a}"
    assert (dotted(found.path), found.change) == (here, own)


def test_of_a_chain_the_endpoint_that_is_left_out_is_named() -> None:
    found = the_only(CHAIN, route(0, 5, 0, "vpce-fw-a"))  # app-a
    assert told(found)[2:] == ("vpcs[0].route_tables[5].routes[0].target", "target: vpce-ids-a")
    found = the_only(CHAIN, route(0, 3, 0, "igw"))  # ids-endpoint-a
    assert told(found)[2:] == ("vpcs[0].route_tables[3].routes[0].target", "target: vpce-fw-a")
    found = the_only(CHAIN, no_route(0, 1, 0))  # fw-endpoint-a: the request does not meet the IDS
    change = "add {destination: 10.0.1.0/24, target: vpce-ids-a}"
    assert told(found) == ("skips-endpoint", "error", "vpcs[0].route_tables[1]", change)


def test_the_endpoints_of_a_chain_may_be_passed_in_any_order() -> None:
    turned = [route(0, 5, 0, "vpce-fw-a"), route(0, 1, 1, "vpce-ids-a"), route(0, 3, 0, "igw")]
    assert findings(CHAIN, *turned) == []


def test_inspection_between_two_subnets_that_goes_one_way_is_an_error() -> None:
    found = the_only(EAST_WEST, no_route(0, 1, 0))
    change = "add {destination: 10.0.1.0/24, target: vpce}"
    assert told(found) == ("skips-endpoint", "error", "vpcs[0].route_tables[1]", change)
    assert "back -> front" in found.text


def test_of_two_subnets_without_inspection_the_endpoint_is_told_that_stands_idle() -> None:
    found = the_only(EAST_WEST, no_route(0, 1, 0), no_route(0, 0, 0))
    assert told(found) == ("unused-endpoint", "warning", "vpcs[0].endpoints[0]", "")
    gone = [put("vpcs.0.endpoints", []), no_route(0, 1, 0), no_route(0, 0, 0)]
    assert findings(EAST_WEST, *gone) == []


def test_behind_a_nat_gateway_the_answer_must_take_the_endpoint_too() -> None:
    found = the_only(NAT, no_route(0, 2, 0))
    change = "add {destination: 10.0.1.0/24, target: vpce}"
    assert told(found) == ("skips-endpoint", "warning", "vpcs[0].route_tables[2]", change)
    assert "worker -> server: the answer skips vpce, which the packet passes" in found.text
    found = the_only(NAT, route(0, 0, 0, "nat"))
    assert told(found) == ("skips-endpoint", "error", "vpcs[0].route_tables[0].routes[0].target", "target: vpce")


def test_a_transit_gateway_route_that_goes_around_the_inspection_vpc_is_found() -> None:
    around = {"destination": "10.2.0.0/16", "target": "to-right"}
    found = the_only(TRANSIT, put("transit_gateways.0.route_tables.0.routes+", around))
    here = "transit_gateways[0].route_tables[0].routes[1].target"
    assert told(found) == ("skips-endpoint", "error", here, "target: to-security")


def test_ipv6_is_followed_as_well() -> None:
    six: list[Change] = [
        put("internet.ipv6_cidr", "2001:db8:0:1::/64"),
        put("vpcs.0.ipv6_cidr", "2001:db8:100::/56"),
        put("vpcs.0.subnets.0.ipv6_cidr", "2001:db8:100:1::/64"),
        put("vpcs.0.subnets.2.ipv6_cidr", "2001:db8:100:11::/64"),
        add_route(0, 2, "::/0", "igw"),
        add_route(0, 0, "2001:db8:100:1::/64", "vpce-a"),
        add_route(0, 1, "::/0", "igw"),
    ]
    found = the_only(BASE, *six)
    assert told(found)[1:] == ("error", "vpcs[0].route_tables[1].routes[1].target", "target: vpce-a")
    assert "(IPv6)" in found.text
    assert findings(BASE, *six, route(0, 1, 1, "vpce-a")) == []


def test_pairs_with_the_same_fault_are_told_once() -> None:
    changes = [
        no_route(0, 1, 0),
        put("internet", {"cidr": "198.51.100.0/24"}),
        put("vpcs.0.internet_gateway", {"name": "igw"}),
        put("vpcs.0.instances+", {"name": "more", "subnet": "back-end", "public_address": "203.0.113.9"}),
    ]
    found = [each for each in findings(EAST_WEST, *changes) if each.kind == "skips-endpoint"]
    assert [each.text.partition(": ")[0] for each in found] == ["back -> front (and 1 alike)"]


# ---- another zone's endpoint ---------------------------------------------------------------------------------------
def test_an_answer_through_another_zones_endpoint_is_found_and_explained() -> None:
    found = the_only(TWO_ZONES, route(0, 1, 0, "vpce-b"))
    assert told(found) == ("other-zone", "error", "vpcs[0].route_tables[1].routes[0].target", "target: vpce-a")
    assert found.text.startswith("client -> web-a, client -> shop-node-a: ")
    assert ": the packet passes vpce-a of zone a and its answer vpce-b of zone b" in found.text


def test_a_request_through_another_zones_endpoint_is_found_in_the_edge_table() -> None:
    found = the_only(TWO_ZONES, route(0, 0, 0, "vpce-b"))
    assert told(found)[2:] == ("vpcs[0].route_tables[0].routes[0].target", "target: vpce-a")


def test_both_directions_through_another_zones_endpoint_cost_money_and_are_no_error() -> None:
    found = findings(TWO_ZONES, route(0, 0, 0, "vpce-b"), route(0, 1, 0, "vpce-b"))
    assert {(each.kind, each.severity) for each in found} == {
        ("unused-endpoint", "warning"), ("crosses-zone", "hint"), ("single-zone", "hint"),
    }  # fmt: skip
    assert {each.change for each in found} == {""}


def test_without_appliance_mode_the_attachment_is_named() -> None:
    found = the_only(TRANSIT, put("transit_gateways.0.attachments.2.appliance_mode", "disable"))
    here = "transit_gateways[0].attachments[2].appliance_mode"
    assert told(found) == ("other-zone", "error", here, "appliance_mode: enable")


# ---- load balancers and target groups ------------------------------------------------------------------------------
def test_stickiness_by_addresses_is_refused_by_appliance_mode() -> None:
    sticky = put("target_groups.0.attributes", {"stickiness.enabled": True})
    found = the_only(TRANSIT, sticky)
    here = "target_groups[0].attributes['stickiness.enabled']"
    assert told(found) == ("stickiness-in-appliance-mode", "error", here, "stickiness.enabled: false")
    assert findings(TWO_ZONES, sticky) == []


def test_a_zone_with_an_endpoint_and_no_target_is_found_unless_cross_zone_is_on() -> None:
    only_b = put("target_groups.0.targets", ["fw-b1"])
    found = the_only(TWO_ZONES, only_b)
    here = "load_balancers[0].attributes['load_balancing.cross_zone.enabled']"
    assert told(found)[:3] == ("empty-zone", "error", here)
    assert "in zone a" in found.text
    cross_zone = put("load_balancers.0.attributes", {"load_balancing.cross_zone.enabled": True})
    assert findings(TWO_ZONES, only_b, cross_zone) == []


def test_a_target_group_without_targets_is_found() -> None:
    found = the_only(BASE, put("target_groups.0.targets", []))
    assert told(found)[:3] == ("no-targets", "error", "target_groups[0].targets")


def test_a_slow_health_check_is_worth_a_word_and_no_more() -> None:
    check = {"interval_seconds": 30, "unhealthy_threshold_count": 3}
    found = the_only(BASE, put("target_groups.0.health_check", check))
    here = "target_groups[0].health_check.interval_seconds"
    assert told(found) == ("slow-failover", "hint", here, "interval_seconds: 10")
    assert "only after 90 s" in found.text
    assert findings(BASE, put("target_groups.0.health_check", {"interval_seconds": 15})) == []


# ---- instances -----------------------------------------------------------------------------------------------------
UDP = {"protocol": "udp", "ports": 6081, "source": "10.254.1.0/24"}
TCP = {"protocol": "tcp", "ports": 80, "source": "10.254.1.0/24"}


def guarded(*rules: dict[str, object]) -> list[Change]:
    return [
        put("vpcs.1.security_groups", [{"name": "guard", "ingress": list(rules)}, {"name": "friends"}]),
        put("vpcs.1.instances.0.security_groups", ["guard"]),
    ]


def test_a_security_group_that_keeps_out_the_tunnel_or_the_health_check_is_found_with_the_rule_to_add() -> None:
    here = "vpcs[1].security_groups[0].ingress"
    no_tunnel, no_health = (the_only(BASE, *guarded(rule)) for rule in (TCP, UDP))
    change = "add {protocol: udp, ports: 6081, source: 10.254.1.0/24}"
    assert told(no_tunnel) == ("security-group", "error", here, change)
    assert told(no_health)[2:] == (here, "add {protocol: tcp, ports: 80, source: 10.254.1.0/24}")
    assert "fw-a: security group guard does not let in the GENEVE tunnel (udp 6081) from subnet sec-a" in no_tunnel.text
    assert findings(BASE, *guarded(UDP, TCP)) == []


@pytest.mark.parametrize(
    ("rule", "enough"),
    [
        ({"protocol": "all", "source": "0.0.0.0/0"}, True),
        ({"protocol": "udp", "ports": "6000-6100", "source": "10.254.0.0/16"}, True),
        ({"protocol": "udp", "source": "10.254.0.0/16"}, True),
        ({"protocol": "udp", "ports": "6082-6100", "source": "10.254.0.0/16"}, False),
        ({"protocol": "udp", "ports": 6081, "source": "10.254.2.0/24"}, False),
        ({"protocol": "udp", "ports": 6081, "source": "friends"}, False),  # a node is in no group
        ({"protocol": "all", "source": "::/0"}, False),
    ],
)
def test_what_lets_the_tunnel_in(rule: dict[str, object], enough: bool) -> None:
    assert (findings(BASE, *guarded(TCP, rule)) == []) is enough


def test_with_cross_zone_on_the_nodes_of_all_zones_must_be_let_in() -> None:
    changes = [
        *guarded(UDP, TCP),
        put("load_balancers.0.subnets", ["sec-a", "sec-b"]),
        put("load_balancers.0.attributes", {"load_balancing.cross_zone.enabled": True}),
    ]
    assert [found.change for found in findings(BASE, *changes)] == [
        "add {protocol: udp, ports: 6081, source: 10.254.2.0/24}",
        "add {protocol: tcp, ports: 80, source: 10.254.2.0/24}",
    ]
    assert findings(BASE, *changes[:-1]) == []


@pytest.mark.parametrize("kind", ["instance", "ip"])
def test_the_health_check_port_is_the_target_groups_own(kind: str) -> None:
    changes = [
        *guarded(UDP, TCP),
        put("target_groups.0.health_check", {"port": 8080}),
        put("target_groups.0.target_type", kind),
        put("target_groups.0.targets", ["fw-a" if kind == "instance" else "10.254.1.11"]),
    ]
    assert the_only(BASE, *changes).change == "add {protocol: tcp, ports: 8080, source: 10.254.1.0/24}"


def test_a_route_to_an_instance_needs_its_source_destination_check_off() -> None:
    to_instance = [
        put("vpcs.0.instances+", {"name": "router", "subnet": "ep-a"}),
        add_route(0, 2, "192.0.2.0/24", "router"),
    ]
    found = the_only(BASE, *to_instance)
    here = "vpcs[0].instances[1].source_dest_check"
    assert told(found) == ("source-dest-check", "error", here, "source_dest_check: false")
    assert findings(BASE, *to_instance, put("vpcs.0.instances.1.source_dest_check", False)) == []


def test_an_appliance_whose_mtu_is_under_8568_is_found() -> None:
    parsed = parse(yaml.safe_dump(BASE), "test.yaml")
    (found,) = review(parsed.topology, mtus={"fw-a": 8567})
    assert told(found)[:3] == ("appliance-mtu", "error", "vpcs[1].instances[0]")
    assert review(parsed.topology, mtus={"fw-a": 8568}) == []
    assert planned_mtus(resolve(parsed)) == {"fw-a": 9001}


DROP = 'drop tcp any any -> any 80 (msg:"no web"; sid:1;)'


def test_an_ids_with_drop_rules_that_may_only_watch_is_found() -> None:
    found = the_only(BASE, put("vpcs.1.instances.0.program", {"ids": {"rules": DROP}}))
    assert told(found) == ("idle-drop-rules", "warning", "vpcs[1].instances[0].program.ids.ips", "ips: true")
    assert findings(BASE, put("vpcs.1.instances.0.program", {"ids": {"rules": DROP, "ips": True}})) == []
    assert findings(BASE, put("vpcs.1.instances.0.program", {"ids": {"rules": DROP.replace("drop", "alert")}})) == []


# ---- order, and a running lab --------------------------------------------------------------------------------------
def test_the_worst_comes_first() -> None:
    changes = [
        put("target_groups.0.health_check", {"interval_seconds": 60}),
        put("vpcs.1.instances.1.program", {"ids": {"rules": DROP}}),
        put("target_groups.0.targets", []),
    ]
    assert [found.severity for found in findings(BASE, *changes)] == ["error", "warning", "hint"]


def test_what_was_changed_on_a_running_lab_is_reviewed() -> None:
    parsed = parse(yaml.safe_dump(TWO_ZONES), "test.yaml")
    changed = copy.deepcopy(TWO_ZONES)
    changed["target_groups"][0]["targets"] = ["fw-b1"]
    now = resolve(parse(yaml.safe_dump(changed), "test.yaml"))
    assert [found.kind for found in review(with_changes(parsed.topology, now), mtus={})] == ["empty-zone"]
    assert review(parsed.topology, mtus={}) == []


def test_long_lists_are_cut_short() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcde")) == "a, b, c and 2 more"
