"""Network load balancers in a topology file: what is taken, and what AWS refuses, by key."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.core.elb.rules import Condition
from gwlbemu.errors import TopologyError
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.file.schema import json_schema
from tests.topology.builder import Data, plan_of, text_of

IPV6 = {"field": "source-ip", "source_ip_config": {"ip_address_type": "ipv6"}}
LB, LISTENER, GROUP = "load_balancers[1]", "load_balancers[1].listeners[0]", "target_groups[1]"


def forward(*groups: str, **weights: int) -> dict[str, Any]:
    if not weights:
        return {"type": "forward", "target_group": groups[0]}
    tuples = [{"target_group": name, "weight": weight} for name, weight in weights.items()]
    return {"type": "forward", "forward_config": {"target_groups": tuples}}


def group(name: str = "webs", **more: Any) -> dict[str, Any]:
    return {"name": name, "vpc": "app", "protocol": "TCP", "port": 80, "targets": ["web"]} | more


def listener(protocol: str = "TCP", port: int = 80, **more: Any) -> dict[str, Any]:
    return {"protocol": protocol, "port": port, "default_actions": [forward("webs")]} | more


def network(*groups: dict[str, Any], **more: Any) -> Any:
    """The base topology and a network load balancer `front` of its VPC app, with one listener and one group."""

    def change(data: Data) -> None:
        vpc = data["vpcs"][0]
        vpc["ipv6_cidr"] = "2001:db8::/56"
        vpc["subnets"][0]["ipv6_cidr"] = "2001:db8::/64"
        vpc["instances"].append({"name": "web-2", "subnet": "app-a"})
        front = {"name": "front", "type": "network", "subnets": ["app-a"], "listeners": [listener()]} | more
        data["load_balancers"].append({key: value for key, value in front.items() if value is not None})
        data["target_groups"] += groups or (group(),)

    return change


def complaints(change: Any) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text_of(change), "lab.yaml")
    return str(caught.value).splitlines()


def told(change: Any, key: str) -> str:
    """The one complaint about the key, which must stand at a line of the file that the complaint names."""
    lines = complaints(change)
    named = [line for line in lines if line.split(": ")[1] == key]
    assert len(named) == 1, lines
    name, number, _ = named[0].split(":", 2)
    assert name == "lab.yaml"
    assert 0 < int(number) <= len(text_of(change).splitlines())
    return named[0]


RULE = {"priority": 1, "conditions": [IPV6], "actions": [forward("webs")]}
TWO = (group(), group("other"))
WEIGHTED = forward(webs=1, other=3)


def with_rule(**more: Any) -> Any:
    return network(ip_address_type="dualstack", listeners=[listener(rules=[RULE | more])])


def with_actions(*actions: dict[str, Any], protocol: str = "TCP", groups: tuple[dict[str, Any], ...] = TWO) -> Any:
    return network(*groups, listeners=[listener(protocol, default_actions=list(actions))])


ACTION = f"{LISTENER}.default_actions[0]"
LISTENERS = [
    ("no protocol", network(listeners=[{"port": 80, "default_actions": [forward("webs")]}]),
     f"{LISTENER}.protocol", "this key is missing: a Network Load Balancer's listener has it"),
    ("no port", network(listeners=[{"protocol": "TCP", "default_actions": [forward("webs")]}]),
     f"{LISTENER}.port", "this key is missing"),
    ("the short form", network(listeners=None, listener={"target_group": "webs"}),
     f"{LB}.listener", "has a protocol and a port: expected the key listeners"),
    ("port 0", network(listeners=[listener(port=0)]), f"{LISTENER}.port", "greater than or equal to 1"),
    ("port 65536", network(listeners=[listener(port=65536)]), f"{LISTENER}.port", "less than or equal to 65535"),
    ("no such protocol", network(listeners=[listener("SCTP")]), f"{LISTENER}.protocol", "got 'SCTP'"),
    ("HTTP", network(listeners=[listener("HTTP")]), f"{LISTENER}.protocol", "(UnsupportedProtocol)"),
    ("HTTPS", network(listeners=[listener("HTTPS")]), f"{LISTENER}.protocol", "is for Application Load Balancers"),
    ("the same listener twice", network(listeners=[listener(), listener()]),
     f"{LB}.listeners[1].port", "a listener exists on port 80 already (TCP)"),
    ("TCP and TCP_UDP", network(group(protocol="TCP_UDP"), listeners=[listener(), listener("TCP_UDP")]),
     f"{LB}.listeners[1].port", "(DuplicateListener)"),
    ("TCP and UDP", network(group(protocol="TCP_UDP"), listeners=[listener("UDP"), listener()]),
     f"{LB}.listeners[1].port", "or one listener TCP_UDP"),
    ("51 listeners", network(listeners=[listener(port=number) for number in range(1, 52)]),
     f"{LB}.listeners", "51 listeners: expected at most 50 (TooManyListeners)"),
    ("TCP to UDP", network(group(protocol="UDP")), f"{ACTION}.target_group",
     "a TCP listener can't forward to target group webs of protocol UDP: expected TCP or TCP_UDP"),
    ("UDP to TCP", network(listeners=[listener("UDP")]), f"{ACTION}.target_group", "expected UDP or TCP_UDP"),
    ("TCP_UDP to TCP", network(listeners=[listener("TCP_UDP")]), f"{ACTION}.target_group", "expected TCP_UDP ("),
    ("TCP_UDP to UDP", network(group(protocol="UDP"), listeners=[listener("TCP_UDP")]),
     f"{ACTION}.target_group", "(IncompatibleProtocols)"),
    ("TLS to TCP_UDP", network(group(protocol="TCP_UDP"), listeners=[listener("TLS")]),
     f"{ACTION}.target_group", "expected TCP or TLS"),
    ("TLS and stickiness", network(group(attributes={"stickiness.enabled": True}), listeners=[listener("TLS")]),
     f"{ACTION}.target_group", "sticky sessions are not supported with TLS listeners"),
    ("to a GENEVE group", network(group(protocol="GENEVE", port=6081)), f"{ACTION}.target_group",
     "has protocol GENEVE, which a load balancer of type network can't forward to"),
    ("two actions", with_actions(forward("webs"), forward("other")),
     f"{LISTENER}.default_actions[1]", "(TooManyActions)"),
    ("a group twice", with_actions({"type": "forward", "forward_config": {"target_groups": [
        {"target_group": "webs"}, {"target_group": "webs"}]}}),
     f"{ACTION}.forward_config.target_groups[1].target_group", "target group webs is in the action already"),
    ("an idle timeout out of range", network(listeners=[listener(attributes={"tcp.idle_timeout.seconds": 6001})]),
     f"{LISTENER}.attributes['tcp.idle_timeout.seconds']", "from 60 to 6000"),
    ("an idle timeout for UDP", network(group(protocol="UDP"), listeners=[
        listener("UDP", attributes={"tcp.idle_timeout.seconds": 60})]),
     f"{LISTENER}.attributes['tcp.idle_timeout.seconds']", "of a UDP listener can't be changed"),
]  # fmt: skip
WEIGHTS = [
    ("a weight of 1000", with_actions(forward(webs=1000, other=1)),
     f"{ACTION}.forward_config.target_groups[0].weight", "less than or equal to 999"),
    ("a weight below 0", with_actions(forward(webs=-1, other=1)),
     f"{ACTION}.forward_config.target_groups[0].weight", "greater than or equal to 0"),
    ("weights of 0", with_actions(forward(webs=0, other=0)),
     f"{ACTION}.forward_config.target_groups", "with weight 0 for all nothing would be forwarded"),
    ("several groups with TLS", with_actions(WEIGHTED, protocol="TLS"),
     f"{ACTION}.forward_config.target_groups[1]", "a TLS listener has one target group"),
    ("group stickiness with TLS", with_actions({"type": "forward", "forward_config": {
        "target_groups": [{"target_group": "webs"}], "target_group_stickiness_config": {"enabled": True}}},
        protocol="TLS", groups=(group(),)),
     f"{ACTION}.forward_config.target_group_stickiness_config.enabled", "a TLS listener has one target group"),
]  # fmt: skip
REDIRECT = {"type": "redirect", "redirect_config": {"status_code": "HTTP_301"}}
RULES = [
    ("without dualstack", network(listeners=[listener(rules=[RULE])]), f"{LISTENER}.rules",
     "rules need a load balancer with ip_address_type dualstack"),
    ("a path", with_rule(conditions=[{"field": "path-pattern", "values": ["/x"]}]),
     f"{LISTENER}.rules[0].conditions[0]", "a Network Load Balancer's rule asks for an IP version"),
    ("addresses", with_rule(conditions=[{"field": "source-ip", "values": ["10.0.0.0/8"]}]),
     f"{LISTENER}.rules[0].conditions[0]", "source_ip_config: {ip_address_type: ipv6}"),
    ("nothing to match", with_rule(conditions=[{"field": "source-ip"}]),
     f"{LISTENER}.rules[0].conditions[0]", "exactly one of the keys source_ip_config, values"),
    ("two conditions", with_rule(conditions=[IPV6, IPV6]), f"{LISTENER}.rules[0].conditions[1]", "has one condition"),
    ("no such version", with_rule(conditions=[{**IPV6, "source_ip_config": {"ip_address_type": "ipv5"}}]),
     f"{LISTENER}.rules[0].conditions[0].source_ip_config.ip_address_type", "expected 'ipv4' or 'ipv6', got 'ipv5'"),
    ("another action", with_rule(actions=[REDIRECT]),
     f"{LISTENER}.rules[0].actions[0].type", "expected 'forward'"),
    ("a priority twice", network(ip_address_type="dualstack", listeners=[listener(rules=[RULE, RULE])]),
     f"{LISTENER}.rules[1].priority", "priority 1 is in use: expected another one (PriorityInUse)"),
    ("a priority of 0", with_rule(priority=0), f"{LISTENER}.rules[0].priority", "greater than or equal to 1"),
    ("a group of another protocol", network(
        group(), group("other", protocol="UDP"), ip_address_type="dualstack",
        listeners=[listener(rules=[RULE | {"actions": [forward("other")]}])]),
     f"{LISTENER}.rules[0].actions[0].target_group", "(IncompatibleProtocols)"),
]  # fmt: skip
SUBNET = f"{LB}.subnets[0]"
ADDRESSES = [
    ("outside the subnet", network(subnets=[{"subnet": "app-a", "address": "10.0.2.9"}]),
     f"{SUBNET}.address", "10.0.2.9 is outside subnet app-a: expected an address of 10.0.1.0/24"),
    ("reserved", network(subnets=[{"subnet": "app-a", "address": "10.0.1.3"}]),
     f"{SUBNET}.address", "AWS keeps the first four addresses"),
    ("an instance's", network(subnets=[{"subnet": "app-a", "address": "10.0.1.10"}]),
     f"{SUBNET}.address", "is the address of web"),
    ("a private one beside a public one",
     network(subnets=[{"subnet": "app-a", "address": "10.0.1.9", "public_address": "203.0.113.9"}]),
     f"{SUBNET}.address", "can be specified for an internal load balancer only"),
    ("a public one of an instance", network(subnets=[{"subnet": "app-a", "public_address": "203.0.113.10"}]),
     f"{SUBNET}.public_address", "203.0.113.10 is the public address of web"),
    ("a public one inside", network(scheme="internal", subnets=[{"subnet": "app-a", "public_address": "203.0.113.9"}]),
     f"{SUBNET}.public_address", "(InvalidScheme)"),
    ("no public one outside", network(scheme="internet-facing"), f"{SUBNET}.public_address", "this key is missing"),
    ("public ones for some", network(subnets=[{"subnet": "app-a", "public_address": "203.0.113.9"}, "app-b"]),
     f"{LB}.subnets[1].public_address", "has an Elastic IP address per subnet"),
    ("IPv6 outside the subnet", network(ip_address_type="dualstack", subnets=[
        {"subnet": "app-a", "ipv6_address": "2001:db8:1::9"}]),
     f"{SUBNET}.ipv6_address", "2001:db8:1::9 is outside subnet app-a"),
    ("IPv6 without dualstack", network(subnets=[{"subnet": "app-a", "ipv6_address": "2001:db8::9"}]),
     f"{SUBNET}.ipv6_address", "expected ip_address_type dualstack"),
    ("dualstack without IPv6", network(ip_address_type="dualstack", subnets=["app-b"]),
     f"{SUBNET}.subnet", "subnet app-b has no ipv6_cidr"),
    ("a scheme that is none", network(scheme="public"), f"{LB}.scheme", "expected 'internet-facing' or 'internal'"),
    ("no such security group", network(security_groups=["web", "x"]), f"{LB}.security_groups[1]",
     "VPC app has no security group x: expected one of web (InvalidSecurityGroup)"),
    ("two subnets in a zone", network(subnets=["app-a", "ep-a"]), f"{LB}.subnets[1].subnet", "expected one subnet per"),
]  # fmt: skip


def attribute(key: str, value: object, **more: Any) -> tuple[Any, str]:
    return network(group(attributes={key: value}, **more)), f"{GROUP}.attributes['{key}']"


def check(**given: Any) -> Any:
    return network(group(health_check=given))


IP = {"target_type": "ip"}
MIN = "target_group_health.{}.minimum_healthy_targets.{}"
GROUPS = [
    ("a target twice", network(group(targets=["web", {"id": "web", "port": 80}])),
     f"{GROUP}.targets[1]", "web is in the group already with port 80"),
    ("501 targets", network(group(targets=[{"id": "web", "port": number} for number in range(1, 502)])),
     f"{GROUP}.targets", "501 targets: expected at most 500"),
    ("no such instance", network(group(targets=[{"id": "x", "port": 8080}])), f"{GROUP}.targets[0]", "no instance x"),
    ("port 0", network(group(targets=[{"id": "web", "port": 0}])), f"{GROUP}.targets[0].port", "greater than or equal"),
    ("an IPv6 target", network(group(**IP, targets=["2001:db8::9"])), f"{GROUP}.targets[0]", "is not an IPv4 address"),
    ("a public target", network(group(**IP, targets=["8.8.8.8"])), f"{GROUP}.targets[0]", "8.8.8.8 is not valid"),
    ("a far target with its client's address",
     network(group(**IP, targets=["10.9.0.1"], attributes={"preserve_client_ip.enabled": True})),
     f"{GROUP}.targets[0]", "10.9.0.1 is in no subnet of VPC app: expected one there while"),
    ("a target in a zone that is not enabled", network(group(**IP, targets=["10.0.2.9"])),
     f"{GROUP}.targets[0]", "which load balancer front has not enabled"),
    ("preservation off for UDP", *attribute("preserve_client_ip.enabled", False, protocol="UDP"),
     "can't be disabled for target groups of protocol UDP"),
    ("preservation off for TCP_UDP and ip", *attribute("preserve_client_ip.enabled", False, protocol="TCP_UDP", **IP),
     "can't be disabled for target groups of protocol TCP_UDP"),
    ("preservation off for alb", *attribute("preserve_client_ip.enabled", False, target_type="alb"),
     "can't be disabled for target groups with targets of type alb"),
    ("an alb of UDP", network(group(protocol="UDP", target_type="alb")), f"{GROUP}.protocol", "need protocol TCP"),
    ("two albs", network(group(target_type="alb", targets=["one", "two"])),
     f"{GROUP}.targets[1]", "has one Application Load Balancer"),
    ("stickiness for TLS", *attribute("stickiness.enabled", True, protocol="TLS"), "not supported with TLS"),
    ("another stickiness", *attribute("stickiness.type", "source_ip_dest_ip"), "expected source_ip"),
    ("a gateway's attribute", *attribute("target_failover.on_unhealthy", "rebalance"), "is not recognized"),
    ("termination for UDP", *attribute("target_health_state.unhealthy.connection_termination.enabled", True,
                                       protocol="UDP"), "can't be enabled for target groups of protocol UDP"),
    ("a draining interval out of range",
     *attribute("target_health_state.unhealthy.draining_interval_seconds", 360001), "from 0 to 360000"),
    ("a delay out of range", *attribute("deregistration_delay.timeout_seconds", 3601), "from 0 to 3600"),
    ("a draining interval beside termination",
     network(group(attributes={"target_health_state.unhealthy.draining_interval_seconds": 5})),
     f"{GROUP}.attributes", "can be configured only while target_health_state.unhealthy.connection_termination"),
    ("a count of 0", *attribute(MIN.format("dns_failover", "count"), 0), "from 1 to 500 or off"),
    ("a percentage of 101", *attribute(MIN.format("unhealthy_state_routing", "percentage"), 101), "1 to 100 or off"),
    ("a count that is off", *attribute(MIN.format("unhealthy_state_routing", "count"), "off"), "a whole number from 1"),
]  # fmt: skip
HEALTH = [
    ("UDP", check(protocol="UDP"), f"{GROUP}.health_check.protocol", "expected 'TCP', 'HTTP' or 'HTTPS'"),
    ("a port that is none", check(port="traffic"), f"{GROUP}.health_check.port", "from 1 to 65535, or traffic-port"),
    ("interval 4", check(interval_seconds=4), f"{GROUP}.health_check.interval_seconds", "greater than or equal to 5"),
    ("timeout 121", check(timeout_seconds=121), f"{GROUP}.health_check.timeout_seconds", "less than or equal to 120"),
    ("threshold 11", check(healthy_threshold_count=11), f"{GROUP}.health_check.healthy_threshold_count", "equal to 10"),
    ("the default timeout is longer", check(interval_seconds=5), f"{GROUP}.health_check", "timeout_seconds 10 must be"),
    *((f"matcher {text}", check(protocol="HTTP", matcher=text), f"{GROUP}.health_check.matcher",
       f"health check matcher '{text}' is not valid, expected statuses from 200 to 599")
      for text in ("199", "600", "299-200", "200-600", "200,", "ok", "200 ,202", "")),
]  # fmt: skip


def cases(*lists: list[Any]) -> pytest.MarkDecorator:
    every = [case for each in lists for case in each]
    return pytest.mark.parametrize(("change", "key", "words"), [c[1:] for c in every], ids=[c[0] for c in every])


@cases(LISTENERS, GROUPS)
def test_what_aws_refuses_of_listeners_and_target_groups_is_refused_by_key(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-12")
@cases(WEIGHTS)
def test_weights_are_from_0_to_999_and_not_for_tls(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-13")
@cases(RULES)
def test_rules_ask_for_the_ip_version_on_a_dualstack_balancer_and_forward(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-01")
@cases(ADDRESSES)
def test_an_address_that_a_node_cannot_have_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-06")
@cases(HEALTH)
def test_a_health_check_that_aws_refuses_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-19")
@pytest.mark.parametrize("protocol", ["QUIC", "TCP_QUIC"])
def test_quic_is_refused_by_name(protocol: str) -> None:
    wanted = f"{protocol} is not emulated: expected TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS (UnsupportedProtocol)"
    assert wanted in told(network(listeners=[listener(protocol)]), f"{LISTENER}.protocol")
    assert wanted in told(network(group(protocol=protocol)), f"{GROUP}.protocol")


@pytest.mark.contract("NL-01")
def test_each_zone_has_one_address_chosen_by_the_user_or_assigned() -> None:
    plan = plan_of(network(subnets=[{"subnet": "app-a", "address": "10.0.1.99"}, "app-b"]))
    chosen, assigned = plan.network_nodes
    assert (chosen.zone, chosen.address, assigned.zone) == ("a", "10.0.1.99", "b")
    assert assigned.address.startswith("10.0.2.")
    again = plan_of(network(subnets=["app-a", "app-b"], listeners=[listener(port=8080)])).network_nodes
    assert again[1].address == assigned.address
    (balancer,) = [one for one in plan.load_balancers if one.name == "front"]
    assert (balancer.scheme, balancer.zones) == ("internal", ("a", "b"))


@pytest.mark.contract("NL-01")
def test_a_public_address_makes_a_load_balancer_internet_facing() -> None:
    plan = plan_of(network(subnets=[{"subnet": "app-a", "public_address": "203.0.113.9"}]))
    assert plan.load_balancers[1].scheme == "internet-facing"
    assert [node.public_address for node in plan.network_nodes] == ["203.0.113.9"]


@pytest.mark.contract("NL-12")
def test_a_listener_forwards_to_groups_by_weight_with_stickiness() -> None:
    action = {
        "type": "forward",
        "forward_config": {
            "target_groups": [{"target_group": "webs", "weight": 999}, {"target_group": "other", "weight": 0}],
            "target_group_stickiness_config": {"enabled": True},
        },
    }
    (found,) = plan_of(with_actions(action)).load_balancers[1].listeners[0].default_actions
    assert [(one.target_group, one.weight) for one in found.target_groups] == [("webs", 999), ("other", 0)]
    assert found.sticky


@pytest.mark.contract("NL-13")
def test_a_rule_by_ip_version_is_taken() -> None:
    (rule,) = plan_of(with_rule()).load_balancers[1].listeners[0].rules
    assert rule.conditions == (Condition("source-ip", ip_address_type="ipv6"),)
    assert [one.target_group for one in rule.actions[0].target_groups] == ["webs"]


@pytest.mark.parametrize("protocol", ["UDP", "TCP_UDP"])
def test_datagrams_from_ipv6_to_ipv4_are_refused_with_the_reason(protocol: str) -> None:
    change = network(group(protocol=protocol), ip_address_type="dualstack", listeners=[listener(protocol)])
    assert f"a {protocol} listener of a dualstack load balancer needs target groups of IPv6 addresses" in told(
        change, f"{LISTENER}.protocol"
    )


@pytest.mark.parametrize(
    "change",
    [
        network(group(attributes={"preserve_client_ip.enabled": False, "proxy_protocol_v2.enabled": False})),
        network(group(**IP, targets=["10.9.0.1"])),  # outside the VPC, without its client's address
        network(group(targets=["web", {"id": "web", "port": 8080}, "web-2"])),
        network(group(protocol="TCP_UDP"), listeners=[listener(), listener("UDP", 53), listener("TCP_UDP", 90)]),
        network(group(protocol="UDP", health_check={"protocol": "HTTP", "port": 80}), listeners=[listener("UDP")]),
        network(group(protocol="UDP", attributes={"target_health_state.unhealthy.draining_interval_seconds": 9}),
                listeners=[listener("UDP")]),
        network(group(attributes={"stickiness.enabled": True, MIN.format("dns_failover", "count"): "off"})),
        network(security_groups=["web"], listeners=[listener(attributes={"tcp.idle_timeout.seconds": 60})]),
        with_actions(WEIGHTED),
    ],
)  # fmt: skip
def test_what_aws_takes_is_taken(change: Any) -> None:
    parse(text_of(change), "lab.yaml")


@pytest.mark.contract("NL-06")
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ("TCP", 0, 30, 10, 5, 2, "200-399")),
        ({"protocol": "HTTP"}, ("HTTP", 0, 30, 6, 5, 2, "200-399")),
        ({"protocol": "HTTPS"}, ("HTTPS", 0, 30, 10, 5, 2, "200-399")),
        ({"protocol": "HTTP", "port": "traffic-port", "matcher": "200,301-302"},
         ("HTTP", 0, 30, 6, 5, 2, "200,301-302")),
        ({"port": 8080, "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2},
         ("TCP", 8080, 5, 2, 2, 2, "200-399")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "TCP_UDP"])
def test_health_checks_have_the_defaults_of_network_load_balancers(
    protocol: str, given: dict[str, Any], wanted: tuple[Any, ...]
) -> None:
    groups = plan_of(
        network(group(protocol=protocol, health_check=given), listeners=[listener(protocol)])
    ).target_groups
    found = groups[1].health_check
    assert (found.protocol, found.port, found.interval_seconds, found.timeout_seconds) == wanted[:4]
    assert (found.healthy_threshold_count, found.unhealthy_threshold_count, found.matcher) == wanted[4:]


def test_a_target_has_the_groups_port_or_its_own() -> None:
    found = plan_of(network(group(targets=["web", {"id": "web", "port": 8080}]))).target_groups[1].targets
    assert [(one.id, one.port) for one in found] == [("web", 80), ("web:8080", 8080)]


def test_an_endpoint_of_a_network_load_balancer_is_refused_because_there_is_none() -> None:
    def change(data: Data) -> None:
        network()(data)
        data["vpcs"][0]["endpoints"].append({"name": "vpce-2", "subnet": "ep-a", "service": "front"})

    assert (
        "front is a Network Load Balancer, whose endpoint services are not emulated: expected a Gateway Load Balancer, "
        "such as inspect"
    ) in told(change, "vpcs[0].endpoints[1].service")


@pytest.mark.parametrize(
    ("key", "value"), [("scheme", "internal"), ("ip_address_type", "ipv4"), ("security_groups", ["web"])]
)
def test_a_gateway_load_balancer_has_no_key_of_a_network_load_balancer(key: str, value: object) -> None:
    def change(data: Data) -> None:
        data["load_balancers"][0][key] = value

    assert "expected no such key" in told(change, f"load_balancers[0].{key}")


@pytest.mark.parametrize("key", ["public_address", "ipv6_address"])
def test_a_gateway_load_balancers_node_has_no_public_and_no_ipv6_address(key: str) -> None:
    def change(data: Data) -> None:
        value = "203.0.113.9" if key == "public_address" else "2001:db8::9"
        data["load_balancers"][0]["subnets"] = [{"subnet": "sec-a", key: value}]

    lines = [line for line in complaints(change) if f"load_balancers[0].subnets[0].{key}: " in line]
    assert any("for a Gateway Load Balancer: expected no such key" in line for line in lines)


@pytest.mark.contract("TG-01")
def test_a_geneve_target_has_no_port_of_its_own() -> None:
    def change(data: Data) -> None:
        data["target_groups"][0]["targets"] = [{"id": "fw-a", "port": 80}]

    assert "a target of a GENEVE group is at 6081: expected no port" in told(change, "target_groups[0].targets[0].port")


def test_the_schema_names_the_keys_and_values_of_network_load_balancers() -> None:
    found: Any = json_schema()
    definitions = found["$defs"]
    assert definitions["LoadBalancer"]["properties"]["type"]["enum"] == ["application", "network", "gateway"]
    assert (
        "preserve_client_ip.enabled"
        in (definitions["TargetGroup"]["properties"]["attributes"]["propertyNames"]["enum"])
    )
    assert definitions["SourceIpConfig"]["properties"]["ip_address_type"]["anyOf"][0]["enum"] == ["ipv4", "ipv6"]
    assert definitions["TargetGroup"]["properties"]["protocol"]["enum"][:5] == [
        "GENEVE",
        "TCP",
        "UDP",
        "TCP_UDP",
        "TLS",
    ]
