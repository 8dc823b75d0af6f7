"""What the plan makes of an application load balancer: a node per zone with an address that nobody else has."""

from __future__ import annotations

import pytest
from netaddr import IPAddress, IPNetwork

from gwlbemu.core.application.settings import HTTP1
from gwlbemu.errors import AwsError
from gwlbemu.lab import change, planned
from gwlbemu.lab.configs import application_config_for, cookie_secret, resolver_config_for
from gwlbemu.lab.state import State
from gwlbemu.programs.application.config import NodeConfig
from gwlbemu.topology.plan.dns_names import balancer_addresses
from gwlbemu.topology.plan.machine_half import Namespace
from gwlbemu.topology.plan.render import plan_text
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from tests.lab.webs import GROUP, NAME, NODES, PUBLIC, as_text, web_tier
from tests.paths import TOPOLOGIES

PLAN = load(as_text(web_tier()), "webs.yaml")


def space(plan: Plan, resource: str) -> Namespace:
    return next(each for each in plan.namespaces if each.resource == resource)


def test_a_node_has_one_interface_forwards_nothing_and_leaves_by_its_subnet() -> None:
    assert [(each.name, each.zone, each.address) for each in PLAN.application_nodes] == [
        (f"front-node-{zone}", zone, NODES[zone]) for zone in "ab"
    ]
    node = space(PLAN, "front-node-a")
    assert (node.role, node.forwarding, node.mark_rules) == ("application-node", False, ())
    assert [(route.destination, route.via) for route in node.routes] == [("0.0.0.0/0", "10.0.101.1")]
    ends = [each for link in PLAN.links for each in (link.a, link.b) if each.namespace == node.name]
    assert [(each.name, each.addresses) for each in ends] == [("eni", (f"{NODES['a']}/24",))]
    assert {tap.name for tap in PLAN.taps if "node" in tap.name} == {"front-node-a/eni", "front-node-b/eni"}


def test_no_port_of_an_instance_looks_for_answers() -> None:
    ports = [port for namespace in PLAN.namespaces for port in namespace.instance_ports]
    assert not any(port.returns for port in ports if port.device not in ("front-node-a", "front-node-b"))


@pytest.mark.parametrize("zone", "ab")
def test_an_internet_facing_one_is_given_a_public_address_in_each_zone(zone: str) -> None:
    assert balancer_addresses(PLAN, "front")[zone] == (PUBLIC[zone],)
    assert f"{PUBLIC[zone]}" in space(PLAN, "igw").nftables
    inside = load(as_text(web_tier(scheme="internal")), "webs.yaml")
    assert balancer_addresses(inside, "front")[zone] == (NODES[zone],)
    assert "203.0.113." not in space(inside, "igw").nftables


def test_no_assigned_address_is_anybody_elses_or_in_a_network_of_the_lab() -> None:
    document = web_tier()
    document["internet"] = {"cidr": "203.0.113.0/25", "instances": [{"name": "client", "address": "203.0.113.10"}]}
    document["vpcs"][0]["instances"][2]["public_address"] = "203.0.113.254"
    document["vpcs"].append(
        {
            "name": "odd",
            "cidr": "203.0.113.192/27",
            "subnets": [{"name": "odd-a", "zone": "a", "cidr": "203.0.113.192/28"}],
        }
    )
    plan = load(as_text(document), "webs.yaml")
    given = [node.public_address for node in plan.application_nodes]
    assert given == ["203.0.113.253", "203.0.113.252"]
    networks = [IPNetwork("203.0.113.0/25"), *(IPNetwork(vpc.cidr) for vpc in plan.vpcs)]
    assert not any(IPAddress(each) in network for each in given for network in networks)
    document["internet"] = {"cidr": "203.0.113.0/24", "instances": [{"name": "client", "address": "203.0.113.10"}]}
    del document["vpcs"][1], document["vpcs"][0]["instances"][2]["public_address"]
    moved = load(as_text(document), "webs.yaml")
    assert [node.public_address for node in moved.application_nodes] == ["198.51.100.254", "198.51.100.253"]


@pytest.mark.contract("AL-13")
def test_its_group_is_known_by_its_nodes_addresses_and_guards_their_ports() -> None:
    (servers,) = (group for group in PLAN.security_groups if group.name == "servers")
    assert set(servers.ingress[0].networks) == set(NODES.values())
    for zone in "ab":
        (port,) = (each for each in space(PLAN, f"front-{zone}").instance_ports if each.address == NODES[zone])
        assert port.stateful
        assert not port.returns


def test_the_plan_as_text_tells_rules_and_actions() -> None:
    said = plan_text(load((TOPOLOGIES / "static-ip.yaml").read_text(), "static-ip.yaml"))
    assert "load balancer api  application  internal  zones a, b" in said
    assert (
        "  listener  HTTP 80  target group api-servers\n"
        "    rule 10  path-pattern /admin or /admin/*  fixed response 403\n" in said
    )
    assert "target group api-servers  VPC app  HTTP 80  HTTP1  instance targets" in said
    tier = plan_text(load((TOPOLOGIES / "web-tier.yaml").read_text(), "web-tier.yaml"))
    assert "  listener  HTTP 80  redirect 301 to HTTPS://#{host}:443/#{path}?#{query}" in tier
    assert "  node web-node-a  zone a  subnet front-a  10.0.1.254" in tier
    assert "public 203.0.113.254" in tier


@pytest.mark.contract("NL-10")
def test_a_target_of_type_alb_is_each_of_its_nodes() -> None:
    plan = load((TOPOLOGIES / "static-ip.yaml").read_text(), "static-ip.yaml")
    group = planned.group_named(plan, "api-front")
    assert [(each.id, each.zone, each.port) for each in group.targets] == [
        ("api-node-a", "a", 80),
        ("api-node-b", "b", 80),
    ]
    assert [each.address for each in group.targets] == [node.address for node in plan.application_nodes]
    without = planned.deregistered(plan, "api-front", "api")
    assert planned.group_named(without, "api-front").targets == ()
    again, first = planned.registered(without, "api-front", "api")
    assert (again, first.id) == (plan, "api-node-a")
    assert planned.registered(plan, "api-front", "api")[0] == plan
    for name, told in (
        ("web", "no Application Load Balancer of VPC app; there are: api"),
        ("web-a1", "no Application"),
    ):
        with pytest.raises(AwsError, match=told):
            planned.registered(without, "api-front", name)


# ---- what the processes of a lab are told ----------------------------------------------------------------------------
def test_a_node_is_told_the_whole_load_balancer_and_reads_it_as_it_was_written() -> None:
    config = application_config_for(PLAN, "front-node-b", State("webs"), "secret")
    assert NodeConfig.from_json(config.to_json()) == config
    assert config.settings.zones == ("a", "b")
    assert config.settings.dns_name == NAME
    assert config.settings.address == bytes(map(int, NODES["b"].split(".")))
    (group,) = config.balancer.groups
    assert (group.name, group.protocol_version, group.health_check.matcher) == (GROUP, HTTP1, "200")
    assert [listener.name for listener in config.balancer.listeners] == ["HTTP:80", "HTTP:8081"]


def test_all_nodes_of_a_load_balancer_sign_cookies_alike_and_no_others_do() -> None:
    secrets = [
        application_config_for(PLAN, node.name, State("webs"), "secret").settings.cookie_secret
        for node in PLAN.application_nodes
    ]
    assert secrets == [cookie_secret("secret", "front")] * 2
    others = {cookie_secret("secret", "back"), cookie_secret("other", "front")}
    assert len(others | {secrets[0]}) == 3
    assert len(secrets[0]) == 32


def test_the_resolver_knows_its_name_and_answers_with_every_zone() -> None:
    told = resolver_config_for(PLAN, State("webs"), "secret")
    assert f'"{NAME}"' in told
    assert all(f'"{address}"' in told for address in PUBLIC.values())


def test_a_change_is_told_whole_and_only_when_something_differs() -> None:
    after, _ = planned.registered(PLAN, GROUP, "near")
    node = PLAN.application_nodes[0]
    ((verb, arguments),) = change._differences(node, PLAN, after)
    assert verb == "configure"
    assert [each["id"] for each in arguments["balancer"]["groups"][0]["targets"]] == ["web-a", "web-b", "near"]
    assert list(change._differences(node, after, after)) == []


@pytest.mark.contract("AL-07", "AL-08")
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stickiness.enabled": "true"}, "group stickiness disabled"),
        ({"load_balancing.algorithm.anomaly_mitigation": "on"}, "anomaly mitigation is not emulated"),
        ({"stickiness.app_cookie.cookie_name": "AWSALB"}, "reserved"),
        ({"x": "y"}, "'x' is not an attribute of blue"),
    ],
)
def test_set_refuses_what_aws_refuses(values: dict[str, str], told: str) -> None:
    text = (TOPOLOGIES / "sticky.yaml").read_text()
    plan = load(
        text.replace("\n              target_group_stickiness_config: {enabled: true, duration_seconds: 3600}", ""), "x"
    )
    with pytest.raises(AwsError, match=told):
        planned.with_attributes(plan, "blue", values)
    sticky = load(text, "sticky.yaml")
    planned.with_attributes(sticky, "blue", {"stickiness.enabled": "true"})
    with pytest.raises(AwsError, match="weighted target groups do not support"):
        planned.with_attributes(
            sticky,
            "blue",
            {"stickiness.enabled": "true", "stickiness.type": "app_cookie", "stickiness.app_cookie.cookie_name": "id"},
        )
