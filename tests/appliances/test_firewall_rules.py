"""The firewall's rule file: which rule a packet meets, and what is wrong with a wrong file."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliances.firewall.rules import Policy, RuleError, Timeouts, load, parse

POLICY = """
default: reject
timeouts: {tcp: 60, udp: 5.5}
rules:
  - {name: web, action: allow, protocol: tcp, destination: 10.0.0.0/16, ports: [80, 8000-8010]}
  - {name: resolver, action: allow, protocol: [udp, tcp], source: [10.0.1.0/24, "2001:db8::/32"], ports: 53}
  - {name: ping, action: allow, protocol: icmp}
  - {name: one endpoint, action: deny, endpoint: vpce-02356de92d389839c}
  - {action: deny, protocol: 47}
  - {name: high ports, action: allow, protocol: udp, source_ports: 1024-65535, destination: 192.0.2.1}
"""


def name_of_first(policy: Policy, protocol: int, source: str, destination: str, ports: tuple[int, int] | None) -> str:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source), socket.inet_pton(family, destination)
    return policy.first(7, protocol, *ends, ports).name


@pytest.mark.parametrize(
    ("protocol", "source", "destination", "ports", "rule"),
    [
        (6, "192.0.2.9", "10.0.3.4", (40000, 80), "web"),
        (6, "192.0.2.9", "10.0.3.4", (40000, 8010), "web"),
        (6, "192.0.2.9", "10.0.3.4", (40000, 8011), "default"),
        (6, "192.0.2.9", "10.1.0.1", (40000, 80), "default"),
        (17, "192.0.2.9", "10.0.3.4", (40000, 80), "default"),
        (6, "192.0.2.9", "10.0.3.4", None, "default"),
        (17, "10.0.1.9", "198.51.100.1", (40000, 53), "resolver"),
        (6, "10.0.1.9", "198.51.100.1", (40000, 53), "resolver"),
        (17, "2001:db8::9", "2001:db9::1", (40000, 53), "resolver"),
        (17, "2001:db9::9", "2001:db8::1", (40000, 53), "default"),
        (1, "10.0.1.9", "198.51.100.1", None, "ping"),
        (58, "2001:db8::9", "2001:db9::1", None, "ping"),
        (47, "10.0.1.9", "198.51.100.1", None, "rule 5"),
        (17, "10.0.9.9", "192.0.2.1", (1024, 9), "high ports"),
        (17, "10.0.9.9", "192.0.2.1", (1023, 9), "default"),
        (17, "10.0.9.9", "192.0.2.2", (1024, 9), "default"),
    ],
)
def test_the_first_rule_that_matches_decides(
    protocol: int, source: str, destination: str, ports: tuple[int, int] | None, rule: str
) -> None:
    assert name_of_first(parse(POLICY, "p"), protocol, source, destination, ports) == rule


def test_a_rule_may_be_for_one_endpoint_only() -> None:
    policy = parse(POLICY, "p")
    ends = bytes(4), bytes(4)
    assert policy.first(0x2356DE92D389839C, 50, *ends, None).name == "one endpoint"
    assert policy.first(0x2356DE92D389839D, 50, *ends, None).name == "default"


def test_what_no_rule_matches_gets_the_default_action_which_is_deny_unless_said() -> None:
    assert parse(POLICY, "p").first(7, 50, bytes(4), bytes(4), None).action == "reject"
    assert parse("", "p").first(7, 50, bytes(4), bytes(4), None).action == "deny"


def test_timeouts_that_are_not_given_are_the_load_balancers() -> None:
    assert parse(POLICY, "p").timeouts == Timeouts(tcp=60, udp=5.5, other=120)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules: [{action: drop}]", "f.yaml: rule 1: action: expected one of allow, deny, reject, got 'drop'"),
        ("rules: [{action: allow}, {name: x}]", "f.yaml: rule 2: action: missing"),
        ("rules: [{action: allow, port: 80}]", "f.yaml: rule 1: port: unknown key, expected one of name, action"),
        ("rules: [{action: allow, protocol: tpc}]", "rule 1: protocol: expected tcp, udp"),
        ("rules: [{action: allow, protocol: 256}]", "rule 1: protocol: expected tcp"),
        ("rules: [{action: allow, source: 10.0.0.1/16}]", "rule 1: source: expected an address or a CIDR block"),
        ("rules: [{action: allow, destination: []}]", "rule 1: destination: expected at least one entry"),
        ("rules: [{action: allow, protocol: tcp, ports: 80-79}]", "rule 1: ports: expected a port or a range"),
        ("rules: [{action: allow, protocol: tcp, ports: 65536}]", "rule 1: ports: expected a port number"),
        ("rules: [{action: allow, protocol: tcp, ports: '-'}]", "rule 1: ports: expected a port or a range"),
        ("rules: [{action: allow, ports: 80}]", "rule 1: ports: expected only with protocol tcp or udp"),
        ("rules: [{action: allow, endpoint: vpce-1}]", "rule 1: endpoint: 'vpce-1' is not an endpoint id"),
        ("rules: [allow]", "f.yaml: rule 1: expected keys"),
        ("rules: allow", "f.yaml: rules: expected a list"),
        ("default: maybe", "f.yaml: default: expected one of"),
        ("timeouts: {tcp: 0}", "f.yaml: timeouts: tcp: expected a number of seconds above 0, got 0"),
        ("timeouts: {icmp: 3}", "f.yaml: timeouts: icmp: unknown key"),
        ("polices: []", "f.yaml: polices: unknown key, expected one of default, rules, timeouts"),
        ("rules: [", "f.yaml:1: this is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_rule_key_and_expectation(text: str, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text, "f.yaml")
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"none\.yaml: cannot read the rules"):
        load(tmp_path / "none.yaml")
