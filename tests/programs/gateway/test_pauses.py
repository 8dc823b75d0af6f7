"""A full table keeps nobody waiting: what a verb does between two turns of the loop, counted as work, not as time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any

import pytest

from gwlbemu.programs.gateway.pauses import ENDPOINT, PLAIN, STICKY, BareNode
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.wire.udp import build_udp

FLOWS = 20_000
MOST_CALLS = 25_000  # Python functions that may be called in one turn: some ten milliseconds


@pytest.fixture(scope="module")
def full() -> Iterator[BareNode]:
    with ExitStack() as stack:
        node = BareNode(stack, FLOWS)
        node.place(FLOWS)
        yield node


def work_per_turn(node: BareNode, verb: Any, arguments: dict[str, Any]) -> int:
    """The most Python functions that are called between two turns of the loop while a verb runs."""
    calls, most = 0, 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    def turn() -> None:
        nonlocal calls, most
        most, calls = max(most, calls), 0
        node.loop.asyncio.call_soon(turn)

    async def run() -> None:
        answer = verb(arguments)
        if not isinstance(answer, dict):
            await answer

    node.loop.asyncio.call_soon(turn)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        node.loop.run_until_complete(run())
    finally:
        sys.setprofile(before)
    return max(most, calls)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("flows", {"limit": 500, "newest": True}),
        ("flows", {"limit": 10**6, "cursor": f"{FLOWS - 600}-{FLOWS - 1}"}),
        ("targets", {}),
        ("metrics", {}),
        ("status", {}),
        ("trace_start", {}),
        ("set", STICKY),
        ("set", PLAIN),
        ("advance", {"seconds": 60}),
        ("advance", {"seconds": 61}),
    ],
)
def test_no_verb_does_more_in_one_turn_than_a_page_or_a_slice(
    full: BareNode, name: str, arguments: dict[str, Any]
) -> None:
    assert work_per_turn(full, NodeVerbs(full).table()[name], dict(arguments)) < MOST_CALLS


def test_a_full_table_takes_no_more_flows_than_it_is_told() -> None:
    with ExitStack() as stack:
        node = BareNode(stack, 100)
        node.place(300)
        metrics = node.balancer.metrics(now=node.loop.now)
        assert (metrics["ActiveFlowCount"], metrics["Dropped_FlowTableFull"]) == (100, 200)
        assert len(node.balancer.receive_frames(ENDPOINT, [build_udp(b"\n\1\0\0", bytes([10, 2, 0, 2]), 1, 53)],
                                                now=node.loop.now).to_targets) == 1  # fmt: skip
