"""`--flow`: which packets to show.

Words, all of which must hold: a protocol (`tcp udp icmp gre esp` or a number), one end or two joined with `-`
(`198.51.100.10:40000-10.0.1.10:80`, `10.0.1.10`, `:80`, `10.0.0.0/16-:443`, `[fd00::1]:80`, `fd00::1`, and behind a
protocol a bare port: `tcp 80`),
`cookie=0x98ef1b00`, `endpoint=vpce-02356de92d389839c`. Ends are of the inner packet where there is a tunnel, or of
one that it carries in turn, in either direction; an ICMP error also matches by the packet that it quotes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from gwlbemu.capture.dissect import Dissection, Layer
from gwlbemu.capture.text import icmp_head
from gwlbemu.errors import SettingError, WireError
from gwlbemu.wire.aws import parse_endpoint
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import ICMP, ICMPV6, NAMES

_PROTOCOLS = {name: frozenset((number,)) for number, name in NAMES.items()} | {"icmp": frozenset((ICMP, ICMPV6))}
_EXAMPLE = "expected e.g. tcp 198.51.100.10:40000-10.0.1.10:80, a single address, :80, cookie=0x98ef1b00"


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """One end of a flow; None leaves that part open."""

    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def matches(self, address: bytes, port: int) -> bool:
        """Return whether an address and a port are this end's."""
        if self.port is not None and port != self.port:
            return False
        if self.network is None:
            return True
        if len(address) * 8 != self.network.max_prefixlen:
            return False
        return int.from_bytes(address, "big") & int(self.network.netmask) == int(self.network.network_address)


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """What every shown packet must have; None leaves that part open."""

    protocols: frozenset[int] | None = None
    one: FlowEnd = FlowEnd()
    other: FlowEnd = FlowEnd()
    cookie: int | None = None
    endpoint: int | None = None

    @property
    def has_ends(self) -> bool:
        """Whether it is about addresses or ports, and not about what stands in a tunnel's options."""
        return self.cookie is None is self.endpoint and not self.one == self.other == FlowEnd()

    def matches(self, dissection: Dissection) -> bool:
        """Tell whether to show a packet."""
        options = dissection.tunnel.options if dissection.tunnel else None
        if self.cookie is not None and (options is None or options.flow_cookie != self.cookie):
            return False
        if self.endpoint is not None and (options is None or options.endpoint_id != self.endpoint):
            return False
        if self.protocols is None and self.one == self.other == FlowEnd():
            return True
        flow_layer = dissection.flow_layer
        inside = [carried.layer for carried in dissection.carried]
        return any(self._holds_in(layer) for layer in (flow_layer, *inside) if layer)

    def _holds_in(self, layer: Layer) -> bool:
        icmp = icmp_head(layer)
        return self._holds(layer.ip) or (icmp is not None and icmp.quoted is not None and self._holds(icmp.quoted))

    def _holds(self, ip: IpPacket) -> bool:
        if self.protocols is not None and ip.protocol not in self.protocols:
            return False
        source, destination = (ip.source, ip.source_port), (ip.destination, ip.destination_port)
        return (self.one.matches(*source) and self.other.matches(*destination)) or (
            self.one.matches(*destination) and self.other.matches(*source)
        )


def parse_flow(expression: str) -> FlowFilter:
    """Read a `--flow` expression. Raises SettingError that names the word."""
    protocols: frozenset[int] | None = None
    ends: tuple[FlowEnd, FlowEnd] | None = None
    cookie = endpoint = None
    for word in expression.split():
        try:
            if word.lower() in _PROTOCOLS:
                protocols = _PROTOCOLS[word.lower()]
            elif word.isdecimal() and protocols is None and int(word) < 256:
                protocols = frozenset((int(word),))
            elif word.isdecimal() and protocols is not None and ends is None:
                ends = _end(f":{word}"), FlowEnd()
            elif word.startswith("cookie="):
                cookie = int(word.removeprefix("cookie="), 16)
            elif word.startswith("endpoint="):
                endpoint = parse_endpoint(word.removeprefix("endpoint="))
            elif ends is None:
                one, _, other = word.partition("-")
                ends = _end(one), _end(other)
            else:
                raise ValueError("the ends were given before")
        except (ValueError, WireError) as error:
            raise SettingError(f"--flow: {word!r} is not understood ({error}); {_EXAMPLE}") from error
    if not expression.split():
        raise SettingError(f"--flow is empty; {_EXAMPLE}")
    return FlowFilter(protocols, *(ends or (FlowEnd(), FlowEnd())), cookie=cookie, endpoint=endpoint)


def _end(text: str) -> FlowEnd:
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("an IPv6 end is [address] or [address]:port")
        port = port[1:]
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    if port and not (port.isdecimal() and int(port) <= 0xFFFF):
        raise ValueError(f"{port!r} is not a port")
    return FlowEnd(ip_network(address) if address else None, int(port) if port else None)
