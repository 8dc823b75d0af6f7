"""Following a flow: which verdicts belong to it, in which order, and for how long they can be read."""

from __future__ import annotations

from typing import cast

import pytest

from gwlbemu.errors import LabError
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials.follow import Pattern, addresses_of, following
from gwlbemu.views.traces import traced_packet
from tests.lab.worlds import world
from tests.trials.fake_lab import FakeLab, event

STEP = traced_packet("node-a", event(1, at=1.0))  # TCP 10.0.0.1:1000 -> 10.0.0.2:80
HERE, THERE, ELSEWHERE = frozenset({"10.0.0.1", "203.0.113.1"}), frozenset({"10.0.0.2"}), frozenset({"10.0.0.3"})


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (Pattern(), True),
        (Pattern(protocol=6), True),
        (Pattern(protocol=17), False),
        (Pattern(port=80), True),
        (Pattern(port=1000), True),
        (Pattern(port=81), False),
        (Pattern(ends=(HERE, THERE)), True),
        (Pattern(ends=(THERE, HERE)), True),
        (Pattern(ends=(HERE, ELSEWHERE)), False),
        (Pattern(6, (HERE, THERE), 80), True),
    ],
)
def test_a_pattern_matches_both_directions_and_leaves_open_what_it_does_not_say(
    pattern: Pattern, matches: bool
) -> None:
    assert pattern.matches(STEP) is matches


def test_hops_are_those_of_the_pattern_of_all_nodes_in_order_of_time() -> None:
    lab = FakeLab()
    with following(cast(RunningLab, lab), Pattern(port=80)) as trace:
        assert list(trace.hops) == []
        lab.events["node-b"] += [event(1, at=1.0), event(2, at=3.0, port=443)]
        lab.events["node-a"].append(event(1, at=2.0))
        assert [(hop.node, hop.at) for hop in trace.hops] == [("node-b", 1.0), ("node-a", 2.0)]
        lab.events["node-b"].append(event(3, at=1.5))
    assert [hop.at for hop in trace.hops] == [1.0, 1.5, 2.0]
    assert lab.live == set()
    lab.events["node-a"].append(event(2, at=9.0))
    assert [hop.at for hop in trace.hops] == [1.0, 1.5, 2.0]


def test_a_node_that_does_not_answer_is_an_error_from_the_start() -> None:
    lab = FakeLab(frozen={"node-b"})
    with pytest.raises(LabError, match="node-b is frozen"), following(cast(RunningLab, lab), Pattern()):
        pytest.fail("the block has begun")
    assert lab.live == set()


def test_an_instance_has_all_its_addresses_and_an_address_its_translation() -> None:
    plan = load(world(), "here")
    assert addresses_of(plan, "server-a") == {"10.0.1.10", "203.0.113.10"}
    assert addresses_of(plan, "203.0.113.10") == {"10.0.1.10", "203.0.113.10"}
    assert addresses_of(plan, "192.0.2.1") == {"192.0.2.1"}
