"""`expect:` in a topology file: what it may say, and what it is refused with."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.lab import failure
from gwlbemu.topology.file.changes import KINDS, USAGE, read_change
from gwlbemu.topology.file.check_expectations import groups_of
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.file.schema import json_schema
from tests.topology.builder import put, text_of

PAIR = {"from": "client", "to": "web", "port": 80}


def refusal(*expected: dict[str, Any]) -> str:
    with pytest.raises(TopologyError) as caught:
        parse(text_of(put("expect", list(expected))), "test.yaml")
    return str(caught.value)


def test_without_a_verdict_a_pair_is_expected_to_be_delivered() -> None:
    (expected,) = parse(text_of(put("expect", [PAIR])), "test.yaml").topology.expect
    assert (expected.senders, expected.receivers, expected.protocol, expected.port) == (
        ("client",),
        ("web",),
        "tcp",
        (80,),
    )
    assert expected.is_delivered
    assert (expected.inspected_by, expected.same_appliance, expected.after) == (None, None, ())


def test_one_or_several_names_ports_changes_and_load_balancers() -> None:
    several = PAIR | {"to": ["web", "203.0.113.9"], "port": [80, 443], "after": ["fail zone a", "heal zone a"]}
    one, none = (
        parse(text_of(put("expect", [each])), "test.yaml").topology.expect[0]
        for each in (several | {"inspected_by": "inspect"}, PAIR | {"inspected_by": "none"})
    )
    assert (one.receivers, one.port, one.inspected_by) == (("web", "203.0.113.9"), (80, 443), ("inspect",))
    assert one.after == ("fail zone a", "heal zone a")
    assert none.inspected_by == ()


def test_a_name_stands_for_what_is_in_it_but_for_no_appliance() -> None:
    groups = groups_of(parse(text_of(put("target_groups.0.targets", ["fw-a"])), "test.yaml").topology)
    assert groups["any"] == ("client", "web", "fw-b")
    assert groups["internet"] == ("client",)
    assert (groups["app"], groups["app-a"], groups["app-b"]) == (("web",), ("web",), ())
    assert groups["security"] == ("fw-b",)
    assert groups["fw-a"] == ("fw-a",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"from": "clent"}, "from[0]: there is no clent: expected an instance, a VPC, a subnet, internet or any; "
                            "instances: client, web, fw-b"),
        ({"to": "app-b"}, "to[0]: app-b has no instance that is no appliance: name one"),
        ({"from": "10.0.1.10"}, "from[0]: there is no 10.0.1.10"),
        ({"from": "internet", "to": "internet"}, "no pair is meant, so that nothing is judged: from and to are both "
                                                 "client alone"),
        ({"from": ["web", "app"], "to": "app-a"}, "from and to are both web alone"),
        ({"port": 0}, "port[0]: expected greater than or equal to 1, got 0"),
        ({"port": "80"}, "port[0]: expected a whole number, got '80'"),
        ({"protocol": "icmp"}, "icmp has no ports: expected no key port"),
        ({"protocol": "gre"}, "protocol: expected 'tcp', 'udp' or 'icmp', got 'gre'"),
        ({"inspected_by": ["nobody"]}, "inspected_by[0]: there is no load balancer nobody: expected none, or some of "
                                       "inspect"),
        ({"dropped": {"by": "nobody"}}, "dropped.by: there is nothing called nobody: expected one of app-a, "),
        ({"dropped": {"reasn": "x"}}, "dropped.reasn: unknown key: did you mean reason? expected one of by, reason"),
        ({"delivered": True, "dropped": {}}, "expected one of the keys delivered, dropped and answer_dropped, got "
                                             "delivered and dropped"),
        ({"delivered": False, "same_appliance": True}, "same_appliance is about an answer that arrives"),
        ({"after": "break zone a"}, "after[0]: expected fail KIND NAME, heal KIND NAME, register GROUP TARGET"),
        ({"after": "fail zone"}, "after[0]: expected fail KIND NAME"),
        ({"after": "fail zoo a"}, "after[0]: kind 'zoo': expected one of instance, process, link, health, zone"),
        ({"after": "fail zone c"}, "after[0]: there is no zone c: expected one of a, b"),
        ({"after": "fail health web"}, "there is no instance with a health check web: expected one of fw-a"),
        ({"after": "register nobody fw-b"}, "there is no target group nobody: expected one of firewalls"),
        ({"after": "set nobody a=b"}, "there is no load balancer or target group nobody: expected one of inspect, "
                                      "firewalls"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_file_line_and_key(change: dict[str, Any], told: str) -> None:
    said = refusal(PAIR | change)
    assert said.startswith("test.yaml:")
    assert ": expect[0]" in said
    assert told in said


def test_the_line_is_that_of_the_expectation() -> None:
    text = (
        text_of() + "expect:\n- {from: client, to: web, port: 80}\n- {from: client, to: web, port: 80, after: fail}\n"
    )
    with pytest.raises(TopologyError) as caught:
        parse(text, "test.yaml")
    assert str(caught.value).startswith(
        f"test.yaml:{len(text.splitlines())}: expect[1].after[0]: expected fail KIND NAME"
    )


def test_a_key_that_is_called_otherwise_in_python_is_told_as_it_is_written() -> None:
    assert "expect[0].from: this key is missing" in refusal({"to": "web", "port": 80})
    told = refusal({"form": "client", "to": "web", "port": 80})
    assert "expect[0].form: unknown key: did you mean from? expected one of from, to, protocol, port, delivered" in told


def test_a_port_is_needed() -> None:
    assert "expect[0]: to which port? tcp needs the key port" in refusal({"from": "client", "to": "web"})


def test_an_editor_learns_the_keys() -> None:
    definitions: Any = json_schema()["$defs"]
    keys = definitions["Expectation"]
    assert list(keys["properties"]) == [
        "from", "to", "protocol", "port", "delivered", "dropped", "answer_dropped", "inspected_by", "same_appliance",
        "after",
    ]  # fmt: skip
    assert keys["required"] == ["from", "to"]


def test_changes_are_those_of_the_command_line() -> None:
    assert failure.KINDS is KINDS
    assert set(USAGE) == {"fail", "heal", "register", "deregister", "set"}
    assert read_change("set inspect a=b=c d=").values == {"a": "b=c", "d": ""}
    with pytest.raises(ValueError, match="expected fail KIND NAME"):
        read_change('fail "zone a')
