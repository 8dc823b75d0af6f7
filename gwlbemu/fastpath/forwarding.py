"""Puts the program `forward` of vpc.c on the interfaces of a namespace and takes it off again.

Nobody has to hold it there: it is attached without a link, and goes with its interfaces. Who made it knows it again by
the number that the kernel gave it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from gwlbemu.fastpath import libbpf

_PLACE = struct.Struct("<II")  # struct place


def attach(compiled: Path, places: Iterable[tuple[bytes, str, str]], devices: Iterable[str]) -> int:
    """Load the program for the current namespace, attach it to `devices`, and return its number.

    `places` are (MAC, device, bridge or nothing): see vpc.c. OSError when the kernel refuses; then nothing is attached.
    """
    index = socket.if_nametoindex
    entries = [
        (mac + b"\0\0", _PLACE.pack(index(device), index(bridge) if bridge else 0)) for mac, device, bridge in places
    ]
    with libbpf.Object(compiled, {"places": max(len(entries), 1)}) as loaded:
        known = loaded.map("places")
        for key, value in entries:
            known.update(key, value)
        program = loaded.program("forward")
        attached: list[int] = []
        try:
            for device in devices:
                libbpf.attach_for_good(program, index(device))
                attached.append(index(device))
        except OSError:
            for each in attached:
                libbpf.detach(program, each)
            raise
        return libbpf.program_id(program)


def detach(number: int, devices: Iterable[str]) -> None:
    """Take program `number` off `devices` of the current namespace; one that is gone already is no error."""
    try:
        program = libbpf.program_by_id(number)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    try:
        for device in devices:
            try:
                libbpf.detach(program, socket.if_nametoindex(device))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
    finally:
        os.close(program)
