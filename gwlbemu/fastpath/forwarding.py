"""Puts the programs of vpc.c on the interfaces of a namespace and takes it off again.

Nobody has to hold it there: it is a tc filter, and goes with its interface. No tcx link, although packets would pass
that a little faster: to put one in place or to remove it, the kernel waits for every processor, some 10 ms each, and
does so again when the interface goes.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.fastpath import libbpf
from gwlbemu.fastpath.perfect_hash import collision_free_factor, hash_of

_SETTINGS, _PLACE, _OPEN_WAY = struct.Struct("<QI4x"), struct.Struct("<6s2xIII4s16s"), struct.Struct("<4s4sHHB3x")
_MOST_OPEN_WAYS = 4  # OPEN_WAYS of vpc.c
_ONLY = bytes(4)  # the key of an array's first entry


@dataclass(frozen=True, slots=True)
class OpenWay:
    """What security groups let in, see `struct open_way` of vpc.c. `network` and `mask` are packed IPv4."""

    network: bytes
    mask: bytes
    protocol: int
    first_port: int
    last_port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a MAC is, see `struct place` of vpc.c. Addresses are packed, zeros for none."""

    mac: bytes
    device: str
    bridge: str = ""  # the router's, where the MAC is its own
    instance: bool = False  # at `device` is an instance: what comes from there is judged by MAC and lengths
    one_way: bool = False  # nothing is put there: such a frame is the kernel's
    checked: bool = False  # from and for these addresses only
    stateful: bool = False  # what goes none of the `open_ways` is the kernel's; the program has room for some of them
    open_ways: Sequence[OpenWay] = ()
    address: bytes = bytes(4)
    ipv6_address: bytes = bytes(16)

    @property
    def guard(self) -> int:
        """The flags GUARDED, CHECKED, ONE_WAY and STATEFUL of vpc.c."""
        return self.instance | self.checked << 1 | self.one_way << 2 | self.stateful << 3

    def packed_ways(self) -> bytes:
        """Return the first of `open_ways` as they stand in the map."""
        ways = self.open_ways[:_MOST_OPEN_WAYS]
        packed = [
            _OPEN_WAY.pack(each.network, each.mask, each.first_port, each.last_port, each.protocol) for each in ways
        ]
        return b"".join(packed).ljust(_MOST_OPEN_WAYS * _OPEN_WAY.size, b"\0")


def attach(compiled: Path, places: Sequence[Place], devices: Iterable[str], guarded: Collection[str] = ()) -> None:
    """Load the programs for the current namespace and attach one to each of `devices`.

    `compiled` is the object file of vpc.c, `guarded` are those devices that are ports of instances, with a place or
    without: what has none is not carried from there. Raises OSError when the kernel refuses; then nothing is attached.
    """
    index = socket.if_nametoindex
    bits = max(6, 2 * len(places).bit_length())
    factor = collision_free_factor([place.mac for place in places], bits)
    with libbpf.Object(compiled, {"places": 1 << bits}) as loaded:
        loaded.map(".data").update(_ONLY, _SETTINGS.pack(factor, 64 - bits))
        known = loaded.map("places")
        for place in places:
            bridge = index(place.bridge) if place.bridge else 0
            packed = _PLACE.pack(place.mac, index(place.device), bridge, place.guard, place.address, place.ipv6_address)
            known.update(hash_of(place.mac, factor, bits).to_bytes(4, "little"), packed + place.packed_ways())
        programs = {name: loaded.program(name) for name in ("forward", "forward_guarded")}
        attached: list[str] = []
        try:
            for device in devices:
                libbpf.attach_filter(programs["forward_guarded" if device in guarded else "forward"], index(device))
                attached.append(device)
        except OSError:
            detach(attached)
            raise


def detach(devices: Iterable[str]) -> None:
    """Take the programs off `devices` of the current namespace; where it is gone already is no error."""
    for device in devices:
        try:
            libbpf.detach_filter(socket.if_nametoindex(device))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
                raise
