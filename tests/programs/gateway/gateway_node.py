"""A node without a process: the core, ports in memory, and the verbs."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.ports.control import Answer, Verb
from gwlbemu.ports.icmp_errors import IcmpErrors
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.memory import pair
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.fast import Follower
from gwlbemu.programs.gateway.links import links
from gwlbemu.programs.gateway.packets import Packets, Side
from gwlbemu.programs.gateway.traces import Traces
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.wire.protocols import UDP
from tests.programs.gateway.node_bench import config


class MemoryNode:
    """What the verbs need of a node, and nothing else of one."""

    def __init__(self, folder: Path, stack: ExitStack, **changes: Any) -> None:
        self.config = config(folder, **changes)
        self.settings = replace(self.config.settings(), links=links(self.config))
        self.loop = Loop()
        stack.callback(self.loop.close)
        self.started_at = self.loop.now
        self.datapath_reason = "datapath: python was asked for"
        self.balancer = Balancer(self.settings, now=self.loop.now)
        self.discards = Discards("", self.config.name, self.loop.clock)
        stack.callback(self.discards.close)
        sides = []
        for name in ("vpce-fw", "eni"):
            ends = pair()
            for end in ends:
                stack.callback(end.close)
            sides.append(Side(name, ends[0]))
        self.packets = Packets(
            {self.settings.endpoints[0].id: sides[0]},
            sides[1],
            self.loop.clock,
            self.discards,
            self.balancer,
            after_batch=lambda: None,
        )
        self.follower: Follower | None = None
        self.icmp_errors = IcmpErrors(about=UDP)
        self.active: list[bool] = []
        self.traces = Traces(
            now=self.loop.clock.since_boot, later=lambda seconds, callback: None, active=self.active.append
        )
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    def expired(self) -> None:
        """Nothing has to learn of it."""

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)

    def ask(self, verb: Verb, **arguments: Any) -> Answer:
        """Return what a verb answers, at once or after some turns of the loop."""
        answer = verb(arguments)
        return answer if isinstance(answer, Mapping) else self.loop.run_until_complete(_awaited(answer))

    def healthy(self) -> None:
        """Let every target pass its health checks."""
        for target in self.balancer.probe_targets(now=self.loop.now):
            for _ in range(2):
                self.balancer.receive_probe_result(target.id, True, now=self.loop.now, reason="")


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer


@contextmanager
def node_and_verbs(folder: Path, **changes: Any) -> Iterator[tuple[MemoryNode, NodeVerbs]]:
    """A node whose targets are healthy, and its verbs."""
    with ExitStack() as stack:
        node = MemoryNode(folder, stack, **changes)
        node.healthy()
        yield node, NodeVerbs(node)
