"""What a rule parser's refusal says to write is taken, and lets no more through than was meant."""

from __future__ import annotations

import pytest

from appliances.firewall import rules as firewall
from appliances.ids import rules as ids

FIREWALL = [
    ("{action: drop}", "allow, deny, reject", "{action: deny}"),
    ("{action: deny, protocol: sctp}", "a number from 0 to 255", "{action: deny, protocol: 132}"),
    ("{action: deny, protocol: http}", "expected tcp, udp", "{action: deny, protocol: tcp}"),
    ("{action: deny, ports: 80}", "with protocol tcp or udp", "{action: deny, ports: 80, protocol: tcp}"),
    (
        "{action: deny, ports: 80, protocol: icmp}",
        "with protocol tcp or udp",
        "{action: deny, ports: 80, protocol: udp}",
    ),
    ("{action: deny, source: 10.0.0.1/8}", "an address or a CIDR block", "{action: deny, source: 10.0.0.1}"),
    ("{action: deny, source: []}", "at least one entry", "{action: deny, source: [10.0.0.1]}"),
    ("{action: deny, source: [any]}", "", "{action: deny, source: [any]}"),
]
OPTIONS = '(msg:"x"; sid:1;)'
IDS = [
    (f"reject tcp any any -> any 80 {OPTIONS}", "one of alert, drop", f"drop tcp any any -> any 80 {OPTIONS}"),
    (f"alert http any any -> any 80 {OPTIONS}", "one of tcp, udp", f"alert tcp any any -> any 80 {OPTIONS}"),
    (f"alert ip any any -> any 80 {OPTIONS}", "expected protocol tcp or udp", f"alert tcp any any -> any 80 {OPTIONS}"),
    (f"alert tcp any any <- any 80 {OPTIONS}", "expected -> or <>", f"alert tcp any any <> any 80 {OPTIONS}"),
    (f"alert tcp $NET any -> any 80 {OPTIONS}", "write the addresses", f"alert tcp ::1 any -> any 80 {OPTIONS}"),
    ('alert tcp any any -> any 80 (msg:"x";)', "a number above 0", f"alert tcp any any -> any 80 {OPTIONS}"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "words", "right"), FIREWALL)
def test_a_firewalls_rule(wrong: str, words: str, right: str) -> None:
    if words:
        with pytest.raises(firewall.RuleError, match=words):
            firewall.parse(f"rules: [{wrong}]", "rules.yaml")
    firewall.parse(f"rules: [{right}]", "rules.yaml")


@pytest.mark.parametrize(("wrong", "words", "right"), IDS)
def test_a_rule_of_the_ids(wrong: str, words: str, right: str) -> None:
    with pytest.raises(ids.RuleError, match=words):
        ids.parse(wrong, "local.rules")
    ids.parse(right, "local.rules")
