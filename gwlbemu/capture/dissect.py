"""From a captured frame to the values that people ask about: outer head, GENEVE, inner head.

Never fails: `trouble` says what was odd.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.capture import link
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import UDP


class Layer(NamedTuple):
    """One IP packet: its head and its bytes, without padding, as far as they were captured."""

    ip: IpPacket
    data: bytes

    @property
    def payload(self) -> bytes:
        """What follows the IP headers."""
        return self.data[self.ip.header_length :]


class TunnelLayer(NamedTuple):
    """A GENEVE header, and AWS's options; an option that is missing or of another length is None in `options`."""

    header: geneve.Header
    options: aws.AwsOptions


class Dissection(NamedTuple):
    """A frame taken apart.

    `outer` is the first IP packet; `inner` the one inside GENEVE, None without a tunnel or when unreadable.
    """

    ethertype: int
    outer: Layer | None
    tunnel: TunnelLayer | None
    inner: Layer | None
    trouble: str = ""

    @property
    def flow_layer(self) -> Layer | None:
        """The packet that belongs to a user's flow: the inner one, or the only one."""
        return self.inner if self.tunnel else self.outer


_NO_OPTIONS = aws.AwsOptions(None, None, None)


def dissect(captured: CapturedPacket) -> Dissection:
    """Take a captured packet apart."""
    return dissect_frame(captured.data, captured.interface.link_type, cut=captured.is_cut)


def dissect_frame(frame: bytes, link_type: int = link.ETHERNET, *, cut: bool = False) -> Dissection:
    """Take a frame apart; `cut` when the capture has only its beginning."""
    ethertype, payload = link.unlink(link_type, frame)
    if ethertype not in (link.TYPE_IPV4, link.TYPE_IPV6):
        return Dissection(ethertype, None, None, None)
    try:
        outer = _layer(payload, cut)
    except WireError as error:
        return Dissection(ethertype, None, None, None, str(error))
    if (
        outer.ip.protocol != UDP
        or outer.ip.is_fragment
        or geneve.PORT not in (outer.ip.source_port, outer.ip.destination_port)
    ):
        return Dissection(ethertype, outer, None, None)
    datagram = outer.payload[8:]
    try:
        header, offset = geneve.decode(datagram)
    except WireError as error:
        return Dissection(ethertype, outer, None, None, f"not GENEVE: {error}")
    tunnel, trouble = _tunnel(header)
    inner_type, packet = header.protocol_type, datagram[offset:]
    if inner_type == geneve.PROTOCOL_ETHERNET:
        inner_type, packet = link.unlink(link.ETHERNET, packet)
    if inner_type not in (link.TYPE_IPV4, link.TYPE_IPV6):
        return Dissection(ethertype, outer, tunnel, None, trouble or f"inside: {link.ethertype_name(inner_type)}")
    try:
        return Dissection(ethertype, outer, tunnel, _layer(packet, cut), trouble)
    except WireError as error:
        return Dissection(ethertype, outer, tunnel, None, trouble or f"inside: {error}")


def _layer(packet: bytes, cut: bool) -> Layer:
    ip = decode_ip(packet, quoted=cut)
    return Layer(ip, packet[: ip.total_length])


def _tunnel(header: geneve.Header) -> tuple[TunnelLayer, str]:
    try:
        return TunnelLayer(header, aws.parse(header)), ""
    except WireError as error:
        return TunnelLayer(header, _NO_OPTIONS), str(error)
