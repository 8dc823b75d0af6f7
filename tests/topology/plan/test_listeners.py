"""Which target groups a load balancer forwards to, and the other way round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gwlbemu.core.elb.rules import Action, Condition, Redirect, Rule, WeightedTargetGroup
from gwlbemu.errors import SettingError
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.values import Plan
from tests.topology.builder import plan_of


def weighted() -> Plan:
    """A load balancer of a later type: weights, a rule, two listeners."""
    plan = plan_of()
    (group,) = plan.target_groups
    blue, green = WeightedTargetGroup("blue", 3), WeightedTargetGroup("green", 1)
    rule = Rule(10, (Condition("path-pattern", ("/v2/*",)),), (Action("forward", (green,)),))
    listeners = (
        Listener((Action("forward", (blue, green)),), "HTTP", 80, (rule,)),
        Listener((Action("redirect", redirect=Redirect(301)),), "HTTP", 8080),
    )
    return replace(
        plan,
        target_groups=(group, replace(group, name="blue"), replace(group, name="green")),
        load_balancers=(*plan.load_balancers, replace(plan.load_balancers[0], name="web", listeners=listeners)),
    )


def test_a_gateway_load_balancer_forwards_to_one_group() -> None:
    plan = weighted()
    assert plan.group_of("inspect").name == "firewalls"
    assert [group.name for group in plan.groups_of("inspect")] == ["firewalls"]
    assert plan.load_balancers[0].target_group == "firewalls"
    assert plan.load_balancers[0].listener_attributes == plan.load_balancers[0].listeners[0].attributes


def test_every_group_of_every_listener_rule_and_action_counts_once() -> None:
    plan = weighted()
    assert sorted(group.name for group in plan.groups_of("web")) == ["blue", "green"]
    assert [balancer.name for balancer in plan.balancers_of("green")] == ["web"]
    assert [balancer.name for balancer in plan.balancers_of("firewalls")] == ["inspect"]
    assert plan.balancers_of("nobody's") == ()


def test_one_group_is_not_guessed_where_there_are_several() -> None:
    with pytest.raises(SettingError, match=r"load balancer web forwards to (green, blue|blue, green): expected one"):
        weighted().group_of("web")


@pytest.mark.parametrize("ask", ["group_of", "groups_of"])
def test_an_unknown_load_balancer_is_refused_by_name(ask: str) -> None:
    with pytest.raises(SettingError, match="no load balancer x; there are: inspect") as caught:
        getattr(plan_of(), ask)("x")
    assert caught.value.code == "LoadBalancerNotFound"
