"""TCP headers and segments: RFC 9293."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.checksum import transport
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import TCP

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
_HEAD = struct.Struct(">HHIIBBHHH")
_LETTERS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."), (URG, "U"), (ECE, "E"), (CWR, "W"))


class TcpHead(NamedTuple):
    """A TCP header. `payload_offset` counts from the start of the IP packet, `payload_length` is bytes."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    header_length: int
    payload_offset: int
    payload_length: int


def decode_tcp(packet: bytes, ip: IpPacket) -> TcpHead:
    """Decode the TCP header of a packet that is no later fragment. Raises WireError when its length is impossible."""
    start = ip.header_length
    if ip.total_length - start < 20 or len(packet) - start < 20:
        raise WireError(f"{ip.total_length - start} bytes are too short for a TCP header")
    source, destination, sequence, acknowledgement, offset, flags, window, _, _ = _HEAD.unpack_from(packet, start)
    length = (offset >> 4) * 4
    payload = ip.total_length - start - length
    if length < 20 or payload < 0:
        raise WireError(f"TCP header length {length}, {ip.total_length - start} bytes there")
    return TcpHead(source, destination, sequence, acknowledgement, flags, window, length, start + length, payload)


def flags_text(flags: int) -> str:
    """Return the flags as tcpdump writes them: `S`, `S.`, `P.`, `R`; `none` without any."""
    return "".join(letter for bit, letter in _LETTERS if flags & bit) or "none"


def build_tcp(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    *,
    sequence: int = 0,
    acknowledgement: int = 0,
    flags: int = SYN,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
    ttl: int = 64,
    identification: int = 0,
) -> bytes:
    """Return a whole IP packet (the version follows from the addresses) with right checksums.

    `options` is a multiple of 4 bytes.
    """
    offset = (5 + len(options) // 4) << 4
    head = _HEAD.pack(source_port, destination_port, sequence, acknowledgement, offset, flags, window, 0, 0)
    segment = head + options + payload
    checksum = transport(source, destination, TCP, segment)
    segment = segment[:16] + checksum.to_bytes(2, "big") + segment[18:]
    return build_ip(source, destination, TCP, segment, ttl=ttl, identification=identification)


def build_keepalive(packet: bytes) -> bytes | None:
    """Return a probe that the receiver of a TCP packet answers with an ACK of what it really expects; None for a RST or
    SYN, which belong to no connection that is open.

    It is the packet without payload and with the sequence number before its own, as a keep-alive has it (RFC 9293
    3.8.4); an old segment is answered by an ACK (3.10.7.4). Options stay, so that timestamps do. Raises WireError as
    `build_reset` does.
    """
    ip = decode_ip(packet)
    if ip.protocol != TCP or ip.fragment_offset:
        raise WireError("a probe follows only TCP")
    head = decode_tcp(packet, ip)
    if head.flags & (RST | SYN) or not head.flags & ACK:
        return None
    return build_tcp(
        ip.source,
        ip.destination,
        head.source_port,
        head.destination_port,
        sequence=(head.sequence - 1) & 0xFFFFFFFF,
        acknowledgement=head.acknowledgement,
        flags=ACK,
        window=head.window,
        options=packet[ip.header_length + 20 : head.payload_offset],
    )


def build_reset(packet: bytes, *, ttl: int = 64) -> bytes | None:
    """Return the RST that answers `packet` where no connection exists (RFC 9293 3.5.2, 3.10.7.1), None for a RST.

    An ACK is answered with its own acknowledgement as the sequence number and no ACK; anything else with sequence 0 and
    everything acknowledged. Raises WireError when the packet is no TCP packet with its header in it.
    """
    ip = decode_ip(packet)
    if ip.protocol != TCP or ip.fragment_offset:
        raise WireError("a RST answers only TCP")
    head = decode_tcp(packet, ip)
    if head.flags & RST:
        return None
    if head.flags & ACK:
        sequence, acknowledgement, flags = head.acknowledgement, 0, RST
    else:
        length = head.payload_length + bool(head.flags & SYN) + bool(head.flags & FIN)
        sequence, acknowledgement, flags = 0, (head.sequence + length) & 0xFFFFFFFF, RST | ACK
    return build_tcp(
        ip.destination,
        ip.source,
        head.destination_port,
        head.source_port,
        sequence=sequence,
        acknowledgement=acknowledgement,
        flags=flags,
        window=0,
        ttl=ttl,
    )
