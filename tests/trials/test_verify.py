"""Expectations judged by packets, with what happens before: made, waited for, put back."""

from __future__ import annotations

import pytest

from gwlbemu import Lab
from gwlbemu.errors import TopologyError
from gwlbemu.lab.failure import failures
from gwlbemu.net.record import list_labs
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.trials.verify import Expectations, judge_by_packets, judge_in_a_lab
from gwlbemu.views.expectations import Result, cases_of, judge_by_model
from tests.paths import TOPOLOGIES

pytestmark = pytest.mark.namespace

WORLD = (TOPOLOGIES / "zone-failure.yaml").read_text().partition("\nexpect:")[0]


def parsed(*lines: str) -> Parsed:
    return parse("\n".join([WORLD, "expect:", *(f"  - {{{line}}}" for line in lines), ""]), "world.yaml")


def judged(lab: Lab, *lines: str) -> list[Result]:
    given = parsed(*lines)
    return [*judge_by_packets(lab.running, given, cases_of(given))]


def test_changes_are_made_noticed_and_put_back() -> None:
    with Lab(WORLD, capture=False) as lab:
        before = {(each.node, each.id): each.state for each in lab.targets()}
        plan = lab.plan
        results = judged(
            lab,
            "from: client, to: web-a, port: 80, same_appliance: true, after: [deregister firewalls fw-a1]",
            "from: client, to: web-a, port: 80, dropped: {by: inspect}, "
            "after: [fail process fw-a1, deregister firewalls fw-a2]",
            "from: client, to: any, port: 80, inspected_by: inspect",
            "from: client, to: web-b, port: 80, after: set inspect load_balancing.cross_zone.enabled=true",
        )
        assert [(str(each.case), each.problems) for each in results] == [
            ("client -> web-a tcp 80", ()),
            ("client -> web-b tcp 80", ()),
            ("client -> web-a tcp 80 after deregister firewalls fw-a1", ()),
            ("client -> web-a tcp 80 after fail process fw-a1, deregister firewalls fw-a2", ()),
            ("client -> web-b tcp 80 after set inspect load_balancing.cross_zone.enabled=true", ()),
        ]
        assert failures(lab.running) == []
        assert {(each.node, each.id): each.state for each in lab.targets()} == before
        assert [set(group.targets) for group in lab.plan.target_groups] == [
            set(group.targets) for group in plan.target_groups
        ]
        assert lab.plan.load_balancers == plan.load_balancers


def test_a_failure_prints_the_journey_and_what_explain_says() -> None:
    with Lab(WORLD, capture=False) as lab:
        (result,) = judged(lab, "from: client, to: web-a, port: 80, inspected_by: none")
    assert result.problems[0] == "inspected by inspect on the way there, expected none"
    assert any(line.startswith("  there  client, ") for line in result.explained)
    assert "explain says:" in result.explained
    assert any("route table edge: 10.0.1.0/24 -> vpce-a" in line for line in result.explained)


def test_a_loop_is_told_by_both() -> None:
    """An endpoint in the subnet of its own instances gets back what it has let pass."""
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    expected = "\nexpect: [{from: client, to: web, port: 80, answer_dropped: {by: servers, reason: Loop}}]\n"
    loop = parse(text.replace("name: vpce, subnet: endpoints", "name: vpce, subnet: servers") + expected, "loop.yaml")
    for results in (judge_by_model(loop, resolve(loop)), judge_in_a_lab(loop)):
        (result,) = results
        assert result.problems == ()


def test_a_change_that_would_be_refused_is_refused_before_any_is_made() -> None:
    given = parsed(
        "from: client, to: web-a, port: 80, after: deregister firewalls fw-a1",
        "from: client, to: web-a, port: 80, after: register firewalls web-a",
    )
    with Lab(WORLD, capture=False) as lab, pytest.raises(TopologyError, match=r"world.yaml:\d+: expect\[1\].after"):
        list(judge_by_packets(lab.running, given, cases_of(given)))


def test_a_bundled_topology_holds_in_a_lab_of_its_own_that_goes_afterwards() -> None:
    expectations = Expectations(TOPOLOGIES / "east-west.yaml")
    results = expectations.judge(by_packets=True)
    assert len(results) == len(expectations.cases) == 3
    assert [each.problems for each in results if not each.held] == []
    assert list_labs() == []
