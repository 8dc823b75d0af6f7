"""What all flows from one endpoint to one target with one source port share of their outside, precomputed for the hot
path.
"""

from __future__ import annotations

from gwlbemu.wire.aws import encode_header
from gwlbemu.wire.checksum import total
from gwlbemu.wire.geneve import PORT, PROTOCOL_IPV4, PROTOCOL_IPV6
from gwlbemu.wire.protocols import UDP

OUTER_LENGTH = 68  # IPv4 20, UDP 8, GENEVE 8, options 32


class Tunnel:
    """One outside but for the flow's cookie.

    Sums are one's complement sums over the fields that do not change, not folded (RFC 1071).
    """

    __slots__ = ("addresses_and_ports", "endpoint", "header_sum", "prefix", "protocol_type", "source_port", "udp_sum")

    def __init__(
        self, node_address: bytes, target_address: bytes, source_port: int, endpoint: int, version: int
    ) -> None:
        self.endpoint = endpoint
        self.source_port = source_port
        self.protocol_type = PROTOCOL_IPV4 if version == 4 else PROTOCOL_IPV6
        self.prefix = encode_header(self.protocol_type, endpoint, 0)[:36]  # all of the GENEVE header but the cookie
        self.addresses_and_ports = (
            node_address + target_address + source_port.to_bytes(2, "big") + PORT.to_bytes(2, "big")
        )
        addresses = total(node_address + target_address)
        self.header_sum = (0x4500 + 0xFF00 + UDP + addresses + OUTER_LENGTH) % 65535
        # The UDP length is in the pseudo-header and in the header.
        self.udp_sum = (addresses + UDP + source_port + PORT + total(self.prefix) + 2 * (OUTER_LENGTH - 20)) % 65535

    def header(self, cookie: int) -> bytes:
        """Return the 40 bytes of GENEVE header of a flow with this cookie."""
        return self.prefix + cookie.to_bytes(4, "big")
