"""A node with a fast path: what the kernel carries of the core's flows, and what it hands up.

the core places, moves, ends a flow   -> `follow` writes the kernel's entries, after the packets have been sent
the core is about to let a flow go    -> `catch_up` first brings in what the kernel has carried of it
somebody asks for counters            -> `catch_up_all`, in steps between which packets are moved
meanwhile                             -> rounds through the kernel's entries, a few milliseconds each time
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.key import from_key_bytes
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.errors import NetError
from gwlbemu.fastpath.build import available, cache_folder, missing
from gwlbemu.fastpath.fastpath import DEFAULT_FLOWS6, EndpointDevice, FastPath, FastPathSettings
from gwlbemu.fastpath.mirror import FlowTraffic
from gwlbemu.fastpath.tap import Tap
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.packet import PacketPort
from gwlbemu.programs.gateway.config import NodeConfig
from gwlbemu.programs.gateway.packets import Side

EXACT_FLOWS = 20_000  # up to here every answer is exact; with more, numbers are those of the last round
ROUND_SECONDS, STEP_SECONDS = 1.0, 0.02  # between two rounds, and between two steps of one
NANO = 10**9


def open_fast_path(config: NodeConfig, settings: Settings, stack: ExitStack) -> tuple[FastPath | None, str]:
    """Return the node's fast path, or None and why there is none. NetError when `datapath: ebpf` asks for one."""
    if config.datapath == "python":
        return None, "datapath: python was asked for"
    cache = cache_folder()
    reason = missing(cache)
    if reason is None:
        try:
            fast = FastPath(_settings(config, settings, cache))
        except NetError as error:
            reason = available(cache) or str(error)
        else:
            stack.callback(fast.close)
            return fast, ""
    if config.datapath == "ebpf":
        raise NetError(f"datapath ebpf is not possible here: {reason} (datapath auto would use Python)")
    return None, reason


def _settings(config: NodeConfig, settings: Settings, cache: Path) -> FastPathSettings:
    return FastPathSettings(
        cache=cache,
        node_address=settings.node_address,
        eni=config.eni.device,
        gateway_mac=_mac(config.eni.gateway_mac),
        endpoints=tuple(
            EndpointDevice(identity.id, each.device, _mac(each.router_mac))
            for identity, each in zip(settings.endpoints, config.endpoints, strict=True)
        ),
        next_hops={socket.inet_aton(address): _mac(mac) for address, mac in config.eni.neighbours.items()},
        stickiness=settings.attributes.stickiness,
        ttl_decrement=settings.emulation.ttl_decrement,
        super_packets=config.offload,
        max_flows4=settings.emulation.max_flows,
        max_flows6=min(settings.emulation.max_flows, DEFAULT_FLOWS6),
    )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class UpPort:
    """Reads what the kernel hands up of an interface, and sends at the interface itself; `tagged` as in `Port`."""

    def __init__(self, tap: Tap, sender: PacketPort, tagged: Callable[[], int] = int) -> None:
        self._sender = sender
        self.mtu, self.tagged = sender.mtu, tagged
        self.fileno, self.recv, self.drops, self.send = tap.fileno, tap.recv, tap.drops, sender.send

    @property
    def unsent(self) -> int:
        """Frames that the interface did not take, since the port was opened."""
        return self._sender.unsent

    def close(self) -> None:
        """Give the sender back; the tap is the fast path's."""
        self._sender.close()


class Follower:
    """Keeps kernel and core agreed. `sides` are the node's endpoints by id, `eni` its ENI; carried packets are counted
    there too. `after` is called when a round has told the core something.
    """

    def __init__(
        self,
        fast: FastPath,
        loop: Loop,
        sides: Mapping[int, Side],
        eni: Side,
        stickiness: str,
        after: Callable[[], None],
    ) -> None:
        self._fast, self._loop, self._sides, self._eni, self._after = fast, loop, sides, eni, after
        self._stickiness = stickiness
        self.paused = False
        self.balancer: Balancer | None = None

    def start(self, balancer: Balancer) -> None:
        """Begin to look through the kernel's entries, for `balancer`."""
        self.balancer = balancer
        self._loop.call_at(self._loop.now + ROUND_SECONDS, self._step)

    def follow(self) -> None:
        """Write into the kernel what the core has decided since the last time."""
        assert self.balancer is not None
        changes = self.balancer.take_flow_changes()
        if changes:
            self._fast.apply(changes, now_ns=self._now_ns())
            self._tell(self._fast.refresh(()))

    def catch_up(self, key: bytes) -> None:
        """Tell the core what the kernel has carried of one flow."""
        self._tell(self._fast.refresh((key,)))

    async def catch_up_all(self) -> None:
        """The same of all flows, unless they are too many; packets are moved between its steps."""
        if self._fast.entries <= EXACT_FLOWS:
            for news in self._fast.read_in_steps():
                self._tell(news)
                await asyncio.sleep(0)

    def set_stickiness(self, stickiness: str) -> None:
        """Flows are told apart in another way from now on: no packet finds an entry of the old way any more."""
        if stickiness != self._stickiness:
            self._stickiness = stickiness
            self._fast.set_stickiness(stickiness)

    def advanced(self) -> None:
        """The clock has been moved: the kernel's idle times go by it too."""
        self._fast.set_clock(int((self._loop.now - self._loop.clock.since_boot()) * NANO))

    def pause(self, paused: bool) -> None:
        """Let every packet come up, or no longer."""
        self.paused = paused
        self._fast.pause(paused)

    def stats(self) -> dict[str, int]:
        """Return what the fast path counts, by name: entries, packets carried each way, refused entries."""
        return self._fast.stats()

    def _step(self) -> None:
        assert self.balancer is not None
        news, complete = self._fast.read_back(now_ns=self._now_ns())
        self._tell(news)
        for key, last_ns in self._fast.take_silent():
            self.balancer.report_again(key, last_seen_at=last_ns / NANO)
        self._loop.call_at(self._loop.now + (ROUND_SECONDS if complete else STEP_SECONDS), self._step)
        self._after()

    def _tell(self, news: Iterable[FlowTraffic]) -> None:
        assert self.balancer is not None
        eni = self._eni
        for each in news:
            carried = each.packets or each.returned_packets  # without any, the stamp is of when the entry was written
            self.balancer.add_carried(
                each.key,
                last_seen_at=each.last_ns / NANO if carried else -math.inf,
                packets=each.packets,
                bytes=each.bytes,
                returned_packets=each.returned_packets,
                returned_bytes=each.returned_bytes,
                target=each.target,
            )
            side = self._sides[from_key_bytes(each.key)[0]]
            side.frames_in += each.packets
            side.verdicts += each.packets
            side.frames_out += each.returned_packets
            eni.frames_in += each.returned_packets
            eni.verdicts += each.returned_packets
            eni.frames_out += each.packets

    def _now_ns(self) -> int:
        return int(self._loop.now * NANO)
