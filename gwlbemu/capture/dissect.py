"""From a captured frame to the values that people ask about: outer head, GENEVE, inner head, what that carries.

Never fails: `trouble` says what was odd.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.capture import link
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.tunnels import Opened, TunnelLayer, open_tunnel
from gwlbemu.errors import WireError
from gwlbemu.wire.ip import IpPacket, decode_ip
from gwlbemu.wire.protocols import HOP_BY_HOP

_MOST_TUNNELS = 8
_PADDING = bytes(512)  # what a head could still need
_LONGEST_LENGTH = 0xFFFF
_JUMBO = b"\xc2\x04"  # RFC 2675: option 194 of a hop-by-hop header, four bytes


class Layer(NamedTuple):
    """One IP packet: its head and its bytes, without padding, as far as they were captured.

    `jumbo`: its length did not fit the header's field, which is 0 (BIG TCP, RFC 2675).
    """

    ip: IpPacket
    data: bytes
    jumbo: bool = False

    @property
    def payload(self) -> bytes:
        """What follows the IP headers."""
        return self.data[self.ip.header_length :]

    @property
    def is_whole(self) -> bool:
        """Nothing of it is missing in the capture."""
        return len(self.data) == self.ip.total_length

    @property
    def dont_fragment(self) -> bool:
        """IPv4's DF bit."""
        return self.ip.version == 4 and self.data[6] & 0x40 != 0


class Carried(NamedTuple):
    """A further tunnel inside the flow's packet: `kind` in words, and the packet in it, None when that is not IP."""

    kind: str
    tunnel: TunnelLayer | None
    layer: Layer | None
    ethertype: int


class Dissection(NamedTuple):
    """A frame taken apart.

    `outer` is the first IP packet; `inner` the one inside GENEVE, None without a tunnel or when unreadable; `carried`
    what the flow's packet is a tunnel for in its turn, outermost first.
    """

    ethertype: int
    outer: Layer | None
    tunnel: TunnelLayer | None
    inner: Layer | None
    trouble: str = ""
    vlans: tuple[int, ...] = ()
    carried: tuple[Carried, ...] = ()

    @property
    def flow_layer(self) -> Layer | None:
        """The packet that belongs to a user's flow: the inner one, or the only one."""
        return self.inner if self.tunnel else self.outer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every IP packet, outermost first."""
        inside = [carried.layer for carried in self.carried if carried.layer]
        return tuple(layer for layer in (self.outer, self.inner, *inside) if layer)


def dissect(captured: CapturedPacket) -> Dissection:
    """Take a captured packet apart."""
    missing = captured.original_length - len(captured.data)
    return dissect_frame(captured.data, captured.interface.link_type, missing=max(missing, 0))


def dissect_frame(frame: bytes, link_type: int = link.ETHERNET, *, missing: int = 0) -> Dissection:
    """Take a frame apart; `missing` bytes at its end were not captured."""
    ethertype, payload, vlans = link.unlink(link_type, frame)
    if ethertype not in (link.TYPE_IPV4, link.TYPE_IPV6):
        trouble = "" if link_type in link.KNOWN else f"link type {link_type} is not read"
        return Dissection(ethertype, None, None, None, trouble, vlans)
    outer, trouble = _layer(payload, missing, "", ethertype)
    if outer is None:
        return Dissection(ethertype, None, None, None, trouble, vlans)
    opened = open_tunnel(outer.ip, outer.payload, missing > 0)
    if opened is None:
        return Dissection(ethertype, outer, None, None, trouble, vlans)
    if opened.kind != "geneve":
        carried, more = _carried(opened, missing)
        return Dissection(ethertype, outer, None, None, trouble or more, vlans, carried)
    inner, more = _inside(opened, missing)
    trouble = trouble or more
    carried = ()
    if inner is not None and (deeper := open_tunnel(inner.ip, inner.payload, missing > 0)):
        carried, more = _carried(deeper, missing)
        trouble = trouble or more
    return Dissection(ethertype, outer, opened.geneve, inner, trouble, vlans, carried)


def _inside(opened: Opened, missing: int) -> tuple[Layer | None, str]:
    """The IP packet in a tunnel, and what was odd about either."""
    if opened.ethertype in (link.TYPE_IPV4, link.TYPE_IPV6):
        layer, trouble = _layer(opened.payload, missing, "inside: ", opened.ethertype)
        return layer, opened.trouble or trouble
    if opened.trouble:
        return None, opened.trouble
    if opened.geneve and not opened.ethertype:
        return None, f"inside: protocol type 0x{opened.geneve.header.protocol_type:04x}, {len(opened.payload)} bytes"
    return None, f"inside: {link.ethertype_name(opened.ethertype)}"


def _carried(opened: Opened | None, missing: int) -> tuple[tuple[Carried, ...], str]:
    """Every further tunnel, and the first thing that was odd."""
    found: list[Carried] = []
    trouble = ""
    while opened and len(found) < _MOST_TUNNELS and not trouble:
        layer, trouble = _inside(opened, missing)
        kind = f"{opened.kind} {opened.detail}".strip()
        found.append(Carried(kind, opened.geneve, layer, opened.ethertype))
        opened = open_tunnel(layer.ip, layer.payload, missing > 0) if layer else None
    return tuple(found), trouble


def _layer(packet: bytes, missing: int, where: str, ethertype: int) -> tuple[Layer | None, str]:
    """An IP packet, or why it cannot be read; and what is odd about one that can."""
    try:
        ip = decode_ip(packet, quoted=missing > 0)
    except WireError as error:
        jumbo = _jumbo(packet, missing)
        if jumbo is not None:
            return jumbo, ""
        if missing and _could_be_read(packet):
            return None, f"{where}the capture ends in the IP header" if packet else f"{where}not captured"
        return None, f"{where}{error}"
    if ip.total_length > len(packet) + missing:
        return None, f"{where}IPv{ip.version} total length {ip.total_length}, {len(packet) + missing} bytes there"
    if ip.version == 6 and ip.total_length == 40 and (jumbo := _jumbo(packet, missing)):
        return jumbo, ""
    odd = ethertype != (link.TYPE_IPV4 if ip.version == 4 else link.TYPE_IPV6)
    return Layer(ip, packet[: ip.total_length]), f"{where}IPv{ip.version} under ethertype 0x{ethertype:04x}" * odd


def _could_be_read(packet: bytes) -> bool:
    """Whether more bytes would have made it a packet."""
    try:
        decode_ip(packet + _PADDING if packet else b"\x45", quoted=True)
    except WireError:
        return not packet
    return True


def _jumbo(packet: bytes, missing: int) -> Layer | None:
    """A packet whose length field is 0 because it is too long for it: BIG TCP's for IPv4, a jumbogram for IPv6."""
    there = len(packet) + missing
    if packet[:1] and packet[0] >> 4 == 4 and packet[2:4] == b"\0\0" and len(packet) >= 20:
        length, patched = there, packet[:2] + b"\xff\xff" + packet[4:]
    elif len(packet) >= 48 and packet[0] >> 4 == 6 and packet[4:7] == bytes((0, 0, HOP_BY_HOP)):
        at = packet.find(_JUMBO, 42, 40 + (packet[41] + 1) * 8)
        if at < 0:
            return None
        length = 40 + int.from_bytes(packet[at + 2 : at + 6], "big")
        patched = packet[:4] + b"\xff\xff" + packet[6:]
    else:
        return None
    if not _LONGEST_LENGTH < length <= there:
        return None
    try:
        ip = decode_ip(patched, quoted=True)
    except WireError:
        return None
    return Layer(ip._replace(total_length=length), packet[:length], jumbo=True)
