"""One Gateway Load Balancer node: the core, its ports, its health checks and its control socket in one loop.

    python -m gwlbemu.programs.gateway.node CONFIG.json      inside the node's network namespace

Ends by SIGTERM or SIGINT with exit code 0, and with a sentence when a packet socket is lost. No packet, no request
and no target ends it: an exception is counted (`faults` in its status), the first of a kind is in the log with its
traceback, and the packet that raised it is a drop with a reason of its own.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.ports import privileges
from gwlbemu.ports.control import ControlServer
from gwlbemu.ports.filters import SocketFilter, ip_to_us, udp_to_us
from gwlbemu.ports.icmp_errors import IcmpErrorPort, IcmpErrors
from gwlbemu.ports.loop import Loop, Timer
from gwlbemu.ports.packet import PacketPort
from gwlbemu.ports.port import Port
from gwlbemu.ports.probe import Check, ProbeResult
from gwlbemu.ports.prober import Pace, Prober
from gwlbemu.ports.sink import hold_udp_port
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.config import NodeConfig
from gwlbemu.programs.gateway.fast import Follower, UpPort, open_fast_path
from gwlbemu.programs.gateway.links import links
from gwlbemu.programs.gateway.packets import Packets, Side
from gwlbemu.programs.gateway.trace import TracingJudge, address_text
from gwlbemu.programs.gateway.traces import Traces
from gwlbemu.programs.gateway.verbs import NodeVerbs
from gwlbemu.programs.process import keep_logs_small, run_logged
from gwlbemu.wire.geneve import PORT as GENEVE_PORT
from gwlbemu.wire.protocols import UDP

LOG = logging.getLogger("node")


class Node:
    """Everything of one node, opened on `stack`, which gives it all back."""

    def __init__(self, config: NodeConfig, loop: Loop, stack: ExitStack) -> None:
        self.config, self.loop = config, loop
        settings = config.settings()
        fast, self.datapath_reason = open_fast_path(config, settings, stack)
        self._fast = fast
        self.settings = settings = replace(settings, links=links(config), track_changes=fast is not None)
        self.started_at = loop.now
        self.discards = Discards(config.discards, config.name, loop.clock)
        stack.callback(self.discards.close)
        sides = {
            identity.id: self._side(stack, each.name, each.device, ip_to_us())
            for identity, each in zip(settings.endpoints, config.endpoints, strict=True)
        }
        eni_side = self._side(stack, "eni", config.eni.device, udp_to_us())
        self.follower = (
            None
            if fast is None
            else Follower(fast, loop, sides, eni_side, settings.attributes.stickiness, after=self._arm)
        )
        self.balancer = Balancer(
            settings, now=loop.now, fetch_carried=None if self.follower is None else self.follower.catch_up
        )
        self.packets = Packets(
            sides, eni_side, loop.clock, self.discards, self.balancer, after_batch=self._arm, faults=loop.faults
        )
        self.traces = Traces(now=loop.clock.since_boot, later=loop.call_after, active=self._trace)
        stack.enter_context(hold_udp_port(GENEVE_PORT))
        self.icmp_errors = IcmpErrors(about=UDP)
        self._icmp = IcmpErrorPort(self.icmp_errors)
        stack.callback(self._icmp.close)
        self._expiry: Timer | None = None
        self._expiry_at = math.inf
        self._states: dict[str, str] = {}
        self._prober = self._make_prober()
        self._control = ControlServer(config.control, NodeVerbs(self).table(), faults=loop.faults)
        stack.callback(self._control.close)

    def _side(self, stack: ExitStack, name: str, device: str, program: SocketFilter) -> Side:
        port: Port
        if self._fast is None:
            port = PacketPort(device, program=program)
        else:
            sender = PacketPort(device, send_only=True)
            port = UpPort(self._fast.taps[device], sender, partial(self._fast.tagged, device))
        stack.callback(port.close)
        return Side(name, port)

    def _make_prober(self) -> Prober:
        check = self.settings.health_check
        return Prober(
            self.loop,
            Check(check.protocol, check.port, check.path, check.timeout_seconds),
            Pace(check.interval_seconds, self.settings.emulation.initial_health_check_interval_seconds),
            local_address=self.config.eni.address,
            targets=lambda: self.balancer.probe_targets(now=self.loop.now),
            report=self._probed,
        )

    def start(self) -> None:
        """Open the control socket, begin to probe and to move packets."""
        self.loop.run_until_complete(self._control.open())
        for identity, side in self.packets.endpoints.items():
            self.loop.add_reader(side.port.fileno(), self.packets.endpoint_reader(identity))
        self.loop.add_reader(self.packets.eni.port.fileno(), self.packets.read_eni)
        self.loop.add_reader(self._icmp.fileno(), self._icmp.read)
        self.loop.call_at(self.loop.now, self.changed)
        if self.follower is not None:
            self.follower.start(self.balancer)

    def stop(self) -> None:
        """Take no more packets."""
        for side in (*self.packets.endpoints.values(), self.packets.eni):
            self.loop.remove_reader(side.port.fileno())
        self.loop.remove_reader(self._icmp.fileno())

    def changed(self) -> None:
        """Follow up on a change of targets, attributes or the time: probes, the next deadline, a line in the log."""
        self._prober.refresh()
        if self.follower is not None:
            self.follower.set_stickiness(self.balancer.stickiness)
        self._arm()
        states = {each.id: each.state for each in self.balancer.target_health(now=self.loop.now)}
        for name in states.keys() | self._states.keys():
            before, after = self._states.get(name, "not registered"), states.get(name, "not registered")
            if before != after:
                LOG.info("target %s: %s, was %s", name, after, before)
        self._states = states

    def expired(self) -> None:
        """Follow up on flows that have gone, in the kernel too."""
        if self.follower is not None:
            self.follower.follow()

    def _probed(self, target: str, result: ProbeResult) -> None:
        self.balancer.receive_probe_result(
            target, result.ok, now=self.loop.now, reason=result.reason, description=result.description
        )
        self.changed()

    def _trace(self, active: bool) -> None:
        """Let the traces see every packet while there is one: the kernel carries none meanwhile."""
        self.packets.judge = self._tracing_judge() if active else self.balancer
        if self.follower is not None:
            self.follower.pause(active)

    def _tracing_judge(self) -> TracingJudge:
        names: dict[bytes, str] = {}

        def target_name(address: bytes) -> str:
            if address not in names:
                names.update({each.address: each.id for each in self.balancer.target_health(now=self.loop.now)})
            return names.get(address) or address_text(address)

        return TracingJudge(
            self.balancer,
            self.settings.links,
            self.traces.live,
            endpoints={endpoint.id: endpoint.name for endpoint in self.settings.endpoints},
            target_name=target_name,
            clock=self.loop.clock.instant,  # the batch began, perhaps, before the packet was sent
        )

    def advance(self, seconds: float) -> None:
        """Let time pass at once, in the kernel too."""
        self.loop.advance(seconds)
        if self.follower is not None:
            self.follower.advanced()

    def _arm(self) -> None:
        for error in self.balancer.take_faults():
            self.loop.faults.note("judging a packet", error)
        if self.follower is not None:
            self.follower.follow()
        deadline = self.balancer.next_deadline()
        if deadline < self._expiry_at:
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry_at = deadline
            self._expiry = self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._expiry, self._expiry_at = None, math.inf
        self.balancer.expire(now=self.loop.now)
        self._arm()


def tune_collector() -> None:
    """Keep the collector from stopping the packets.

    What lives now lives for ever, and so, for a collector, do flows: full collections would find nothing. A middle one
    looks at what was made since the last, a hundred thousand objects at most.
    """
    gc.freeze()
    gc.set_threshold(25_000, 3, 10_000)


def main(argv: list[str]) -> int:
    """Run a node until a signal ends it; return the exit code."""

    def work(loop: Loop, stack: ExitStack) -> None:
        node = Node(NodeConfig.from_json(Path(argv[0]).read_text()), loop, stack)
        node.start()
        if node.config.logs:
            keep_logs_small(loop, Path(node.config.logs))
        privileges.drop()
        tune_collector()
        why = f", without fast path: {node.datapath_reason}" if node.datapath_reason else ""
        LOG.info("%s is ready%s", node.config.name, why)
        loop.run()
        node.stop()

    return run_logged("node", work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
