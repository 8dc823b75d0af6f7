"""The lab half's facts about security groups and NAT say what the machine half's rulesets say: the model reads the
first, the kernel the second.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from netaddr import IPNetwork

from gwlbemu.errors import TopologyError
from gwlbemu.paths.walk import Paths
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan, SecurityGroupRule
from tests.paths import SHARED, TOPOLOGIES

FILES = [*sorted(TOPOLOGIES.glob("*.yaml")), *sorted((SHARED / "cases").glob("*/*.yaml"))]


def plan_of(file: Path) -> Plan:
    try:
        return load(file.read_text(), str(file))
    except TopologyError as error:
        pytest.skip(f"not a topology that is taken: {error}")


def chain(ruleset: str, table: str, name: str) -> list[str]:
    """Return the rules of a chain of a ruleset as text."""
    _, _, rest = ruleset.partition(f"table {table} {{")
    found = re.search(rf"  chain {name} {{\n(.*?)  }}\n", rest, re.DOTALL)
    assert found, f"no chain {name} in table {table}"
    return [line.strip() for line in found[1].splitlines()]


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
            lines.append(" ".join(f"{family} {side} {{ {', '.join(networks)} }} {what} {ports} accept".split()))
    return lines


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_facts_and_rulesets_say_the_same(file: Path) -> None:
    plan = plan_of(file)
    paths = Paths(plan)
    spaces = {namespace.name: namespace for namespace in plan.namespaces}
    for instance in plan.instances:
        groups, rules = paths.groups[instance.namespace], spaces[instance.namespace].nftables
        assert [group.name for group in groups] == [
            name for name in _order(plan, instance.vpc) if name in instance.security_groups
        ]
        assert ("source_destination_check" in rules) == (bool(instance.vpc) and instance.source_dest_check)
        assert ("table inet security_groups" in rules) == bool(groups)
        if groups:
            wanted = [line for group in groups for rule in group.ingress for line in as_nft(rule, "saddr")]
            assert sorted(chain(rules, "inet security_groups", "allowed_in")) == sorted([*wanted, "drop"])
            out = ["accept"]
            if all(group.egress is not None for group in groups):
                allowed = [rule for group in groups for rule in group.egress or ()]
                out = [*(line for rule in allowed for line in as_nft(rule, "daddr")), "drop"]
            assert sorted(chain(rules, "inet security_groups", "allowed_out")) == sorted(out)
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
