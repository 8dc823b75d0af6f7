"""The tunnel that a packet carries, as far as it can be told: GENEVE, VXLAN, GRE, IP in IP.

Unlike `wire.geneve`, which refuses what a node must drop, this tells what is there and what is wrong with it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gwlbemu.capture import link
from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import GRE, UDP

VXLAN_PORT = 4789
_IP_IN_IP = {4: link.TYPE_IPV4, 41: link.TYPE_IPV6}  # protocol numbers, RFC 2003 and RFC 4213
_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 7


class TunnelLayer(NamedTuple):
    """A GENEVE header, and AWS's options; an option that is missing or of another length is None in `options`.

    `reserved` says in which places reserved bits are set: RFC 8926 has a receiver ignore them.
    """

    header: geneve.Header
    options: aws.AwsOptions
    reserved: tuple[str, ...] = ()


class Opened(NamedTuple):
    """A tunnel and what is inside: an ethertype and the bytes; ethertype 0 when that cannot be told.

    `geneve` is None for the other tunnels, and when the header could not be read. `trouble` says what was odd.
    """

    kind: str
    ethertype: int
    payload: bytes
    geneve: TunnelLayer | None = None
    trouble: str = ""
    detail: str = ""


def open_tunnel(ip: IpPacket, payload: bytes, cut: bool) -> Opened | None:
    """Open the tunnel in the payload of an IP packet; None when there is none. `cut`: the payload may end early."""
    if ip.protocol == UDP:
        if ip.is_fragment or len(payload) < 8:
            return None
        length = payload[4] << 8 | payload[5]
        datagram = payload[8:length] if length >= 8 else payload[8:]
        if geneve.PORT in (ip.source_port, ip.destination_port):
            return _open_geneve(datagram, cut)
        if ip.destination_port == VXLAN_PORT:
            return _open_vxlan(datagram, cut)
    elif ip.protocol in _IP_IN_IP and not ip.is_fragment:
        return Opened("ip in ip", _IP_IN_IP[ip.protocol], payload)
    elif ip.protocol == GRE and not ip.is_fragment:
        return _open_gre(payload, cut)
    return None


def _open_geneve(data: bytes, cut: bool) -> Opened:
    if len(data) < geneve.BASE_LENGTH:
        short = "the capture ends in GENEVE's header" if cut else f"{len(data)} bytes are too short for GENEVE's header"
        return Opened("geneve", 0, b"", None, short)
    if data[0] >> 6:
        return Opened("geneve", 0, b"", None, f"GENEVE version {data[0] >> 6}, expected 0")
    end = geneve.BASE_LENGTH + (data[0] & 0x3F) * 4
    layer, trouble = _read_header(data[:end])
    if end > len(data):
        claimed = f"{end - geneve.BASE_LENGTH} bytes of options, {len(data) - geneve.BASE_LENGTH} there"
        trouble = "the capture ends in GENEVE's options" if cut else f"GENEVE claims {claimed}"
        return Opened("geneve", 0, b"", layer, trouble)
    ethertype, payload = layer.header.protocol_type, data[end:]
    if ethertype == geneve.PROTOCOL_ETHERNET:
        ethertype, payload, _ = link.unlink(link.ETHERNET, payload)
    return Opened("geneve", ethertype, payload, layer, trouble)


@lru_cache(1 << 12)
def _read_header(data: bytes) -> tuple[TunnelLayer, str]:
    """Read a header, as far as it is there, and say what is wrong with it; a flow's packets all have the same."""
    options, reserved, trouble = _options(data, len(data))
    if data[1] & 0x3F or data[7]:
        reserved.insert(0, "the header")
    header = geneve.Header(
        data[2] << 8 | data[3],
        int.from_bytes(data[4:7], "big"),
        tuple(options),
        bool(data[1] & 0x80),
        bool(data[1] & 0x40),
    )
    try:
        ours = aws.parse(header)
    except WireError as error:
        ours, trouble = aws.AwsOptions(), trouble or str(error)
    return TunnelLayer(header, ours, tuple(reserved)), trouble


def _options(data: bytes, end: int) -> tuple[list[geneve.Option], list[str], str]:
    """Return the options up to `end`, which of them have reserved bits set, and what is wrong with the last."""
    at, options, reserved = geneve.BASE_LENGTH, list[geneve.Option](), list[str]()
    while at < end:
        if at + 4 > end:
            return options, reserved, f"{end - at} bytes are too short for a GENEVE option"
        option_class, kind, length = data[at] << 8 | data[at + 1], data[at + 2], (data[at + 3] & 0x1F) * 4
        name = f"option {option_class:04x}/{kind & 0x7F:02x}"
        if at + 4 + length > end:
            left = end - at - 4
            return (
                options,
                reserved,
                f"GENEVE {name} overruns: it claims {length} bytes, {left} of the options are left",
            )
        if data[at + 3] & 0xE0:
            reserved.append(name)
        options.append(geneve.Option(option_class, kind & 0x7F, data[at + 4 : at + 4 + length], bool(kind & 0x80)))
        at += 4 + length
    return options, reserved, ""


def _open_vxlan(data: bytes, cut: bool) -> Opened | None:
    """RFC 7348 section 5: flags with the I bit, the network's number, an Ethernet frame."""
    if len(data) < 8:
        return Opened("vxlan", 0, b"", None, "the capture ends in VXLAN's header") if cut else None
    if not data[0] & 0x08:
        return None
    ethertype, payload, _ = link.unlink(link.ETHERNET, data[8:])
    return Opened("vxlan", ethertype, payload, detail=f"vni {int.from_bytes(data[4:7], 'big')}")


def _open_gre(data: bytes, cut: bool) -> Opened | None:
    """RFC 2784 and RFC 2890; other versions and source routes are not opened."""
    if len(data) < 4:
        return Opened("gre", 0, b"", None, "the capture ends in GRE's header") if cut else None
    flags, ethertype = data[0] << 8 | data[1], data[2] << 8 | data[3]
    if flags & (_GRE_ROUTING | _GRE_VERSION):
        return None
    size = 4 + sum(4 for bit in (_GRE_CHECKSUM, _GRE_KEY, _GRE_SEQUENCE) if flags & bit)
    key = 4 + (4 if flags & _GRE_CHECKSUM else 0)
    detail = f"key {int.from_bytes(data[key : key + 4], 'big')}" if flags & _GRE_KEY and len(data) >= key + 4 else ""
    payload = data[size:]
    if ethertype == geneve.PROTOCOL_ETHERNET:
        ethertype, payload, _ = link.unlink(link.ETHERNET, payload)
    return Opened("gre", ethertype, payload, detail=detail)
