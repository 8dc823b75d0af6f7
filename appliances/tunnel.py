"""The appliance's end of the tunnel: what arrives from the load balancer, and how it goes back.

AWS asks of a return (GWLB guide, CloudWatch metrics): outer addresses swapped, destination port 6081, the options as
they came. So the header is echoed byte for byte from the very packet it came with, never from an earlier one: the load
balancer may change cookie, source port and node address in the middle of a flow.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.checksum import updated
from gwlbemu.wire.outer import Envelope, Outer, decapsulate

ETHERNET = 14
IPV4 = b"\x08\x00"
TTL_AT, CHECKSUM_AT = ETHERNET + 8, ETHERNET + 10
SOURCE_AT, DESTINATION_AT, ADDRESSES_END = ETHERNET + 12, ETHERNET + 16, ETHERNET + 20
UDP_AT = ETHERNET + 20  # the load balancer sends no IPv4 options
FRESH_TTL = 255


class Received(NamedTuple):
    """One good frame from the load balancer."""

    frame: bytes
    outer: Outer
    endpoint: int  # 64-bit endpoint id, option 1
    cookie: int  # flow cookie, option 3

    @property
    def packet(self) -> bytes:
        """The inner IP packet."""
        return self.outer.packet


def read(frame: bytes) -> Received:
    """Take a frame apart; WireError for anything the load balancer does not send.

    Refused are other versions, lengths that do not add up, payloads that are not IP, O-bit packets and unknown critical
    options (RFC 8926, 3.4 and 3.5), and packets without AWS's endpoint id or cookie.
    """
    if frame[12:14] != IPV4:
        raise WireError("not an IPv4 frame")
    outer = decapsulate(frame[ETHERNET:])
    if outer.destination_port != geneve.PORT:
        raise WireError(f"UDP destination port {outer.destination_port}, expected {geneve.PORT}")
    options = aws.parse_usual(outer.header)
    if options is None:
        options = _unusual(outer.header)
    version = outer.packet[0] >> 4 if outer.packet else 0
    if version != {geneve.PROTOCOL_IPV4: 4, geneve.PROTOCOL_IPV6: 6}.get(outer.protocol_type):
        raise WireError(f"protocol type 0x{outer.protocol_type:04x} with IP version {version} inside")
    if options.endpoint_id is None or options.flow_cookie is None:
        raise WireError("no endpoint id or no flow cookie among the options")
    return Received(frame, outer, options.endpoint_id, options.flow_cookie)


def _unusual(header: bytes) -> aws.AwsOptions:
    decoded, _ = geneve.decode(header)
    if decoded.control:
        raise WireError("control packet (O bit)")
    if aws.unknown_critical(decoded) is not None:
        raise WireError("unknown critical option")
    return aws.parse(decoded)


def swap(frame: bytes) -> bytes:
    """Return the frame to where it came from: MACs and outer addresses swapped, a fresh TTL, all else as it is.

    Swapping leaves both checksums right.
    """
    if frame[TTL_AT] != FRESH_TTL:
        frame = _with_ttl(frame, FRESH_TTL)
    return b"".join(
        (
            frame[6:12],
            frame[0:6],
            frame[12:SOURCE_AT],
            frame[DESTINATION_AT:ADDRESSES_END],
            frame[SOURCE_AT:DESTINATION_AT],
            frame[ADDRESSES_END:],
        )
    )


def wrap(received: Received, packet: bytes) -> bytes:
    """Return a frame to the load balancer with another inner packet in the flow of `received`, its header echoed."""
    outer = received.outer
    envelope = Envelope(outer.destination, outer.source, outer.source_port, outer.header)
    return received.frame[6:12] + received.frame[0:6] + IPV4 + envelope.wrap(packet)


def _with_ttl(frame: bytes, ttl: int) -> bytes:
    checksum = int.from_bytes(frame[CHECKSUM_AT : CHECKSUM_AT + 2], "big")
    protocol = frame[TTL_AT + 1]
    checksum = updated(checksum, frame[TTL_AT] << 8 | protocol, ttl << 8 | protocol)
    return frame[:TTL_AT] + bytes((ttl, protocol)) + checksum.to_bytes(2, "big") + frame[CHECKSUM_AT + 2 :]
