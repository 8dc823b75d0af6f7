"""`python -m gwlbemu.programs.gateway.pauses FLOWS`: how long a node's verbs keep its packets waiting.

A core with so many flows, the verbs and the loop of a node, no interface and no kernel entries. While each verb runs,
whatever a packet would have to wait for is measured: the CPU time between two turns of the loop (so that a busy
machine does not count; a verb waits for nothing). One line of JSON:
`pauses` (verb -> the longest one, in milliseconds) and `bytes`, the memory that the flows take.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import struct
import sys
import time
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from typing import Any

from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.ports.control import Answer, Verb
from gwlbemu.ports.icmp_errors import IcmpErrors
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.config import Eni, NodeConfig
from gwlbemu.programs.gateway.fast import Follower
from gwlbemu.programs.gateway.node import tune_collector
from gwlbemu.programs.gateway.packets import Packets, Side
from gwlbemu.programs.gateway.traces import Traces
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.wire.protocols import UDP
from gwlbemu.wire.udp import build_udp

ENDPOINT, TARGETS = 1, 8
_BATCH = 256
_SERVER = bytes([10, 2, 0, 2])
STICKY = {"resource": "target-group", "attributes": {"stickiness.enabled": "true"}}
PLAIN = {"resource": "target-group", "attributes": {"stickiness.enabled": "false"}}


class BareNode:
    """What the verbs need of a node, without an interface."""

    def __init__(self, stack: ExitStack, flows: int) -> None:
        self.config = NodeConfig(
            "node", "lb", "a", ("a",), "group", 0, Eni("eni", "10.9.0.1", "", "", {}), (), (), {}, {}, {}, "python",
            False, "", "",
        )  # fmt: skip
        self.settings = Settings(
            load_balancer="lb",
            zone="a",
            node_address=bytes([10, 9, 0, 1]),
            endpoints=(Endpoint(ENDPOINT, "vpce"),),
            targets=tuple(Target(f"t{n}", bytes([10, 9, 0, 2 + n]), "a") for n in range(TARGETS)),
            emulation=Emulation(max_flows=flows),
        )
        self.loop = Loop()
        stack.callback(self.loop.close)
        self.started_at = self.loop.now
        self.datapath_reason = ""
        self.follower: Follower | None = None
        self.icmp_errors = IcmpErrors(about=UDP)
        self.balancer = Balancer(self.settings, now=self.loop.now)
        self.discards = Discards("", "node", self.loop.clock)
        stack.callback(self.discards.close)
        nothing: dict[int, Side] = {}
        self.packets = Packets(
            nothing, Side("eni", _NoPort()), self.loop.clock, self.discards, self.balancer, after_batch=self.changed
        )
        self.traces = Traces(
            now=self.loop.clock.since_boot, later=lambda seconds, callback: None, active=lambda active: None
        )

    def changed(self) -> None:
        """Nobody has to learn of it."""

    def expired(self) -> None:
        """Nobody has to learn of it."""

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self.loop.advance(seconds)

    def place(self, flows: int) -> None:
        """Place so many flows, a batch at a time as from an interface."""
        for first in range(0, flows, _BATCH):
            packets = [
                build_udp(struct.pack(">I", 0x0A010000 + (number >> 14)), _SERVER, 1 + (number & 0x3FFF), 53)
                for number in range(first, min(first + _BATCH, flows))
            ]
            self.balancer.receive_frames(ENDPOINT, packets, now=self.loop.now)


class _NoPort:
    mtu = 9001
    unsent = 0

    def fileno(self) -> int:
        return -1

    def recv(self) -> list[bytes]:
        return []

    def send(self, frames: Any) -> int:
        return len(frames)

    def drops(self) -> int:
        return 0

    def tagged(self) -> int:
        return 0

    def close(self) -> None:
        return None


def pause(node: BareNode, verb: Verb, arguments: Mapping[str, Any]) -> tuple[float, Answer]:
    """Return the longest time, in milliseconds, between two turns of the loop while a verb runs, and its answer."""

    async def run() -> Answer:
        answer = verb(dict(arguments))
        return answer if isinstance(answer, Mapping) else await _as_coroutine(answer)

    async def measured() -> tuple[float, Answer]:
        longest, last = 0.0, time.thread_time()
        task = node.loop.asyncio.create_task(run())
        while not task.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
        return longest * 1000, task.result()

    return node.loop.run_until_complete(measured())


async def _as_coroutine(answer: Awaitable[Answer]) -> Answer:
    return await answer


def measure(flows: int) -> dict[str, Any]:
    """Return what the program prints."""
    with ExitStack() as stack:
        node = BareNode(stack, flows)
        tune_collector()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        node.place(flows)
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        verbs = NodeVerbs(node)
        found: dict[str, float] = {}
        newest: Mapping[str, Any] = {}
        cursor = f"{flows // 2}-{max(flows - 1, 0)}"
        for name, verb, arguments in (
            ("flows, the newest", verbs.flows, {"limit": 500, "newest": True}),
            ("flows, a late page", verbs.flows, {"limit": 500, "cursor": cursor}),
            ("targets", verbs.targets, {}),
            ("metrics", verbs.metrics, {}),
            ("status", verbs.status, {}),
            ("trace_start", verbs.trace_start, {}),
            ("set stickiness", verbs.set_attributes, STICKY),
            ("set it back", verbs.set_attributes, PLAIN),
            ("advance", verbs.advance, {"seconds": 121}),
        ):
            found[name], newest = pause(node, verb, arguments)
            found[name] += _answering(newest)
        assert newest["count"] == flows, newest["count"]
        return {"flows": flows, "bytes": used, "pauses": found}


def _answering(answer: Answer) -> float:
    """The answer is written by one turn of the loop, too."""
    before = time.thread_time()
    json.dumps(answer)
    return (time.thread_time() - before) * 1000


if __name__ == "__main__":
    gc.collect()
    print(json.dumps(measure(int(sys.argv[1]))))
