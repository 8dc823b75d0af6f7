"""Checksums and lengths of every layer, judged: IPv4, TCP, UDP, ICMP, ICMPv6.

A checksum that holds the sum of the pseudo-header alone is *unfinished*: the sender's kernel leaves the rest to a
network card (checksum offload), and a capture on a virtual link sees it like that.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from gwlbemu.capture.dissect import Dissection, Layer
from gwlbemu.capture.tunnels import VXLAN_PORT
from gwlbemu.wire import geneve
from gwlbemu.wire.checksum import internet, total
from gwlbemu.wire.protocols import DESTINATION_OPTIONS, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, TCP, UDP
from gwlbemu.wire.protocols import name as protocol_name

_FIELDS = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}  # where the checksum stands in the upper layer's header
_SMALLEST = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 4}
_LAST_SEGMENT = {0: "last", 2: "last", 4: "first"}  # where a routing header of this type has its last segment
_HOME_ADDRESS = b"\xc9\x10"
_SOURCE_ROUTES = (131, 137)  # IPv4 options


class State(Enum):
    """What became of a checksum."""

    RIGHT = "right"
    WRONG = "wrong"
    UNFINISHED = "unfinished"
    ABSENT = "absent"  # UDP's 0 over IPv4, and of a tunnel over IPv6 (RFC 6935)
    UNJUDGED = "unjudged"  # a fragment, a packet that was cut


class Check(NamedTuple):
    """A checksum: of which layer, what is there and what belongs there (None: cannot be told)."""

    layer: str
    there: int
    expected: int | None
    state: State

    @property
    def text(self) -> str:
        """The check in words: `inner TCP checksum 0x1234, expected 0xabcd`."""
        if self.state is State.WRONG and self.expected is not None:
            return f"{self.layer} checksum 0x{self.there:04x}, expected 0x{self.expected:04x}"
        return f"{self.layer} checksum {self.state.value}"


def judge(dissection: Dissection) -> list[Check]:
    """Return the checks of every IP packet in a frame, outermost first."""
    return [check for place, layer in _placed(dissection) for check in judge_layer(layer, place)]


def judge_layer(layer: Layer, place: str = "") -> list[Check]:
    """Return the checks of one IP packet: its header's, its upper layer's; `place` stands in front of their names."""
    checks = [_judge_ip(f"{place}IP", layer)] if layer.ip.version == 4 else []
    if layer.ip.protocol in _FIELDS and (upper := _judge_upper(place, layer)):
        checks.append(upper)
    return checks


def wrong_lengths(dissection: Dissection) -> list[str]:
    """Return which UDP lengths do not fit their packet, in words."""
    wrong = []
    for place, layer in _placed(dissection):
        if layer.ip.protocol == UDP and not layer.ip.is_fragment and not layer.jumbo and len(layer.payload) >= 8:
            claimed, there = _udp_length(layer), layer.ip.total_length - layer.ip.header_length
            if claimed != there:
                wrong.append(f"{place}UDP length {claimed}, {there} bytes there")
    return wrong


def _placed(dissection: Dissection) -> list[tuple[str, Layer]]:
    """Each IP packet with the word that tells it from the others."""
    tunnelled = dissection.tunnel is not None or bool(dissection.carried)
    placed: list[tuple[str, Layer]] = []
    if dissection.outer:
        placed.append(("outer " if tunnelled else "", dissection.outer))
    inside = [dissection.inner, *(carried.layer for carried in dissection.carried)]
    placed += [("inner ", layer) for layer in inside if layer]
    return placed


def _judge_ip(name: str, layer: Layer) -> Check:
    head = layer.data[: layer.ip.header_length]
    there = head[10] << 8 | head[11]
    if total(head) % 65535 == 0:
        return Check(name, there, there, State.RIGHT)
    return Check(name, there, internet(head[:10] + b"\0\0" + head[12:]), State.WRONG)


def _judge_upper(place: str, layer: Layer) -> Check | None:
    ip, segment = layer.ip, layer.payload
    at = _FIELDS[ip.protocol]
    if ip.fragment_offset or (ip.protocol, ip.version) in ((ICMP, 6), (ICMPV6, 4)) or len(segment) < at + 2:
        return None
    name = f"{place}{protocol_name(ip.protocol).upper().replace('V6', 'v6')}"
    there = segment[at] << 8 | segment[at + 1]
    if ip.protocol == UDP and not there:
        tunnel = geneve.PORT in (ip.source_port, ip.destination_port) or ip.destination_port == VXLAN_PORT
        return Check(name, 0, None, State.ABSENT) if ip.version == 4 or tunnel else _zero_over_ipv6(name, layer)
    ends = _ends(layer)
    if ends is None or ip.is_fragment or not layer.is_whole or len(segment) < _SMALLEST[ip.protocol]:
        return Check(name, there, None, State.UNJUDGED)
    if ip.protocol == UDP and not layer.jumbo:
        length = _udp_length(layer)
        if not 8 <= length <= len(segment):
            return Check(name, there, None, State.UNJUDGED)
        segment = segment[:length]
    pseudo = 0 if ip.protocol == ICMP else total(ends) + ip.protocol + len(segment)
    number = total(segment) + pseudo
    if number % 65535 == 0:
        return Check(name, there, there, State.RIGHT)
    expected = (there - number) % 65535 or (0xFFFF if ip.protocol == UDP else 0)
    if ip.protocol in (TCP, UDP) and (there - pseudo) % 65535 == 0:
        return Check(name, there, expected, State.UNFINISHED)
    return Check(name, there, expected, State.WRONG)


def _zero_over_ipv6(name: str, layer: Layer) -> Check:
    """UDP over IPv6 must have a checksum (RFC 8200 8.1)."""
    if not layer.is_whole or layer.ip.is_fragment or _udp_length(layer) != len(layer.payload):
        return Check(name, 0, None, State.UNJUDGED)
    ip, segment = layer.ip, layer.payload
    number = total(segment) + total(ip.source) + total(ip.destination) + UDP + len(segment)
    return Check(name, 0, -number % 65535 or 0xFFFF, State.WRONG)


def _udp_length(layer: Layer) -> int:
    return layer.payload[4] << 8 | layer.payload[5]


def _ends(layer: Layer) -> bytes | None:
    """Return the addresses that an upper checksum is of; None when they cannot be told.

    While segments are left, the destination is a routing header's last (RFC 8200 8.1); with a home address option, the
    source is that address (RFC 6275 6.3); of IPv4's source routes nothing is known here.
    """
    ip, data = layer.ip, layer.data
    if ip.version == 4:
        routed = any(kind in data[20 : ip.header_length] for kind in _SOURCE_ROUTES)
        return None if routed else ip.source + ip.destination
    source, destination, following, at = ip.source, ip.destination, data[6], 40
    while at + 8 <= ip.header_length and following in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
        end = at + (data[at + 1] + 1) * 8
        if following == ROUTING and data[at + 3]:
            kind = data[at + 2]
            if kind not in _LAST_SEGMENT or end - at < 24:
                return None
            last = at + 8 if _LAST_SEGMENT[kind] == "first" else end - 16
            destination = data[last : last + 16]
        elif following == DESTINATION_OPTIONS:
            source = _home_address(data[at + 2 : end]) or source
        following, at = data[at], end
    return source + destination


def _home_address(options: bytes) -> bytes:
    at = 0
    while at + 2 <= len(options):
        if options[at : at + 2] == _HOME_ADDRESS:
            return options[at + 2 : at + 18]
        at += 1 if not options[at] else 2 + options[at + 1]
    return b""
