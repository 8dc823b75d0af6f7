"""A refusal never sends the user to something that is refused too, or that lets more traffic through than was meant.

Each row: what somebody writes, what the refusal says, and the file after he has done that, which is taken.
"""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY
from gwlbemu.errors import TopologyError
from gwlbemu.topology.file.balancing import _NOT_EMULATED
from gwlbemu.topology.file.parse import ABSENT, parse
from tests.topology.builder import Data, put, text_of

RULE = "vpcs.0.security_groups.0.ingress.0"
FIREWALL = "vpcs.1.instances.0.program"
FORWARD = [{"type": "forward", "target_group": "firewalls"}]
Row = tuple[dict[str, Any], str, dict[str, Any]]


def rule(**keys: object) -> dict[str, Any]:
    return {RULE: keys}


def firewall(**keys: object) -> dict[str, Any]:
    return {FIREWALL: {"firewall": {"rules": [{"action": "deny", **keys}]}}}


def listeners(**keys: object) -> dict[str, Any]:
    return {"load_balancers.0": {"name": "inspect", "type": "gateway", "subnets": ["sec-a"], "listeners": [keys]}}


VPC, NET, V6 = "vpcs.0", "10.0.0.0/24", "2001:db8::5"
ROWS: dict[str, Row] = {
    "key misspelt": ({f"{VPC}.nat_gatways": []}, "did you mean nat_gateways?", {f"{VPC}.nat_gateways": []}),
    "key in the singular": (
        {f"{VPC}.nat_gateway": {"name": "nat", "subnet": "ep-a", "public_address": "203.0.113.5"}},
        "did you mean nat_gateways, a list?",
        {f"{VPC}.nat_gateways": [{"name": "nat", "subnet": "ep-a", "public_address": "203.0.113.5"}]},
    ),
    "host bits": (
        {f"{VPC}.subnets.2.cidr": "10.0.11.1/28"}, "mean 10.0.11.0/28?", {f"{VPC}.subnets.2.cidr": "10.0.11.0/28"},
    ),
    "GRE in a group": (rule(protocol="gre", source=NET), "expected 47", rule(protocol="47", source=NET)),
    "SCTP in a group": (rule(protocol="sctp", source=NET), "expected 132", rule(protocol=132, source=NET)),
    "no protocol": (rule(protocol="http", source=NET), "expected tcp, udp,", rule(protocol="tcp", source=NET)),
    "one address": (
        rule(protocol="tcp", source="10.0.0.5"), "would be 10.0.0.5/32", rule(protocol="tcp", source="10.0.0.5/32"),
    ),
    "host bits in a rule": (
        rule(protocol="tcp", source="10.0.0.5/24"), "would be 10.0.0.5/32", rule(protocol="tcp", source="10.0.0.5/32"),
    ),
    "IPv6 address": (
        rule(protocol="tcp", source=V6), f"would be {V6}/128", rule(protocol="tcp", source=f"{V6}/128"),
    ),
    "nonsense": (
        rule(protocol="tcp", source="all"), "a network such as 10.0.1.0/24", rule(protocol="tcp", source="10.0.1.0/24"),
    ),
    "ports of everything": (
        rule(protocol="all", source=NET, ports=80), "only with tcp or udp", rule(protocol="tcp", source=NET, ports=80),
    ),
    "protocol in a firewall": (firewall(protocol="sctp"), "expected 132", firewall(protocol=132)),
    "ICMPv6 in a firewall": (firewall(protocol="icmpv6"), "expected 58", firewall(protocol="58")),
    "no protocol in a firewall": (firewall(protocol="http"), "expected tcp, udp,", firewall(protocol="tcp")),
    "ports without protocol": (firewall(ports=80), "with protocol tcp or udp", firewall(ports=80, protocol="tcp")),
    "firewall's network": (firewall(source="10.0.0.1/8"), "without host bits", firewall(source="10.0.0.0/8")),
    "firewall's empty list": (firewall(protocol=[]), "at least one entry", firewall(protocol=["tcp"])),
    "firewall's action": (
        {FIREWALL: {"firewall": {"default": "drop"}}}, "'deny'", {FIREWALL: {"firewall": {"default": "deny"}}},
    ),
    "route to nothing": (
        {f"{VPC}.route_tables.1.routes.0.target": "x"},
        "expected one of vpce-a, web, igw",
        {f"{VPC}.route_tables.1.routes.0.target": "igw"},
    ),
    "edge route to nothing": (
        {f"{VPC}.route_tables.0.routes.0.target": "x"},
        "expected one of local, vpce-a, web",
        {f"{VPC}.route_tables.0.routes.0.target": "web"},
    ),
    "edge route to a gateway": (
        {f"{VPC}.route_tables.0.routes.0.target": "igw"},
        "leads to local, an endpoint or an instance",
        {f"{VPC}.route_tables.0.routes.0.target": "local"},
    ),
    "endpoint's zone": (
        {f"{VPC}.endpoints+": {"name": "vpce-b", "subnet": "app-b", "service": "inspect"}},
        "give load balancer inspect a subnet there",
        {
            f"{VPC}.endpoints+": {"name": "vpce-b", "subnet": "app-b", "service": "inspect"},
            "load_balancers.0.subnets+": "sec-b",
        },
    ),
    "endpoint's other zone": (
        {f"{VPC}.endpoints.0.subnet": "app-b"},
        "or this endpoint a subnet in zone a",
        {f"{VPC}.endpoints.0.subnet": "app-a"},
    ),
    "endpoint's service": (
        {f"{VPC}.endpoints.0.service": "x"}, "expected one of inspect", {f"{VPC}.endpoints.0.service": "inspect"},
    ),
    "endpoint's subnet": (
        {f"{VPC}.endpoints.0.subnet": "x"}, "expected one of app-a, ep-a", {f"{VPC}.endpoints.0.subnet": "ep-a"},
    ),
    "target group's VPC": (
        {"target_groups.0.vpc": "x"}, "expected one of security", {"target_groups.0.vpc": "security"},
    ),
    "target": ({"target_groups.0.targets": ["x"]}, "expected one of fw-a", {"target_groups.0.targets": ["fw-a"]}),
    "target's zone": (
        {"target_groups.0.targets+": "fw-b"},
        "in zone b, which load balancer inspect has not enabled",
        {"target_groups.0.targets+": "fw-b", "load_balancers.0.subnets+": "sec-b"},
    ),
    "listener's protocol": (
        listeners(protocol="GENEVE", default_actions=FORWARD),
        "can't specify a protocol",
        listeners(default_actions=FORWARD),
    ),
    "listener's port": (
        listeners(port="6081", default_actions=FORWARD), "can't specify a port", listeners(default_actions=FORWARD),
    ),
    "listener's rules": (
        listeners(rules=[{"priority": 0}], default_actions=FORWARD),
        "expected none here",
        listeners(default_actions=FORWARD),
    ),
    "listener's key": (
        listeners(default_action=FORWARD), "did you mean default_actions?", listeners(default_actions=FORWARD),
    ),
    "failover alone": (
        {"target_groups.0.attributes": {"target_failover.on_unhealthy": "rebalance"}},
        "must be set to the same value",
        {
            "target_groups.0.attributes": {
                "target_failover.on_unhealthy": "rebalance", "target_failover.on_deregistration": "rebalance",
            }
        },
    ),
    "reset with stickiness": (
        {"target_groups.0.attributes": {"send_tcp_reset.on_unhealthy.enabled": True, "stickiness.enabled": True}},
        "needs stickiness.enabled to be false",
        {"target_groups.0.attributes": {"send_tcp_reset.on_unhealthy.enabled": True, "stickiness.enabled": False}},
    ),
    **{
        f"type {name}": ({"load_balancers.0.type": name}, "'gateway'", {"load_balancers.0.type": "gateway"})
        for name in (*_NOT_EMULATED, "gwlb")
    },
    **{
        f"key {key}": ({f"{VPC}.{key}": {"name": "x"}}, "not emulated: expected the file without this key", {})
        for key in ABSENT
    },
}  # fmt: skip


def written(changes: dict[str, Any]) -> str:
    def change(data: Data) -> None:
        for path, value in changes.items():
            put(path, value)(data)

    return text_of(change)


@pytest.mark.parametrize(("wrong", "words", "mended"), ROWS.values(), ids=ROWS)
def test_what_a_refusal_says_is_taken_when_it_is_done(
    wrong: dict[str, Any], words: str, mended: dict[str, Any]
) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(written(wrong), "lab.yaml")
    lines = str(caught.value).splitlines()
    assert any(words in line for line in lines), lines
    assert len(set(lines)) == len(lines)
    parse(written(mended), "lab.yaml")


@pytest.mark.parametrize("key", ABSENT)
def test_what_is_not_emulated_is_not_taken_for_something_else(key: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(written({f"{VPC}.{key}": {}}), "lab.yaml")
    assert "did you mean" not in str(caught.value)
    assert "internet_gateway," not in str(caught.value)


@pytest.mark.parametrize("protocol", ["gre", "sctp", "any", "ip", "GRE", "-2", "256", "http"])
def test_no_refusal_of_a_protocol_says_to_open_all_of_them(protocol: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(written(rule(protocol=protocol, source=NET)), "lab.yaml")
    assert "all" not in str(caught.value).replace("all would be every protocol", "")


@pytest.mark.parametrize(("number", "name"), [("6", "tcp"), (17, "udp"), (1, "icmp"), (58, "icmpv6"), (-1, "all")])
def test_a_protocol_by_its_number_is_the_one_by_its_name(number: str | int, name: str) -> None:
    groups = [
        parse(written(rule(protocol=each, source=NET)), "lab.yaml").topology.vpcs[0].security_groups
        for each in (number, name)
    ]
    assert groups[0] == groups[1]


def test_every_attribute_that_a_refusal_names_is_taken() -> None:
    for resource, path in (
        ("load-balancer", "load_balancers.0.attributes"),
        ("listener", "load_balancers.0.listener.attributes"),
        ("target-group", "target_groups.0.attributes"),
    ):
        with pytest.raises(TopologyError) as caught:
            parse(written({path: {"x": 1}}), "lab.yaml")
        named = str(caught.value).partition("expected one of: ")[2].split(", ")
        assert named == list(ATTRIBUTES[GATEWAY].TABLE[resource])
        for key in named:
            parse(written({path: {key: str(ATTRIBUTES[GATEWAY].TABLE[resource][key].text(
                ATTRIBUTES[GATEWAY].TABLE[resource][key].default))}}), "lab.yaml")  # fmt: skip
