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


def attach(compiled: Path, places: Iterable[tuple[bytes, str, int]], devices: Iterable[str]) -> int:
    """Load the program for the current namespace, attach it to `devices`, and return its number.

    `places` are (MAC, device, how); `how` is vpc.c's. OSError when the kernel refuses; then nothing is attached.
    """
    entries = [(mac + b"\0\0", _PLACE.pack(socket.if_nametoindex(device), how)) for mac, device, how in places]
    with libbpf.Object(compiled, {"places": max(len(entries), 1)}) as loaded:
        known = loaded.map("places")
        for key, value in entries:
            known.update(key, value)
        program = loaded.program("forward")
        attached: list[int] = []
        try:
            for device in devices:
                index = socket.if_nametoindex(device)
                libbpf.attach_for_good(program, index)
                attached.append(index)
        except OSError:
            for index in attached:
                libbpf.detach(program, index)
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
