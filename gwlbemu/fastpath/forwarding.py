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
from pathlib import Path

from gwlbemu.fastpath import libbpf
from gwlbemu.fastpath.perfect_hash import collision_free_factor, hash_of

_SETTINGS, _PLACE = struct.Struct("<QI4x"), struct.Struct("<6s2xII")
_ONLY = bytes(4)  # the key of an array's first entry


def attach(compiled: Path, places: Sequence[tuple[bytes, str, str]], devices: Iterable[str]) -> None:
    """Load the program for the current namespace and attach it to `devices`.

    `compiled` is the object file of vpc.c. `places` are (MAC as 6 bytes, device, bridge or ""): where a MAC is, see
    vpc.c. Raises OSError when the kernel refuses; then nothing is attached.
    """
    index = socket.if_nametoindex
    bits = max(6, 2 * len(places).bit_length())
    factor = collision_free_factor([mac for mac, _, _ in places], bits)
    with libbpf.Object(compiled, {"places": 1 << bits}) as loaded:
        loaded.map(".data").update(_ONLY, _SETTINGS.pack(factor, 64 - bits))
        known = loaded.map("places")
        for mac, device, bridge in places:
            place = _PLACE.pack(mac, index(device), index(bridge) if bridge else 0)
            known.update(hash_of(mac, factor, bits).to_bytes(4, "little"), place)
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
