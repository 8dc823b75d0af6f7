"""The hot way through a capture: packets that differ from one that was taken apart only where packets of a flow do.

Usual is Ethernet with IPv4 without options, TCP or UDP, no fragment, bare or inside GENEVE over IPv4, with lengths that
agree and no wrong checksum. The first packet with a head is taken apart by `dissect` and rendered by `render`; what it
has in common with the others is kept, and of those only lengths, sequence numbers and checksums are looked at. Any
other packet goes the careful way. A test holds both ways to the same text and the same journeys.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import NamedTuple

from gwlbemu.capture.dissect import Dissection, Layer, dissect
from gwlbemu.capture.journey import LASTING, Look, PacketIdentity, Sighting, drop_reason, lasting_tcp, lasting_udp, look
from gwlbemu.capture.link import ETHERNET
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.render import outer_text, tunnel_text
from gwlbemu.capture.text import head_text, tail_text
from gwlbemu.capture.tunnels import VXLAN_PORT
from gwlbemu.wire import geneve
from gwlbemu.wire.checksum import total
from gwlbemu.wire.protocols import TCP, UDP
from gwlbemu.wire.tcp import ACK, SYN, flags_text

_START, _GENEVE_PORT = b"\x08\x00\x45", b"\x17\xc1"
_IP, _UDP_HEAD = 14, 34  # where they begin behind Ethernet
_BARE = Struct(">15xcHH4s2x12s")  # TOS, total length, id; flags to protocol; addresses and ports
_TCP = Struct(">4xIIBBHH")
_UDP = Struct(">4xHH")
_MOST_HEADS, _MOST_SUMS = 1 << 14, 1 << 9
_WORTH_KEEPING = 200  # bytes of payload: the sum of fewer is found sooner than looked up
_DOING = [(f" [{flags_text(flags)}] seq ", flags & ACK != 0) for flags in range(256)]
_new = tuple.__new__


@cache
def _tunnelled(option_bytes: int) -> Struct:
    """The places of a packet in GENEVE with so many bytes of options: outer head, GENEVE header, inner head."""
    return Struct(f">15xcH2x4s2x12sHH{8 + option_bytes}s2sHH4s2x12s")


class UsualHead(NamedTuple):
    """What packets with one head have in common. `refused` says why they are not shown, "" when they are; `at` is where
    the flow's packet begins; `pseudo` and `outer_pseudo` are the sums of addresses and protocol; `before`, `flow`
    (the same without the tunnel) and `after` are parts of the text.
    """

    refused: str
    at: int
    protocol: int
    before: str
    flow: str
    after: str
    pseudo: int
    outer_pseudo: int
    look: Look


class UsualPacket(NamedTuple):
    """A usual packet: its head, and what is its own. `identification` is the IP id, `length` the payload's bytes;
    `unfinished` of its checksums were left to a network card; `doing` is what a TCP segment does, in words.
    """

    head: UsualHead
    doing: str
    length: int
    identification: int
    unfinished: bool

    @property
    def text(self) -> str:
        """The packet as `render.content` has it."""
        head = self.head
        return f"{head.before}{self.doing} len {self.length}{head.after}"

    def sighting(self, captured: CapturedPacket) -> Sighting:
        """The packet as `journey.sighting` has it."""
        head, frame, upper = self.head, captured.data, self.head.at + 20
        if head.protocol == TCP:
            size = self.length + ((frame[upper + 12] >> 4) << 2)
            lasting = frame[upper + 4 : upper + 16] + frame[upper + 18 : upper + min(size, LASTING)]
            if frame[upper + 13] & SYN:
                lasting = lasting_tcp(frame[upper : upper + min(size, LASTING)])
        else:
            size = self.length + 8
            lasting = lasting_udp(frame[upper : upper + min(size, LASTING)], self.identification)
        identity = _new(PacketIdentity, (4, head.protocol, self.identification, size, 0, lasting))
        summary = f"{head.flow}{self.doing} len {self.length}{head.after}"
        return _new(
            Sighting,
            (
                captured.at_ns, captured.interface.name, captured.direction, identity, frame[:12], head.look, summary,
                drop_reason(captured.comments) if captured.comments else "",
            ),
        )  # fmt: skip


class UsualPackets:
    """Remembers heads; `refuse` is asked once for each, why it is not shown ("": it is)."""

    def __init__(self, refuse: Callable[[Dissection], str]) -> None:
        self._refuse = refuse
        self._heads: dict[tuple[object, ...], UsualHead | None] = {}
        self._sums: dict[bytes, int] = {}

    def read(self, captured: CapturedPacket) -> UsualPacket | None:
        """Return a usual packet; None for any other, which is to be taken apart."""
        frame = captured.data
        if frame[12:15] != _START or captured.interface.link_type != ETHERNET or len(frame) < 54:
            return None
        if frame[36:38] == _GENEVE_PORT and frame[23] == UDP and not frame[20] & 0x3F and not frame[21]:
            return self._read_tunnelled(captured, frame)
        tos, length, identification, middle, ends = _BARE.unpack_from(frame)
        key = tos, middle, ends
        head = self._heads.get(key) or self._learn(key, captured, tunnelled=False)
        if head is None or _IP + length > captured.original_length or total(frame[14:34]) % 65535:
            return None
        return self._finish(head, captured, length, identification, None)

    def _read_tunnelled(self, captured: CapturedPacket, frame: bytes) -> UsualPacket | None:
        layout = _tunnelled((frame[42] & 63) * 4)
        if len(frame) < layout.size + _TCP.size:
            return None
        (
            tos, outer_length, outer_middle, outer_ends, udp_length, outer_checksum,
            geneve, start, length, identification, middle, ends,
        ) = layout.unpack_from(frame)  # fmt: skip
        key = tos, outer_middle, outer_ends, geneve, start, middle, ends
        head = self._heads.get(key) or self._learn(key, captured, tunnelled=True)
        if head is None:
            return None
        at = head.at
        if (
            outer_length != udp_length + 20
            or outer_length != length + at - _IP
            or _IP + outer_length > captured.original_length
            or int.from_bytes(frame[14:34], "big") % 65535
            or int.from_bytes(frame[at : at + 20], "big") % 65535
        ):
            return None
        outer = None
        if outer_checksum:
            outer = int.from_bytes(frame[34:at], "big") + head.outer_pseudo + udp_length
        return self._finish(head, captured, length, identification, outer)

    def _finish(
        self, head: UsualHead, captured: CapturedPacket, length: int, identification: int, outer: int | None
    ) -> UsualPacket | None:
        """Judge what is above IP. `outer` is the sum that the outer UDP checksum is of, up to the inner packet."""
        frame, at = captured.data, head.at
        upper, end = at + 20, at + length
        if head.protocol == TCP:
            sequence, acknowledgement, offset, flags, _, checksum = _TCP.unpack_from(frame, upper)
            size, payload_at = length - 20 - (offset >> 4) * 4, upper + 20
            if offset < 0x50 or size < 0:
                return None
            doing, has_ack = _DOING[flags]
            doing = f"{doing}{sequence} ack {acknowledgement}" if has_ack else f"{doing}{sequence}"
        else:
            udp_length, checksum = _UDP.unpack_from(frame, upper)
            size, payload_at, doing = length - 28, upper + 8, ""
            if udp_length != length - 20:
                return None
        unfinished = False
        if end <= len(frame):
            payload = frame[payload_at:end]
            known = self._sums.get(payload) if size > _WORTH_KEEPING else total(payload)
            if known is None:
                known = self._sum(payload)
            segment = int.from_bytes(frame[upper:payload_at], "big") + known
            pseudo = head.pseudo + length - 20
            if (segment + pseudo) % 65535 and (checksum or head.protocol == TCP):
                if (checksum - pseudo) % 65535:
                    return None
                unfinished = True
            if outer is not None and (outer + segment) % 65535:
                return None
        return _new(UsualPacket, (head, doing, size, identification, unfinished))

    def _sum(self, payload: bytes) -> int:
        """The sum of a payload that will be met again at the next tap."""
        if len(self._sums) >= _MOST_SUMS:
            self._sums.clear()
        found = self._sums[payload] = total(payload) % 65535
        return found

    def _learn(self, key: tuple[object, ...], captured: CapturedPacket, *, tunnelled: bool) -> UsualHead | None:
        """Take the first packet with a head apart; None when its kind is not usual."""
        if key in self._heads:
            return None
        dissection = dissect(captured)
        if dissection.trouble:  # the next one may be without
            return None
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        head = self._heads[key] = self._head(dissection, tunnelled)
        return head

    def _head(self, dissection: Dissection, tunnelled: bool) -> UsualHead | None:
        layer, outer, tunnel = dissection.flow_layer, dissection.outer, dissection.tunnel
        if layer is None or outer is None or (tunnel is not None) != tunnelled or not _is_usual(layer):
            return None
        at, before = _IP, ""
        if tunnel is not None:
            if tunnel.header.protocol_type != geneve.PROTOCOL_IPV4:
                return None
            at = _UDP_HEAD + 8 + tunnel.header.length
            before = f"{outer_text(dissection)}{tunnel_text(tunnel)} | "
        ip = layer.ip
        return UsualHead(
            self._refuse(dissection),
            at,
            ip.protocol,
            before + head_text(layer),
            head_text(layer),
            tail_text(layer),
            total(ip.source) + total(ip.destination) + ip.protocol,
            total(outer.ip.source) + total(outer.ip.destination) + UDP,
            look(dissection, layer),
        )


def _is_usual(layer: Layer) -> bool:
    """Whether packets with this one's head can be told from their own few bytes: no tunnel may begin in them."""
    ip = layer.ip
    if ip.version != 4 or ip.protocol not in (TCP, UDP) or ip.is_fragment or ip.header_length != 20 or layer.jumbo:
        return False
    return ip.protocol == TCP or not {geneve.PORT, VXLAN_PORT} & {ip.source_port, ip.destination_port}
