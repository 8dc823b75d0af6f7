"""What all flows from one endpoint to one target with one source port share of their outside, precomputed for the hot
path.
"""

from __future__ import annotations

import struct

from gwlbemu.core.settings import Settings
from gwlbemu.wire.aws import encode_header
from gwlbemu.wire.checksum import total
from gwlbemu.wire.geneve import PORT, PROTOCOL_IPV4, PROTOCOL_IPV6
from gwlbemu.wire.protocols import UDP

OUTER_LENGTH = 68  # IPv4 20, UDP 8, GENEVE 8, options 32
MANY_LENGTHS = 256
_HEAD = struct.Struct(">2sH6sH12sH").pack


def prefix(protocol_type: int, endpoint: int) -> bytes:
    """Return all of the GENEVE header but the cookie."""
    return encode_header(protocol_type, endpoint, 0)[:36]


class Heads(dict[int, tuple[bytes, int]]):
    """Length of the inner packet -> link header and outer datagram up to the UDP checksum, and what is known of that.

    Sums are one's complement sums over the fields that do not change, not folded (RFC 1071).
    """

    __slots__ = ("_addresses_and_ports", "_header_sum", "_link", "_udp_sum")

    def __init__(
        self, link: bytes, node_address: bytes, target_address: bytes, source_port: int, prefix: bytes
    ) -> None:
        super().__init__()
        self._link = link
        self._addresses_and_ports = (
            node_address + target_address + source_port.to_bytes(2, "big") + PORT.to_bytes(2, "big")
        )
        addresses = total(node_address + target_address)
        self._header_sum = 0x4500 + 0xFF00 + UDP + addresses
        self._udp_sum = addresses + UDP + source_port + PORT + total(prefix)

    def __missing__(self, size: int) -> tuple[bytes, int]:
        length = size + OUTER_LENGTH
        head = self._link + _HEAD(
            b"\x45\0",
            length,
            b"\0\0\0\0\xff\x11",
            -(self._header_sum + length) % 65535,
            self._addresses_and_ports,
            length - 20,
        )
        if len(self) >= MANY_LENGTHS:
            self.clear()
        # The UDP length is in the pseudo-header and in the header.
        known = self[size] = (head, (self._udp_sum + 2 * (length - 20)) % 65535)
        return known


class Tunnel:
    """One outside but for the flow's cookie."""

    __slots__ = ("endpoint", "heads", "prefix", "protocol_type", "source_port")

    def __init__(
        self, settings: Settings, target_address: bytes, source_port: int, endpoint: int, version: int
    ) -> None:
        self.endpoint = endpoint
        self.source_port = source_port
        self.protocol_type = PROTOCOL_IPV4 if version == 4 else PROTOCOL_IPV6
        self.prefix = prefix(self.protocol_type, endpoint)
        link = settings.links.targets[target_address]
        self.heads = Heads(link, settings.node_address, target_address, source_port, self.prefix)

    def header(self, cookie: int) -> bytes:
        """Return the 40 bytes of GENEVE header of a flow with this cookie."""
        return self.prefix + cookie.to_bytes(4, "big")
