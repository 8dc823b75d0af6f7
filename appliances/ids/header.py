"""The head of a rule: `tcp [10.0.0.0/8,!10.1.0.0/16] any -> any 80:90` (Suricata user guide, Rules Format).

A set with positive members holds what one of them holds and no negated member holds; a set of negated members alone
starts from everything. Group variables ($HOME_NET) are refused: the rule file has to say the addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from appliances.networks import Network, PortRange, parse_network, parse_ports
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP

PROTOCOLS: dict[str, frozenset[int]] = {
    "tcp": frozenset({TCP}),
    "udp": frozenset({UDP}),
    "icmp": frozenset({ICMP, ICMPV6}),
    "ip": frozenset(),  # every protocol
}
T = TypeVar("T", Network, PortRange)


class Group(NamedTuple, Generic[T]):
    """A set of addresses or ports; without members it holds everything."""

    members: tuple[T, ...] = ()
    excluded: tuple[T, ...] = ()


class Header(NamedTuple):
    """What a rule asks of the 5-tuple."""

    protocols: frozenset[int]
    sources: Group[Network]
    source_ports: Group[PortRange]
    destinations: Group[Network]
    destination_ports: Group[PortRange]
    both_ways: bool

    def matches(self, protocol: int, source: bytes, destination: bytes, ports: tuple[int, int] | None) -> bool:
        """Tell whether a packet's 5-tuple fits; `ports` is None where the protocol has none."""
        if self.protocols and protocol not in self.protocols:
            return False
        if self._one_way(source, destination, ports):
            return True
        return self.both_ways and self._one_way(destination, source, ports and (ports[1], ports[0]))

    def _one_way(self, source: bytes, destination: bytes, ports: tuple[int, int] | None) -> bool:
        return (
            _address_in(self.sources, source)
            and _address_in(self.destinations, destination)
            and _port_in(self.source_ports, ports and ports[0])
            and _port_in(self.destination_ports, ports and ports[1])
        )


def parse_header(text: str) -> Header:
    """Read protocol, addresses, ports and direction; raise ValueError with what was expected."""
    words = _words(text)
    if len(words) != 6:
        raise ValueError(
            f"expected 'protocol source port -> destination port' (no space inside lists), got {text.strip()!r}"
        )
    protocol, source, source_port, arrow, destination, destination_port = words
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol}: not in the subset, expected one of {', '.join(PROTOCOLS)}")
    if arrow not in ("->", "<>"):
        raise ValueError(f"direction {arrow}: expected -> or <>")
    header = Header(
        PROTOCOLS[protocol],
        _group(source, parse_network),
        _group(source_port, _parse_range),
        _group(destination, parse_network),
        _group(destination_port, _parse_range),
        arrow == "<>",
    )
    if protocol in ("icmp", "ip") and (source_port, destination_port) != ("any", "any"):
        wanted = "any, it has none" if protocol == "icmp" else "protocol tcp or udp (any would be every port)"
        raise ValueError(f"ports with protocol {protocol}: expected {wanted}")
    return header


def _words(text: str) -> list[str]:
    """Split at spaces outside of lists."""
    words, depth, word = [], 0, ""
    for letter in text.strip() + " ":
        depth += (letter == "[") - (letter == "]")
        if letter.isspace() and depth <= 0:
            if word:
                words.append(word)
            word = ""
        elif not letter.isspace():
            word += letter
    return words if depth == 0 else []


def _group(text: str, read: Callable[[str], T]) -> Group[T]:
    if text == "any":
        return Group()
    negated, text = text.startswith("!"), text.removeprefix("!")
    listed = text.startswith("[") and text.endswith("]")
    members: list[T] = []
    excluded: list[T] = []
    for item in text[1:-1].split(",") if listed else [text]:
        inner_negated = item.startswith("!")
        item = item.removeprefix("!")
        if "$" in item:
            raise ValueError(f"variable {item}: not in the subset, write the addresses or ports")
        if "[" in item or "]" in item:
            raise ValueError(f"list inside a list: not in the subset, got {text!r}")
        if item == "any" and (negated or inner_negated):
            raise ValueError("!any: holds nothing, expected an address or port set")
        if inner_negated and negated:
            raise ValueError(f"negation of a negated member: not in the subset, got !{text}")
        if item == "any":
            raise ValueError(f"any inside a list: expected addresses or ports, got {text!r}")
        (excluded if negated or inner_negated else members).append(read(item))
    return Group(tuple(members), tuple(excluded))


def _parse_range(text: str) -> PortRange:
    return parse_ports(text, ":")


def _address_in(group: Group[Network], address: bytes) -> bool:
    if group.members and not any(network.holds(address) for network in group.members):
        return False
    return not any(network.holds(address) for network in group.excluded)


def _port_in(group: Group[PortRange], port: int | None) -> bool:
    if not group.members and not group.excluded:
        return True
    if port is None:
        return False
    if group.members and not any(low <= port <= high for low, high in group.members):
        return False
    return not any(low <= port <= high for low, high in group.excluded)
