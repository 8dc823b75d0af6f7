"""The fast path of one node: programs attached, flows mirrored, what goes up read from one TAP per interface.

A node that has one reads its packets from `taps` instead of its interfaces' packet sockets (those would see every
packet, the carried ones too), asks the core, sends by its ordinary ports, and then hands the core's flow changes to
`apply`. It dies with the process: nothing is pinned.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE
from gwlbemu.core.gateway.records import FlowChange, TargetChange
from gwlbemu.errors import NetError
from gwlbemu.fastpath import layout, libbpf
from gwlbemu.fastpath.build import compile_object
from gwlbemu.fastpath.mirror import KEY_SIZES, FlowTraffic, Mirror
from gwlbemu.fastpath.tap import Tap

_SIOCGIFMTU, _SIOCGIFHWADDR = 0x8921, 0x8927  # <linux/sockios.h>
_ONLY = bytes(4)  # the key of an array's first entry
# Room for flows, as many as a node may know. Memory is taken as they come, but for 16 bytes of each place (rounded up
# to a power of two): 32 MiB for two million. IPv6 flows beyond an eighth of that stay in Python.
DEFAULT_FLOWS4, DEFAULT_FLOWS6 = 2_000_000, 1 << 18


@dataclass(frozen=True, slots=True)
class EndpointDevice:
    """The device of an endpoint: `endpoint` is its 64-bit id, `router_mac` (6 bytes) where a returned packet goes."""

    endpoint: int
    device: str
    router_mac: bytes


@dataclass(frozen=True, slots=True)
class FastPathSettings:
    """What a node's fast path is told once.

    Devices are those of the current namespace, addresses 4 bytes, MACs 6 bytes. `cache` is the folder of compiled
    objects, `stickiness` five_tuple or AWS's word, `super_packets` whether offloads are on.
    """

    cache: Path
    node_address: bytes
    eni: str
    gateway_mac: bytes
    endpoints: tuple[EndpointDevice, ...]
    next_hops: Mapping[bytes, bytes] = field(
        default_factory=dict
    )  # target address -> MAC, where that is not the gateway's
    stickiness: str = FIVE_TUPLE
    ttl_decrement: int = 2
    super_packets: bool = False
    max_flows4: int = DEFAULT_FLOWS4  # more of them stay in Python
    max_flows6: int = DEFAULT_FLOWS6


class FastPath:
    """The fast path of one node, from its making until `close`.

    At first it carries nothing: no flow is known yet, so everything goes up. Raises NetError when the machine refuses;
    ask build.available before. `taps` are by device: of every endpoint and of the ENI.
    """

    def __init__(self, settings: FastPathSettings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self.taps: dict[str, Tap] = {}  # by device: of every endpoint and of the ENI
        self.programs: dict[str, int] = {}  # descriptors by name
        try:
            self._open(settings)
        except OSError as error:
            self.close()
            raise NetError(f"fast path: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def _open(self, settings: FastPathSettings) -> None:
        devices = [end.device for end in settings.endpoints] + [settings.eni]
        self.index = index = {device: socket.if_nametoindex(device) for device in devices}
        if max(index.values()) > 0xFFFF:
            raise NetError("fast path: an interface index above 65535")
        for device in devices:
            self.taps[device] = tap = Tap(f"up{index[device]}", _mtu(device))
            self._stack.callback(tap.close)
        sizes = {"interfaces": max(index.values()) + 1, "flows4": settings.max_flows4, "flows6": settings.max_flows6}
        loaded = self._stack.enter_context(libbpf.Object(compile_object(settings.cache), sizes))
        self._data = loaded.map(".data")
        self._counters = loaded.map("counters")
        self._interfaces = interfaces = loaded.map("interfaces")
        for end in settings.endpoints:
            record = layout.pack_interface(end.endpoint, self.taps[end.device].index, _mac(end.device), end.router_mac)
            interfaces.update(index[end.device].to_bytes(4, "little"), record)
        interfaces.update(
            index[settings.eni].to_bytes(4, "little"), layout.pack_interface(0, 0, _mac(settings.eni), bytes(6))
        )
        self._mirror = Mirror(
            loaded.map("flows4"),
            loaded.map("flows6"),
            loaded.map("held"),
            interfaces={end.endpoint: index[end.device] for end in settings.endpoints},
            next_hops=settings.next_hops,
            gateway=settings.gateway_mac,
        )
        self._node = layout.NodeSettings(
            settings.node_address, ttl_decrement=settings.ttl_decrement, super_packets=settings.super_packets
        )
        self.set_stickiness(settings.stickiness)
        for device in devices:
            name = "decap" if device == settings.eni else "encap"
            self.programs[name] = loaded.program(name)
            self._stack.callback(os.close, libbpf.attach_tcx(self.programs[name], index[device]))

    def set_stickiness(self, stickiness: str) -> None:
        """Look flows up by another key from now on: those of before all come up, whatever the keys have in common.

        `stickiness` is five_tuple, source_ip_dest_ip_proto or source_ip_dest_ip.
        """
        self._mirror.set_stickiness(stickiness)
        self._write_settings(replace(self._node, key_size=KEY_SIZES[stickiness]))

    def pause(self, paused: bool) -> None:
        """Send every packet up, or carry again what is known."""
        self._write_settings(replace(self._node, paused=paused))

    def set_clock(self, advanced_ns: int) -> None:
        """Say how far the node's clock is ahead of CLOCK_MONOTONIC, in nanoseconds.

        Every `now_ns` and `last_ns` of this room is of the node's clock.
        """
        self._write_settings(replace(self._node, advanced_ns=advanced_ns))

    def _write_settings(self, node: layout.NodeSettings) -> None:
        eni = self._settings.eni
        self._node = node
        self._data.update(_ONLY, node.pack(self.index[eni], self.taps[eni].index, self._mirror.factor))

    def apply(self, changes: Sequence[FlowChange | TargetChange], *, now_ns: int) -> None:
        """Write the core's changes into the kernel's maps; see Mirror.apply."""
        self._mirror.apply(changes, now_ns=now_ns)
        if self._mirror.held_targets != self._node.held_targets:
            self._write_settings(replace(self._node, held_targets=self._mirror.held_targets))

    def read_back(self, *, now_ns: int = 0) -> tuple[list[FlowTraffic], bool]:
        """Return what the kernel has carried of the next few thousand flows, and whether a round through all flows is
        complete; a call takes a few milliseconds. See Mirror.read_back.
        """
        return self._mirror.read_back(now_ns=now_ns)

    def take_silent(self) -> list[tuple[bytes, int]]:
        """Return the flows that a round has found idle; see Mirror.take_silent."""
        return self._mirror.take_silent()

    def read_in_steps(self) -> Iterator[list[FlowTraffic]]:
        """Yield what the kernel has carried of every flow, a few milliseconds' work at a time."""
        return self._mirror.read_in_steps()

    def read_all(self) -> list[FlowTraffic]:
        """Return what the kernel has carried of every flow, at once."""
        return self._mirror.read_all()

    def refresh(self, core_keys: Iterable[bytes]) -> list[FlowTraffic]:
        """Return what the kernel has carried of these flows alone; see Mirror.refresh."""
        return self._mirror.refresh(core_keys)

    def program_counters(self) -> dict[str, int]:
        """Return packets by what the programs did with them: carried both ways, then why they went up (COUNTERS)."""
        numbers = ((name, number.to_bytes(4, "little")) for number, name in enumerate(layout.COUNTERS))
        return {
            name: sum(int.from_bytes(value, "little") for value in self._counters.lookup_cpus(number))
            for name, number in numbers
        }

    def tagged(self, device: str) -> int:
        """Return how many frames with a VLAN tag were dropped at `device`; nothing of them goes up."""
        return layout.read_tagged(self._interfaces.lookup(self.index[device].to_bytes(4, "little")) or bytes(32))

    @property
    def entries(self) -> int:
        """How many flows the kernel knows."""
        return self._mirror.entries

    def stats(self) -> dict[str, int]:
        """Return program_counters and `entries`, `refused` (map full), `lost` (before Python read them)."""
        lost = sum(tap.drops() for tap in self.taps.values())
        return self.program_counters() | {
            "entries": self._mirror.entries,
            "refused": self._mirror.refused,
            "lost": lost,
        }

    def close(self) -> None:
        """Detach and give everything back; twice is harmless."""
        self._stack.close()


def _ask(device: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        return fcntl.ioctl(asking, request, struct.pack("16s24x", device.encode()))


def _mtu(device: str) -> int:
    return int.from_bytes(_ask(device, _SIOCGIFMTU)[16:20], "little")


def _mac(device: str) -> bytes:
    return _ask(device, _SIOCGIFHWADDR)[18:24]
