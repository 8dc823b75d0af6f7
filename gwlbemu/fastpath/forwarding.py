"""Puts the program `forward` of vpc.c on the interfaces of a namespace and takes it off again.

Nobody has to hold it there: it is a tc filter, and goes with its interface. No tcx link, although packets would pass
that a little faster: to put one in place or to remove it, the kernel waits for every processor, some 10 ms each, and
does so again when the interface goes.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from gwlbemu.fastpath import libbpf

_SETTINGS, _PLACE = struct.Struct("<QI4x"), struct.Struct("<6s2xII")
_ONLY, _MASK = bytes(4), (1 << 64) - 1


def attach(compiled: Path, places: Sequence[tuple[bytes, str, str]], devices: Iterable[str]) -> None:
    """Load the program for the current namespace and attach it to `devices`.

    `places` are (MAC, device, bridge or nothing): see vpc.c. OSError when the kernel refuses; then nothing is attached.
    """
    index = socket.if_nametoindex
    fold, bits = choose_fold([mac for mac, _, _ in places])
    with libbpf.Object(compiled, {"places": 1 << bits}) as loaded:
        loaded.map(".data").update(_ONLY, _SETTINGS.pack(fold, 64 - bits))
        known = loaded.map("places")
        for mac, device, bridge in places:
            place = _PLACE.pack(mac, index(device), index(bridge) if bridge else 0)
            known.update(number_of(mac, fold, bits).to_bytes(4, "little"), place)
        program = loaded.program("forward")
        attached: list[str] = []
        try:
            for device in devices:
                libbpf.attach_filter(program, index(device))
                attached.append(device)
        except OSError:
            detach(attached)
            raise


def detach(devices: Iterable[str]) -> None:
    """Take the program off `devices` of the current namespace; where it is gone already is no error."""
    for device in devices:
        try:
            libbpf.detach_filter(socket.if_nametoindex(device))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
                raise


def number_of(mac: bytes, fold: int, bits: int) -> int:
    """The place of a MAC, as vpc.c works it out."""
    return (int.from_bytes(mac, "little") * fold & _MASK) >> (64 - bits)


def choose_fold(macs: Sequence[bytes]) -> tuple[int, int]:
    """Return a factor and a number of bits with which each of `macs` has a number of its own."""
    for attempt in count():
        bits = max(6, (len(macs) ** 2).bit_length() + attempt // 64)
        fold = (0x9E3779B97F4A7C15 * (2 * attempt + 1)) & _MASK  # 2^64 divided by the golden ratio, and odd multiples
        if len({number_of(mac, fold, bits) for mac in macs}) == len(set(macs)):
            return fold, bits
    raise AssertionError("never reached")
