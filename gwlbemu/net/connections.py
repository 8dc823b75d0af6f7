"""The TCP connections that end in this network namespace, as the kernel lists them (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_FILES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_ESTABLISHED = "01"
_WORD = 4  # bytes, each of which the kernel writes in the machine's order


class Connection(NamedTuple):
    """An established connection: our end and the other's. `number` ascends, roughly, with their beginnings."""

    number: int
    address: str
    port: int
    peer: str
    peer_port: int


def established(ports: Collection[int]) -> Iterator[Connection]:
    """Yield the connections at these ports of ours; a kernel without IPv6 has none of it."""
    wanted = {f"{port:04X}" for port in ports}
    for file in _FILES:
        with suppress(FileNotFoundError):
            for line in file.read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _ESTABLISHED and words[1][-4:] in wanted:
                    yield Connection(int(words[9]), *_place(words[1]), *_place(words[2]))


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    packed = b"".join(
        int.from_bytes(raw[at : at + _WORD], "big").to_bytes(_WORD, sys.byteorder) for at in range(0, len(raw), _WORD)
    )
    return socket.inet_ntop(socket.AF_INET if len(packed) == _WORD else socket.AF_INET6, packed), int(port, 16)
