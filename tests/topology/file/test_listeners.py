"""The two ways to write a listener, and what AWS refuses of a gateway load balancer's."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.file.schema import json_schema
from tests.topology.builder import Data, plan_of, text_of

FORWARD = {"type": "forward", "target_group": "firewalls"}
WEIGHTED = {"type": "forward", "forward_config": {"target_groups": [{"target_group": "firewalls", "weight": 7}]}}
OTHER = {"name": "other", "vpc": "security", "protocol": "GENEVE", "port": 6081}
IDLE = {"tcp.idle_timeout.seconds": 400}
LISTENERS = "load_balancers[0].listeners"


def with_listeners(listeners: object, **more: object) -> Any:
    def change(data: Data) -> None:
        balancer = data["load_balancers"][0]
        del balancer["listener"]
        balancer.update(listeners=listeners, **more)
        data["target_groups"].append(OTHER)

    return change


def complaints(change: Any) -> list[str]:
    text = text_of(change)
    with pytest.raises(TopologyError) as caught:
        parse(text, "lab.yaml")
    return str(caught.value).splitlines()


def test_the_short_form_is_one_listener_that_forwards_to_one_group() -> None:
    (listener,) = plan_of().load_balancers[0].listeners
    assert (listener.protocol, listener.port, listener.rules) == ("", None, ())
    (action,) = listener.default_actions
    assert (action.type, [(one.target_group, one.weight) for one in action.target_groups]) == (
        "forward",
        [("firewalls", 1)],
    )
    assert listener.attributes["tcp.idle_timeout.seconds"] == "350"


def test_the_long_form_says_the_same() -> None:
    short, long = plan_of().load_balancers, plan_of(with_listeners([{"default_actions": [FORWARD]}])).load_balancers
    assert short == long


def test_the_long_form_has_attributes_and_weights() -> None:
    plan = plan_of(with_listeners([{"default_actions": [WEIGHTED], "attributes": IDLE}]))
    (listener,) = plan.load_balancers[0].listeners
    assert listener.attributes["tcp.idle_timeout.seconds"] == "400"
    assert [(one.target_group, one.weight) for one in listener.default_actions[0].target_groups] == [("firewalls", 7)]


RULE = {
    "priority": 1,
    "conditions": [{"field": "path-pattern", "values": ["/x"]}],
    "actions": [{**FORWARD, "target_group": "other"}],
}
TWO_GROUPS = {
    "type": "forward",
    "forward_config": {"target_groups": [{"target_group": "firewalls"}, {"target_group": "other"}]},
}
REFUSED = [
    ("a protocol", [{"protocol": "TCP", "default_actions": [FORWARD]}], f"{LISTENERS}[0].protocol", "a protocol for a"),
    ("a port", [{"port": 80, "default_actions": [FORWARD]}], f"{LISTENERS}[0].port", "a port for a Gateway"),
    ("a rule", [{"default_actions": [FORWARD], "rules": [RULE]}], f"{LISTENERS}[0].rules", "rules are for"),
    ("two listeners", [{"default_actions": [FORWARD]}] * 2, f"{LISTENERS}[1]", "has one listener"),
    ("no listener", [], LISTENERS, "expected at least one entry, got none"),
    ("no action", [{"default_actions": []}], f"{LISTENERS}[0].default_actions", "expected at least one entry"),
    ("two actions", [{"default_actions": [FORWARD] * 2}], f"{LISTENERS}[0].default_actions[1]", "by one action"),
    (
        "two groups",
        [{"default_actions": [TWO_GROUPS]}],
        f"{LISTENERS}[0].default_actions[0].forward_config.target_groups[1]",
        "forwards to one target group",
    ),
    (
        "another action",
        [{"default_actions": [{"type": "redirect", "redirect_config": {"status_code": "HTTP_301"}}]}],
        f"{LISTENERS}[0].default_actions[0].type",
        "expected 'forward', got 'redirect'",
    ),
    (
        "a group twice said",
        [{"default_actions": [FORWARD | WEIGHTED]}],
        f"{LISTENERS}[0].default_actions[0]",
        "exactly one of the keys target_group and forward_config",
    ),
    (
        "no such group",
        [{"default_actions": [{**FORWARD, "target_group": "x"}]}],
        f"{LISTENERS}[0].default_actions[0].target_group",
        "there is no target group x",
    ),
    (
        "a weight out of range",
        [
            {
                "default_actions": [
                    {
                        "type": "forward",
                        "forward_config": {"target_groups": [{"target_group": "firewalls", "weight": 1000}]},
                    }
                ]
            }
        ],
        f"{LISTENERS}[0].default_actions[0].forward_config.target_groups[0].weight",
        "expected less than or equal to 999",
    ),
    (
        "an attribute out of range",
        [{"default_actions": [FORWARD], "attributes": {"tcp.idle_timeout.seconds": 59}}],
        f"{LISTENERS}[0].attributes['tcp.idle_timeout.seconds']",
        "from 60 to 6000",
    ),
    ("an unknown key", [{"default_actions": [FORWARD], "prot": 1}], f"{LISTENERS}[0].prot", "unknown key"),
]


@pytest.mark.parametrize(
    ("listeners", "key", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_aws_refuses_of_a_gateway_load_balancers_listener_is_refused(
    listeners: object, key: str, words: str
) -> None:
    text = text_of(with_listeners(listeners)).splitlines()
    named = [line for line in complaints(with_listeners(listeners)) if line.split(": ")[1] == key]
    assert len(named) == 1, complaints(with_listeners(listeners))
    assert words in named[0]
    number = int(named[0].split(":")[1])
    start = next(index for index, line in enumerate(text, start=1) if line.startswith("load_balancers:"))
    assert start < number <= len(text)


def test_both_forms_at_once_are_refused_naming_both() -> None:
    change = with_listeners([{"default_actions": [FORWARD]}], listener={"target_group": "firewalls"})
    (line,) = complaints(change)
    assert (
        "load_balancers[0]: expected exactly one of the keys listener (short for one) and listeners, got both" in line
    )


def test_neither_form_is_refused_naming_both() -> None:
    def change(data: Data) -> None:
        del data["load_balancers"][0]["listener"]

    (line,) = complaints(change)
    assert (
        "load_balancers[0]: expected exactly one of the keys listener (short for one) and listeners, got none" in line
    )


def test_a_group_of_another_load_balancer_is_refused_in_either_form() -> None:
    def change(data: Data) -> None:
        two = {"name": "two", "type": "gateway", "subnets": ["sec-b"]}
        data["load_balancers"].append({**two, "listeners": [{"default_actions": [FORWARD]}]})

    (line,) = complaints(change)
    assert "load_balancers[1].listeners[0].default_actions[0].target_group: target group firewalls belongs to" in line


def test_the_schema_has_both_forms_and_wants_exactly_one() -> None:
    found: Any = json_schema()
    balancer = found["$defs"]["LoadBalancer"]
    assert {"listener", "listeners"} <= balancer["properties"].keys()
    assert not {"listener", "listeners"} & set(balancer["required"])
    assert balancer["oneOf"] == [{"required": ["listener"]}, {"required": ["listeners"]}]
    listener = found["$defs"]["Listener"]
    assert listener["required"] == ["default_actions"]
    assert "tcp.idle_timeout.seconds" in listener["properties"]["attributes"]["propertyNames"]["enum"]
