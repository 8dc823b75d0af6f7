"""The lab half's facts about security groups and NAT say what the machine half's rulesets say: the model reads the
first, the kernel the second.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.settings import Settings
from gwlbemu.core.network.tables import NODE_PORTS
from gwlbemu.errors import TopologyError
from gwlbemu.paths.walk import Paths
from gwlbemu.programs.network.ruleset import ruleset
from gwlbemu.topology import names
from gwlbemu.topology.plan.network import PRESERVED
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan, SecurityGroupRule
from tests.lab.fronts import ONLY_A, front
from tests.paths import SHARED, TOPOLOGIES

FILES = [*sorted(TOPOLOGIES.glob("*.yaml")), *sorted((SHARED / "cases").glob("*/*.yaml"))]


def plan_of(file: Path) -> Plan:
    try:
        return load(file.read_text(), str(file))
    except TopologyError as error:
        pytest.skip(f"not a topology that is taken: {error}")


def matches(ruleset: str, chains: str, side: str) -> set[str]:
    """Return what the lines of the chains match that begin with the addresses of one side, without what they do."""
    found = re.findall(rf"  chain {chains} {{\n(.*?)  }}\n", ruleset, re.DOTALL)
    assert found, f"no chains {chains}"
    lines = [line.strip() for text in found for line in text.splitlines()]
    rules = [line for line in lines if re.match(rf"ip6? {side} {{", line)]
    return {re.sub(r" (accept|goto \S+)$", "", rule) for rule in rules}


def as_nft(rule: SecurityGroupRule, side: str) -> list[str]:
    """Return a rule as the lines that the kernel's ruleset should have, one for each family."""
    what = {"all": "", "icmp": "meta l4proto icmp", "icmpv6": "meta l4proto ipv6-icmp"}.get(
        rule.protocol, f"meta l4proto {rule.protocol}"
    )
    ports = f"{rule.protocol} dport {rule.ports}" if rule.ports else ""
    lines = []
    for family, version in (("ip", 4), ("ip6", 6)):
        networks = [each for each in rule.networks if IPNetwork(each).version == version]
        if networks:
            lines.append(" ".join(f"{family} {side} {{ {', '.join(networks)} }} {what} {ports}".split()))
    return lines


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_facts_and_rulesets_say_the_same(file: Path) -> None:
    plan = plan_of(file)
    paths = Paths(plan)
    spaces = {namespace.name: namespace for namespace in plan.namespaces}
    ports = {port.device: (each, port) for each in plan.namespaces for port in each.instance_ports}
    for instance in plan.instances:
        groups = paths.groups[instance.namespace]
        assert [group.name for group in groups] == [
            name for name in _order(plan, instance.vpc) if name in instance.security_groups
        ]
        router, port = ports[names.device(instance.name)]
        assert port.stateful == bool(groups)
        assert port.source_dest_check == (instance.source_dest_check or not instance.vpc)
        assert (port.address, port.mac) == (instance.address, instance.mac)
        if groups:
            wanted = {line for group in groups for rule in group.ingress for line in as_nft(rule, "saddr")}
            assert matches(router.nftables, f"received_groups[46]_{port.device}", "saddr") == wanted
            if all(group.egress is not None for group in groups):
                wanted = {line for group in groups for rule in group.egress or () for line in as_nft(rule, "daddr")}
                assert matches(router.nftables, f"sent_groups[46]_{port.device}", "daddr") == wanted
    for name, public in paths.gateways.items():
        rules = next((each.nftables for each in plan.namespaces if each.resource == name), "")
        inward = dict(re.findall(r"([\d.]+) : ([\d.]+)", rules.partition("daddr map {")[2].partition("}")[0]))
        assert inward == {there: here for here, there in public.items()}
    for gateway in plan.nat_gateways:
        assert f"snat to {gateway.address}" in spaces[gateway.namespace].nftables
    for transit in plan.transit_gateways:
        marks = {mark for _, mark, _ in spaces[transit.namespace].mark_rules} or {1}
        assert transit.buckets == len(marks)


def _order(plan: Plan, vpc: str) -> list[str]:
    return [group.name for group in plan.security_groups if group.vpc == vpc]


def test_facts_of_a_network_load_balancer_are_what_the_rulesets_say() -> None:
    groups = (
        {"name": "lb", "ingress": [{"protocol": "tcp", "ports": ONLY_A, "source": "198.51.100.0/24"}]},
        {"name": "web", "ingress": [{"protocol": "tcp", "ports": 80, "source": "lb"}]},
    )
    plan = load(front(security_groups=groups, members={"front": ["lb"], "web-a": ["web"]}), "front.yaml")
    paths = Paths(plan)
    ports = {port.device: (each, port) for each in plan.namespaces for port in each.instance_ports}
    numbers = {paths.groups_of_mark(node.number) for node in plan.network_nodes}
    assert numbers == {("lb",)}
    for node in plan.network_nodes:
        router, port = ports[names.device(node.name)]
        assert port.stateful
        assert port.source_dest_check
        wanted = {
            line for each in paths.groups[node.namespace] for rule in each.ingress for line in as_nft(rule, "saddr")
        }
        assert matches(router.nftables, f"received_groups[46]_{port.device}", "saddr") == wanted
        assert f"{node.public_address} : {node.address}" in next(
            each.nftables for each in plan.namespaces if each.resource == "igw"
        )
    marks = ", ".join(str(node.number) for node in plan.network_nodes)
    router, port = ports[names.device("web-a")]
    assert f"ip version 4 meta mark {{ {marks} }} meta l4proto tcp tcp dport 80" in router.nftables
    returning = {names.device(one.name) for one in plan.instances if one.namespace in paths.returning}
    assert returning == {device for device, (_, port) in ports.items() if port.returns}
    table = ruleset(NetworkBalancer(_settings(plan), network_balancer(plan, "front"), 0.0).tables()).text
    assert f"snat to {plan.network_nodes[0].address}:{NODE_PORTS.start}-{NODE_PORTS.stop - 1}" in table
    assert f"meta mark set {PRESERVED:#x}" in table


def test_facts_of_an_application_load_balancer_are_what_the_rulesets_say() -> None:
    plan = plan_of(TOPOLOGIES / "web-tier.yaml")
    paths, spaces = Paths(plan), {namespace.name: namespace for namespace in plan.namespaces}
    ports = {port.device: (each, port) for each in plan.namespaces for port in each.instance_ports}
    (balancer,) = (each for each in plan.load_balancers if each.type == "application")
    listening = ", ".join(str(each.port) for each in balancer.listeners)
    for node in plan.application_nodes:
        router, port = ports[names.device(node.name)]
        assert (port.stateful, port.source_dest_check) == (True, True)
        groups = paths.groups[node.namespace]
        wanted = {line for each in groups for rule in each.ingress for line in as_nft(rule, "saddr")}
        assert matches(router.nftables, f"received_groups[46]_{port.device}", "saddr") == wanted
        wanted = {line for each in groups for rule in each.egress or () for line in as_nft(rule, "daddr")}
        assert matches(router.nftables, f"sent_groups[46]_{port.device}", "daddr") == wanted
        space = spaces[node.namespace]
        assert f"tcp dport != {{ {listening} }} drop" in space.nftables
        assert not space.forwarding
        assert f"{node.public_address} : {node.address}" in next(
            each.nftables for each in plan.namespaces if each.resource == "igw"
        )


def _settings(plan: Plan) -> Settings:
    node = plan.network_nodes[0]
    return Settings("front", node.zone, ("a", "b"), IPAddress(node.address).packed)
