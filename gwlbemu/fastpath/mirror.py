"""The kernel's flow maps kept as the core says, and what the kernel counted brought back.

One entry per flow serves both directions and both programs. A flow's slot, which its entry carries, is the index of
what has been reported of it so far: 24 bytes, and no Python object.

With another stickiness every key is another one. The entries of the old kind are not looked for: the endpoints get new
bits, so that no packet finds one of them any more, and the next round through all entries takes them out as it goes.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE
from gwlbemu.core.gateway.key import flow_key, from_key_bytes, key_bytes, key_parts
from gwlbemu.core.gateway.records import FlowChange, FlowChangeKind, TargetChange
from gwlbemu.fastpath import layout
from gwlbemu.fastpath.layout import EntryTraffic, Key
from gwlbemu.fastpath.libbpf import Map
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import TCP, UDP

BATCH = 1024  # entries a step reads: a few milliseconds when all of them have news
KEY_SIZES = {FIVE_TUPLE: 5, THREE_TUPLE: 3, TWO_TUPLE: 2}
SECOND = 10**9
_WRAP = (1 << 32) - 1


class FlowTraffic(NamedTuple):
    """What the kernel has carried of one flow since it was last asked. `key` is the core's; bytes are those of inner
    packets.
    """

    key: bytes
    target: bytes  # address; of a flow that has moved or is gone the one it had
    packets: int  # to the target
    bytes: int
    returned_packets: int
    returned_bytes: int
    last_ns: int  # of the last packet of either direction, on the node's clock, up to 4 ms early


class Mirror:
    """The kernel's maps of flows and of held targets, and what has been reported of each flow.

    `interfaces` is endpoint id -> interface index; `next_hops` is target address -> MAC, `gateway` the MAC for all
    others. `stickiness` says by what key flows are looked up, `factor` gives endpoints their bits in it (see
    `layout.choose_factor`), `entries` is how many the kernel knows. `set_stickiness` has to be called first.
    """

    def __init__(
        self,
        flows4: Map,
        flows6: Map,
        held: Map,
        *,
        interfaces: Mapping[int, int],
        next_hops: Mapping[bytes, bytes],
        gateway: bytes,
    ) -> None:
        self._maps = {4: flows4, 16: flows6}
        self._held = held
        self._held_targets: set[bytes] = set()  # their addresses
        self._interfaces = interfaces
        self._bits: dict[int, int] = {}  # by endpoint
        self._kinds: dict[int, tuple[int, str]] = {}  # bits -> endpoint and stickiness, of entries of old kinds too
        self._next_hops = next_hops
        self._gateway = gateway
        self.stickiness, self.factor = FIVE_TUPLE, 0
        self.entries = 0
        self.refused = 0  # flows that found a map full and stay in Python
        self._free: list[int] = []
        self._seen = (array("I"), array("I"), array("Q"), array("Q"))
        self._left: list[FlowTraffic] = []  # of entries that are gone
        self._silent: list[tuple[bytes, int]] = []
        self._walk: Iterator[tuple[int, bytes, bytes]] | None = None

    def set_stickiness(self, stickiness: str) -> None:
        """Look flows up by another key from now on: no entry of before is found any more. `factor` is another then."""
        self.stickiness = stickiness
        self.factor = layout.choose_factor(tuple(self._interfaces), self._kinds)
        self._bits = {endpoint: layout.endpoint_bits(endpoint, self.factor) for endpoint in self._interfaces}
        self._kinds |= {bits: (endpoint, stickiness) for endpoint, bits in self._bits.items()}
        self._walk = None  # a round that begins now meets every old entry

    def apply(self, changes: Sequence[FlowChange | TargetChange], *, now_ns: int) -> None:
        """Write and take out entries of flows, hold targets or hold them no longer.

        `now_ns` is of the node's clock: an entry's idle time begins there. Call it after the packets that caused the
        changes have been sent, or a packet carried by the kernel may overtake them.
        """
        for change in changes:
            if isinstance(change, TargetChange):
                self._hold(change)
                continue
            key = self.key_of(change)
            if key is None:
                continue
            if change.kind is FlowChangeKind.PLACED:
                self._write(key, change, now_ns)
            else:
                self._take_out(key, change.key)
                if change.kind is FlowChangeKind.UPDATED:
                    self._write(key, change, now_ns)

    @property
    def held_targets(self) -> int:
        """How many targets are held."""
        return len(self._held_targets)

    def _hold(self, change: TargetChange) -> None:
        if change.held:
            self._held.update(change.target_address, b"\1")
            self._held_targets.add(change.target_address)
        else:
            self._held.pop(change.target_address)
            self._held_targets.discard(change.target_address)

    def key_of(self, change: FlowChange) -> Key | None:
        """Return the key the kernel would look this flow up by; None when it never does (fragments of TCP and UDP)."""
        size = KEY_SIZES[self.stickiness]
        asked = 3 if size == 5 and change.protocol not in (TCP, UDP) else size
        if change.tuple_size != asked or change.endpoint not in self._bits:
            return None
        low, high = sorted(((change.source, change.source_port), (change.destination, change.destination_port)))
        return Key(low[0], high[0], low[1], high[1], self._bits[change.endpoint] << 8 | change.protocol)

    def read_back(self, *, now_ns: int = 0) -> tuple[list[FlowTraffic], bool]:
        """Return what is new in the next thousand entries, and whether that was the end of a round through all of them.

        Of those, the flows whose idle time is over at `now_ns` are what take_silent returns. Entries of an old kind are
        taken out.
        """
        if self._walk is None:
            self._walk = self._blocks()
        block = next(self._walk, None)
        if block is None:
            self._walk = None
            self._kinds = {bits: self._kinds[bits] for bits in self._bits.values()}
            found, self._left = self._left, []
            return found, True
        return self._read(*block, now_ns), False

    def read_in_steps(self, *, now_ns: int = 0) -> Iterator[list[FlowTraffic]]:
        """Yield what is new of every flow, a step at a time; a round of read_back goes on meanwhile as it was."""
        for block in self._blocks():
            yield self._read(*block, now_ns)
        found, self._left = self._left, []
        yield found

    def _blocks(self) -> Iterator[tuple[int, bytes, bytes]]:
        return ((size, *block) for size, table in self._maps.items() for block in table.batches(BATCH))

    def _read(self, size: int, keys: bytes, values: bytes, now_ns: int) -> list[FlowTraffic]:
        found, self._left = self._left, []
        packets, returned, _, _ = self._seen
        width = self._maps[size].key_size
        # As they stand at the end of a key, after the protocol.
        old = {bits.to_bytes(3, "little") for bits in self._kinds.keys() - set(self._bits.values())}
        for i, traffic in enumerate(layout.iterate_traffic(values)):
            slot = traffic[1]
            if old and (key := keys[i * width : (i + 1) * width])[-3:] in old:
                self._drop_entry(self._maps[size], key, self._core_key(key))
                continue
            if traffic[3] != packets[slot] or traffic[4] != returned[slot]:
                found.append(
                    self._difference(self._core_key(keys[i * width : (i + 1) * width]), EntryTraffic._make(traffic))
                )
            if now_ns - traffic[7] >= (traffic[2] & layout.LONGEST_IDLE) * SECOND:
                self._silent.append((self._core_key(keys[i * width : (i + 1) * width]), traffic[7]))
        return found

    def take_silent(self) -> list[tuple[bytes, int]]:
        """Return the flows that read_back has found idle (the core's keys) and when they were last seen, once each."""
        taken, self._silent = self._silent, []
        return taken

    def read_all(self) -> list[FlowTraffic]:
        """Return what is new of every flow, at once."""
        return [news for step in self.read_in_steps() for news in step]

    def refresh(self, core_keys: Iterable[bytes]) -> list[FlowTraffic]:
        """Return what is new of these flows (the core's keys) alone: before the core lets them go as idle."""
        found, self._left = self._left, []
        for core_key in core_keys:
            endpoint, number = from_key_bytes(core_key)
            parts = key_parts(number)
            for bits, (owner, _) in self._kinds.items():  # of old kinds too, where there are any left
                if owner == endpoint:
                    key = Key(parts.low, parts.high, parts.low_port, parts.high_port, bits << 8 | parts.protocol)
                    value = self._maps[len(key.low)].lookup(key.pack())
                    if value is not None:
                        found.append(self._difference(core_key, layout.read_traffic(value)))
        return found

    def _write(self, key: Key, change: FlowChange, now_ns: int) -> None:
        slot = self._free.pop() if self._free else self._grow()
        low_first = (change.source, change.source_port) == (key.low, key.low_port)
        value = layout.pack_flow(
            target=change.target_address,
            cookie=change.cookie,
            mac=self._next_hops.get(change.target_address, self._gateway),
            source_port=change.outer_source_port,
            slot=slot,
            interface=self._interfaces[change.endpoint],
            idle_seconds=change.idle_timeout,
            from_high=not low_first,
            last_ns=now_ns,
        )
        table, packed = self._maps[len(key.low)], key.pack()
        try:
            if not table.insert(packed, value):
                self._take_out(key, change.key)
                table.insert(packed, value)
        except OSError as error:
            self._free.append(slot)
            if error.errno not in (errno.E2BIG, errno.ENOMEM):
                raise
            self.refused += 1
        else:
            self.entries += 1

    def _take_out(self, key: Key, core_key: bytes) -> None:
        self._drop_entry(self._maps[len(key.low)], key.pack(), core_key)

    def _drop_entry(self, table: Map, key: bytes, core_key: bytes) -> None:
        value = table.pop(key)
        if value is None:
            return
        traffic = layout.read_traffic(value)
        last = self._difference(core_key, traffic)
        if last.packets or last.returned_packets:
            self._left.append(last)
        for seen in self._seen:
            seen[traffic.slot] = 0
        self._free.append(traffic.slot)
        self.entries -= 1

    def _grow(self) -> int:
        for seen in self._seen:
            seen.append(0)
        return len(self._seen[0]) - 1

    def _difference(self, core_key: bytes, now: EntryTraffic) -> FlowTraffic:
        packets, returned, size, returned_size = self._seen
        slot = now.slot
        new = FlowTraffic(
            core_key,
            now.target,
            now.packets - packets[slot] & _WRAP,
            now.bytes - size[slot],
            now.returned_packets - returned[slot] & _WRAP,
            now.returned_bytes - returned_size[slot],
            now.last_ns,
        )
        packets[slot], size[slot] = now.packets, now.bytes
        returned[slot], returned_size[slot] = now.returned_packets, now.returned_bytes
        return new

    def _core_key(self, packed: bytes) -> bytes:
        """Return the core's key of an entry, made again from its own: cheaper than keeping it."""
        table = layout.KEY4 if len(packed) == layout.KEY4.size else layout.KEY6
        low, high, low_port, high_port, number = table.unpack(packed)
        version = 4 if table is layout.KEY4 else 6
        ports = (int.from_bytes(low_port, "big"), int.from_bytes(high_port, "big"))
        ip = IpPacket(version, number & 0xFF, low, high, *ports, 0, 0, 0, 0, 0, False, 0)
        endpoint, stickiness = self._kinds[number >> 8]
        return key_bytes(endpoint, flow_key(ip, stickiness)[0])
