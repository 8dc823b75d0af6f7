"""The outer IPv4 datagram around a GENEVE header and an inner packet, written and taken apart with care for any bytes.

Outer fields as seen on real load balancers: TOS 0, ID 0, DF clear, TTL 255, UDP checksum present. All of it but two
lengths and two checksums is the same for every packet of a flow, so an `Envelope` that is made once per flow wraps each
packet with one Struct.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.checksum import total
from gwlbemu.wire.geneve import BASE_LENGTH, PORT
from gwlbemu.wire.protocols import UDP

TTL = 255
_HEAD = struct.Struct(">2sH6sH12sHH")  # up to the UDP checksum, 28 bytes
_IPV4 = struct.Struct(">BxH2xHBBxx4s4s")
_UDP = struct.Struct(">HHHH")
_new = tuple.__new__


class Envelope:
    """The outside of every packet of one flow from a node to a target.

    `geneve_header` has to have an even length (all of them do).
    """

    __slots__ = ("_addresses_and_ports", "_geneve_header", "_ip_sum", "_length", "_overhead", "_udp_sum")

    def __init__(self, node_address: bytes, target_address: bytes, source_port: int, geneve_header: bytes) -> None:
        ports = struct.pack(">HH", source_port, PORT)
        self._addresses_and_ports = node_address + target_address + ports
        self._geneve_header = geneve_header
        self._length = 8 + len(geneve_header)  # of UDP, without the packet
        self._overhead = 20 + self._length
        addresses = total(node_address) + total(target_address)
        self._ip_sum = 0x4500 + (TTL << 8 | UDP) + addresses + self._overhead
        # The UDP length counts twice: in the pseudo-header and in the header.
        self._udp_sum = addresses + UDP + source_port + PORT + total(geneve_header) + 2 * self._length

    def wrap(self, packet: bytes, decrement: int = 0) -> bytes:
        """Return the whole outer datagram, the inner TTL or hop limit lowered by `decrement` on the way.

        `packet` is a whole IP packet that has been decoded before, with a TTL greater than `decrement`.
        Raises WireError when the datagram would be longer than IPv4 allows.
        """
        size = len(packet)
        inner = int.from_bytes(packet, "big")
        if size & 1:
            inner <<= 8
        if size + self._overhead > 0xFFFF:
            raise WireError(f"{size} bytes of packet do not fit in one outer datagram")
        if decrement:
            if packet[0] >> 4 == 4:
                # TTL and header checksum change together, the header's sum does not.
                checksum = ((packet[10] << 8 | packet[11]) + (decrement << 8)) % 65535
                tail = b"%b%c%c%c%c%b" % (
                    packet[:8], packet[8] - decrement, packet[9], checksum >> 8, checksum & 255, packet[12:],
                )  # fmt: skip
            else:
                inner -= decrement  # the hop limit is the low byte of its 16-bit word
                tail = b"%b%c%b" % (packet[:7], packet[7] - decrement, packet[8:])
        else:
            tail = packet
        head = _HEAD.pack(
            b"\x45\x00",
            size + self._overhead,
            b"\0\0\0\0\xff\x11",
            -(self._ip_sum + size) % 65535,
            self._addresses_and_ports,
            size + self._length,
            65535 - (self._udp_sum + 2 * size + inner) % 65535,  # 1..65535: a computed 0 is sent as 0xffff (RFC 768)
        )
        return head + self._geneve_header + tail


def encapsulate(
    node_address: bytes, target_address: bytes, source_port: int, geneve_header: bytes, packet: bytes
) -> bytes:
    """Return the whole outer IPv4 datagram around an inner packet; addresses are 4 bytes.

    Make an Envelope instead where a flow has more than one packet. Raises WireError when it would be too long.
    """
    return Envelope(node_address, target_address, source_port, geneve_header).wrap(packet)


class Outer(NamedTuple):
    """An outer datagram taken apart: addresses (4 bytes), ports, TTL, GENEVE's ethertype.

    `header` is the GENEVE header as bytes, `packet` what follows it.
    """

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    ttl: int
    protocol_type: int
    header: bytes
    packet: bytes


def decapsulate(datagram: bytes) -> Outer:
    """Split an outer IPv4 datagram, judging as little as AWS does.

    TTL, TOS, ID, source port and both checksums may be anything. Options inside `header` are not walked and the port is
    not judged. Raises WireError when it is no whole IPv4/UDP datagram, is a fragment, has impossible lengths, or does
    not carry GENEVE version 0.
    """
    length = len(datagram)
    if length < 36:
        raise WireError(f"{length} bytes are too short for GENEVE over IPv4")
    first, total_length, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(datagram)
    head = (first & 15) * 4
    if first >> 4 != 4 or head < 20 or not head + 8 + BASE_LENGTH <= total_length <= length:
        raise WireError(f"IPv4 header length {head}, total length {total_length}, {length} bytes there")
    if protocol != UDP or fragment & 0x3FFF:
        if protocol != UDP:
            raise WireError.of("outer protocol", protocol, UDP)
        raise WireError("the outer datagram is a fragment")
    source_port, destination_port, udp_length, _ = _UDP.unpack_from(datagram, head)
    start, end = head + 8, head + udp_length
    if udp_length < 8 + BASE_LENGTH or end > total_length:
        raise WireError(f"UDP length {udp_length}, {total_length - head} bytes there")
    inner = start + BASE_LENGTH + (datagram[start] & 0x3F) * 4
    if datagram[start] >> 6:
        raise WireError.of("GENEVE version", datagram[start] >> 6, 0)
    if inner > end:
        raise WireError(f"GENEVE options run {inner - end} bytes past the datagram's end")
    protocol_type = datagram[start + 2] << 8 | datagram[start + 3]
    return _new(
        Outer,
        (
            source,
            destination,
            source_port,
            destination_port,
            ttl,
            protocol_type,
            datagram[start:inner],
            datagram[inner:end],
        ),
    )
