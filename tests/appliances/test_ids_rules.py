"""The rule language: what is understood, and that everything else is refused with line and keyword."""

from __future__ import annotations

import socket

import pytest

from appliances.ids.header import parse_header
from appliances.ids.rules import Content, RuleError, parse, parse_rule

HEAD = "alert tcp any any -> any any"


def test_a_whole_rule_is_read() -> None:
    (rule,) = parse(
        """
        # comment
        alert tcp any any -> 10.0.0.0/16 80 (msg:"passwd \\"asked\\" for\\; really"; flow:established,to_server; \\
            content:"GET |20 2f|"; content:"/Etc/Passwd"; nocase; reference:url,example.org/x; metadata:a b, c d; \\
            classtype:web-application-attack; sid:1000001; rev:3;)
        """,
        "f.rules",
    )
    assert (rule.action, rule.sid, rule.rev) == ("alert", 1000001, 3)
    assert rule.message == 'passwd "asked" for; really'
    assert rule.contents == (Content(b"GET  /"), Content(b"/etc/passwd", nocase=True))
    assert (rule.established, rule.direction) == (True, "to_server")
    assert (rule.category, rule.priority) == ("Web Application Attack", 1)


@pytest.mark.parametrize(
    "options", ["classtype:trojan-activity; priority:4;", "priority:4; classtype:trojan-activity;"]
)
def test_a_priority_of_the_rule_beats_that_of_its_classtype(options: str) -> None:
    assert parse_rule(f"{HEAD} ({options} sid:1;)").priority == 4


def test_a_rule_without_classtype_has_priority_3() -> None:
    assert parse_rule(f"{HEAD} (sid:1;)").priority == 3


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("abc", b"abc"),
        ("|41 42|c", b"ABc"),
        ("|4142|", b"AB"),
        (r"a\;b\"c\\d\:e", b'a;b"c\\d:e'),
        ("|0d 0a 0d 0a|", b"\r\n\r\n"),
        ("é", "é".encode()),
    ],
)
def test_content_is_text_and_hex(written: str, data: bytes) -> None:
    assert parse_rule(f'{HEAD} (content:"{written}"; sid:1;)').contents == (Content(data),)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (f'{HEAD} (msg:"x"; pcre:"/a/"; sid:1;)', "pcre: this keyword is not in the subset"),
        (f'{HEAD} (content:"a"; depth:4; sid:1;)', "depth: this keyword is not in the subset"),
        (f'{HEAD} (http.uri; content:"a"; sid:1;)', "http.uri: this keyword is not in the subset"),
        (f'{HEAD} (content:!"a"; sid:1;)', "content: negation is not in the subset"),
        (f"{HEAD} (content:a; sid:1;)", "content: expected text in double quotes"),
        (f'{HEAD} (content:""; sid:1;)', "content: expected text in double quotes"),
        (f'{HEAD} (content:"|4|"; sid:1;)', "content: expected hex bytes between"),
        (f'{HEAD} (content:"|41"; sid:1;)', "content: expected a closing |"),
        (f'{HEAD} (content:"a;b"; sid:1;)', "content: expected text in double quotes"),
        (f'{HEAD} (content:"a\\n"; sid:1;)', "escape: a backslash is followed by one of"),
        (f"{HEAD} (nocase; sid:1;)", "nocase: expected after a content"),
        (f'{HEAD} (content:"a"; nocase; nocase; sid:1;)', "nocase: given twice"),
        (f"{HEAD} (flow:established,only_stream; sid:1;)", "flow: only_stream: not in the subset"),
        (f"{HEAD} (flow:to_server,to_client; sid:1;)", "flow: expected established and at most one direction"),
        (f"{HEAD} (classtype:nonsense; sid:1;)", "classtype: nonsense is not in Suricata's"),
        (f'{HEAD} (msg:"x";)', "sid: missing"),
        (f"{HEAD} (sid:0;)", "sid: expected a number from 1 up, got '0'"),
        (f"{HEAD} (sid:1; sid:2;)", "sid: given twice"),
        (f"{HEAD} (sid:1)", "sid: expected ';' after the last option"),
        (f"{HEAD}", "options: expected"),
        ("pass tcp any any -> any any (sid:1;)", "action pass: not in the subset"),
        ("alert http any any -> any any (sid:1;)", "protocol http: not in the subset"),
        ("alert tcp $HOME_NET any -> any any (sid:1;)", "variable $HOME_NET: not in the subset"),
        ("alert tcp any any <- any any (sid:1;)", "direction <-: expected -> or <>"),
        ("alert tcp any any -> any (sid:1;)", "expected 'protocol source port -> destination port'"),
        ("alert tcp any 99999 -> any any (sid:1;)", "expected a port number from 0 to 65535"),
        ("alert tcp 10.0.0.1/8 any -> any any (sid:1;)", "expected an address or a CIDR block"),
        ("alert tcp [10.0.0.0/8,[10.1.0.0/16]] any -> any any (sid:1;)", "list inside a list: not in the subset"),
        ("alert tcp !any any -> any any (sid:1;)", "!any: holds nothing"),
        ("alert icmp any any -> any 80 (sid:1;)", "ports with protocol icmp: expected any"),
    ],
)
def test_what_is_outside_the_subset_is_refused_with_line_and_keyword(rule: str, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(f"# first\n\n{rule}\n", "f.rules")
    assert str(caught.value).startswith(f"f.rules: line 3: {complaint}")


def test_two_rules_may_not_share_a_sid() -> None:
    with pytest.raises(RuleError, match="line 2: sid: 7 is used by an earlier rule"):
        parse(f"{HEAD} (sid:7;)\n{HEAD} (sid:7;)", "f.rules")


@pytest.mark.parametrize(
    ("header", "packet", "expected"),
    [
        ("tcp any any -> any any", (6, "10.0.0.1", "10.0.0.2", (1, 2)), True),
        ("tcp any any -> any any", (17, "10.0.0.1", "10.0.0.2", (1, 2)), False),
        ("ip any any -> any any", (47, "10.0.0.1", "10.0.0.2", None), True),
        ("icmp any any -> any any", (58, "2001:db8::1", "2001:db8::2", None), True),
        ("tcp 10.0.0.1 any -> 10.0.0.0/24 80", (6, "10.0.0.1", "10.0.0.2", (1, 80)), True),
        ("tcp 10.0.0.1 any -> 10.0.0.0/24 80", (6, "10.0.0.2", "10.0.0.1", (80, 1)), False),
        ("tcp 10.0.0.1 any <> 10.0.0.0/24 80", (6, "10.0.0.2", "10.0.0.1", (80, 1)), True),
        ("tcp 10.0.0.1 any -> 10.0.0.0/24 80", (6, "10.0.0.1", "2001:db8::1", (1, 80)), False),
        ("tcp !10.0.0.1 any -> any any", (6, "10.0.0.1", "10.0.0.2", (1, 2)), False),
        ("tcp !10.0.0.1 any -> any any", (6, "10.0.0.3", "10.0.0.2", (1, 2)), True),
        ("tcp [10.0.0.0/8, !10.1.0.0/16] any -> any any", (6, "10.0.0.3", "10.0.0.2", (1, 2)), True),
        ("tcp [10.0.0.0/8, !10.1.0.0/16] any -> any any", (6, "10.1.0.3", "10.0.0.2", (1, 2)), False),
        ("tcp [10.0.0.0/8, !10.1.0.0/16] any -> any any", (6, "192.0.2.3", "10.0.0.2", (1, 2)), False),
        ("tcp any [80,8000:8010] -> any any", (6, "10.0.0.3", "10.0.0.2", (8010, 2)), True),
        ("tcp any [80,8000:8010] -> any any", (6, "10.0.0.3", "10.0.0.2", (8011, 2)), False),
        ("udp any 1024: -> any !53", (17, "10.0.0.3", "10.0.0.2", (1024, 54)), True),
        ("udp any 1024: -> any !53", (17, "10.0.0.3", "10.0.0.2", (1024, 53)), False),
        ("udp any :1023 -> any any", (17, "10.0.0.3", "10.0.0.2", (1024, 53)), False),
        ("udp any any -> any 53", (17, "10.0.0.3", "10.0.0.2", None), False),
    ],
)
def test_a_header_matches_its_packets_and_no_others(
    header: str, packet: tuple[int, str, str, tuple[int, int] | None], expected: bool
) -> None:
    protocol, source, destination, ports = packet
    assert parse_header(header).matches(protocol, address(source), address(destination), ports) is expected


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
