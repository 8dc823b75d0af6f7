"""The outside of what goes to a target, precomputed for the hot path: by target and length, and by tunnel."""

from __future__ import annotations

import struct
from functools import lru_cache

from gwlbemu.core.gateway.settings import Settings
from gwlbemu.wire.aws import encode_header
from gwlbemu.wire.checksum import total
from gwlbemu.wire.geneve import PORT, PROTOCOL_IPV4, PROTOCOL_IPV6
from gwlbemu.wire.protocols import UDP

OUTER_LENGTH = 68  # IPv4 20, UDP 8, GENEVE 8, options 32
LENGTHS_CAPACITY = 256
_HEADER = struct.Struct(">2sH6sH8s").pack


@lru_cache(1 << 10)
def prefix(protocol_type: int, endpoint: int) -> bytes:
    """Return the 36 bytes of GENEVE header in front of the cookie; `protocol_type` is an ethertype."""
    return encode_header(protocol_type, endpoint, 0)[:36]


class OuterHeaders(dict[int, bytes]):
    """Length of the inner packet in bytes -> link header and outer IPv4 header of a datagram to one target.

    The source port is not in there, so all tunnels to a target share them: memory goes by targets and lengths.
    """

    __slots__ = ("_addresses", "_link", "_sum")

    def __init__(self, link: bytes, node_address: bytes, target_address: bytes) -> None:
        super().__init__()
        self._link = link
        self._addresses = node_address + target_address
        self._sum = 0x4500 + 0xFF00 + UDP + total(self._addresses)

    def __missing__(self, size: int) -> bytes:
        length = size + OUTER_LENGTH
        if len(self) >= LENGTHS_CAPACITY:
            self.clear()
        header = self[size] = self._link + _HEADER(
            b"\x45\0", length, b"\0\0\0\0\xff\x11", -(self._sum + length) % 65535, self._addresses
        )
        return header


class Tunnel:
    """What all flows from one endpoint to one target with one source port share of their outside.

    `ports` are UDP's two, as one number. `partial_sum` is what the UDP checksum sums up with cookie 0 around an empty
    packet, modulo 65535 (RFC 1071).
    """

    __slots__ = ("endpoint", "partial_sum", "ports", "prefix", "protocol_type")

    def __init__(
        self, settings: Settings, target_address: bytes, source_port: int, endpoint: int, version: int
    ) -> None:
        self.endpoint = endpoint
        self.ports = source_port << 16 | PORT
        self.protocol_type = PROTOCOL_IPV4 if version == 4 else PROTOCOL_IPV6
        self.prefix = prefix(self.protocol_type, endpoint)
        addresses_and_ports = total(settings.node_address + target_address) + source_port + PORT
        # The UDP length is in the pseudo-header and in the header.
        self.partial_sum = (addresses_and_ports + UDP + total(self.prefix) + 2 * (OUTER_LENGTH - 20)) % 65535

    @property
    def source_port(self) -> int:
        """The outer UDP source port."""
        return self.ports >> 16

    def header(self, cookie: int) -> bytes:
        """Return the 40 bytes of GENEVE header of a flow with this cookie."""
        return self.prefix + cookie.to_bytes(4, "big")
