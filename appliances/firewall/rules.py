"""The firewall's rule file: what it may say, and which rule a packet meets first.

Rules of this file: the first rule that matches decides, no rule means the default action; a rule without a key matches
anything there; a rule with ports matches only TCP and UDP packets whose ports are visible (not later fragments).
Every error names the file, the rule's number (from 1), the key, and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from reprlib import repr as short
from typing import TypeVar

from appliances.networks import Network, PortRange, parse_network, parse_ports
from gwlbemu.errors import GwlbemuError, WireError
from gwlbemu.wire.aws import parse_endpoint
from gwlbemu.wire.protocols import ESP, GRE, ICMP, ICMPV6, TCP, UDP
from gwlbemu.yaml_file import YamlError, read, read_text

T = TypeVar("T")

ACTIONS = ("allow", "deny", "reject")
PROTOCOLS: dict[str, frozenset[int]] = {
    "any": frozenset(),
    "tcp": frozenset({TCP}),
    "udp": frozenset({UDP}),
    "icmp": frozenset({ICMP, ICMPV6}),
    "gre": frozenset({GRE}),
    "esp": frozenset({ESP}),
}
RULE_KEYS = ("name", "action", "protocol", "source", "destination", "source_ports", "ports", "endpoint")
FILE_KEYS = ("default", "rules", "timeouts")


class RuleError(GwlbemuError):
    """A rule file that cannot be used: the text names file, rule, key and what was expected."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the policy; an empty set matches everything."""

    name: str
    action: str  # allow | deny | reject
    protocols: frozenset[int] = frozenset()
    sources: tuple[Network, ...] = ()
    destinations: tuple[Network, ...] = ()
    source_ports: tuple[PortRange, ...] = ()
    ports: tuple[PortRange, ...] = ()
    endpoint: int | None = None  # 64-bit endpoint id

    def matches(
        self, endpoint: int, protocol: int, source: bytes, destination: bytes, ports: tuple[int, int] | None
    ) -> bool:
        """Tell whether a packet of this 5-tuple, from this endpoint, meets the rule; `ports` is None when unknown."""
        if self.endpoint is not None and endpoint != self.endpoint:
            return False
        if self.protocols and protocol not in self.protocols:
            return False
        if self.sources and not any(network.holds(source) for network in self.sources):
            return False
        if self.destinations and not any(network.holds(destination) for network in self.destinations):
            return False
        if not self.source_ports and not self.ports:
            return True
        return ports is not None and _within(ports[0], self.source_ports) and _within(ports[1], self.ports)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Idle timeouts in seconds. The defaults are the load balancer's own (GWLB guide: 350 s TCP, 120 s all else)."""

    tcp: float = 350
    udp: float = 120
    other: float = 120


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole rule file."""

    rules: tuple[Rule, ...] = ()
    default: str = "deny"
    timeouts: Timeouts = field(default_factory=Timeouts)

    def first(
        self, endpoint: int, protocol: int, source: bytes, destination: bytes, ports: tuple[int, int] | None
    ) -> Rule:
        """Find the rule that decides; the default action is a rule named `default`."""
        for rule in self.rules:
            if rule.matches(endpoint, protocol, source, destination, ports):
                return rule
        return Rule("default", self.default)


def load(path: Path) -> Policy:
    """Read and check a rule file; raise RuleError."""
    try:
        return parse(read_text(path), str(path))
    except OSError as error:
        raise RuleError(f"{path}: cannot read the rules: {error.strerror}") from None
    except YamlError as error:
        raise RuleError(str(error)) from None


def parse(text: str, name: str) -> Policy:
    """Turn the text of a rule file into a Policy; `name` is what errors call the file."""
    try:
        document = read(text, name).data
    except YamlError as error:
        raise RuleError(str(error)) from None
    whole = _mapping({} if document is None else document, FILE_KEYS, name)
    rules = whole.get("rules") or ()
    if not isinstance(rules, tuple):
        raise RuleError(f"{name}: rules: expected a list of rules, got {short(rules)}")
    return Policy(
        rules=tuple(_rule(entry, number, name) for number, entry in enumerate(rules, 1)),
        default=_choice(whole.get("default", "deny"), ACTIONS, f"{name}: default"),
        timeouts=_timeouts(whole.get("timeouts") or {}, f"{name}: timeouts"),
    )


def _rule(entry: object, number: int, name: str) -> Rule:
    where = f"{name}: rule {number}"
    keys = _mapping(entry, RULE_KEYS, where)
    if "action" not in keys:
        raise RuleError(f"{where}: action: missing, expected one of {', '.join(ACTIONS)}")
    rule = Rule(
        name=str(keys.get("name", f"rule {number}")),
        action=_choice(keys["action"], ACTIONS, f"{where}: action"),
        protocols=_protocols(keys.get("protocol", "any"), f"{where}: protocol"),
        sources=_several(keys.get("source"), parse_network, f"{where}: source"),
        destinations=_several(keys.get("destination"), parse_network, f"{where}: destination"),
        source_ports=_several(keys.get("source_ports"), lambda text: parse_ports(text, "-"), f"{where}: source_ports"),
        ports=_several(keys.get("ports"), lambda text: parse_ports(text, "-"), f"{where}: ports"),
        endpoint=_endpoint(keys.get("endpoint"), f"{where}: endpoint"),
    )
    if (rule.ports or rule.source_ports) and (not rule.protocols or rule.protocols - {TCP, UDP}):
        raise RuleError(f"{where}: ports: expected only with protocol tcp or udp, got {keys.get('protocol', 'any')!r}")
    return rule


def _mapping(value: object, allowed: tuple[str, ...], where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise RuleError(f"{where}: expected keys ({', '.join(allowed)}), got {short(value)}")
    for key in value:
        if key not in allowed:
            raise RuleError(f"{where}: {key}: unknown key, expected one of {', '.join(allowed)}")
    return value


def _choice(value: object, allowed: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise RuleError(f"{where}: expected one of {', '.join(allowed)}, got {short(value)}")
    return value


def _protocols(value: object, where: str) -> frozenset[int]:
    numbers: set[int] = set()
    if value == ():
        raise RuleError(f"{where}: expected at least one entry")
    for item in value if isinstance(value, tuple) else [value]:
        text = str(item)
        if text in PROTOCOLS:
            if text == "any":
                return frozenset()
            numbers |= PROTOCOLS[text]
        elif text.isascii() and text.isdigit() and int(text) <= 255:
            numbers.add(int(text))
        else:
            names = ", ".join(name for name in PROTOCOLS if name != "any")
            raise RuleError(
                f"{where}: expected {names} or a number from 0 to 255 (any would be every protocol), got {short(item)}"
            )
    return frozenset(numbers)


def _several(value: object, read: Callable[[str], T], where: str) -> tuple[T, ...]:
    if value is None or value == "any" or (isinstance(value, tuple) and "any" in value):
        return ()
    items = value if isinstance(value, tuple) else [value]
    if not items:
        raise RuleError(f"{where}: expected at least one entry")
    try:
        return tuple(read(str(item)) for item in items)
    except ValueError as error:
        raise RuleError(f"{where}: {error}") from None


def _endpoint(value: object, where: str) -> int | None:
    if value is None:
        return None
    try:
        return parse_endpoint(str(value))
    except WireError as error:
        raise RuleError(f"{where}: {error}") from None


def _timeouts(value: object, where: str) -> Timeouts:
    keys = _mapping(value, ("tcp", "udp", "other"), where)
    for key, seconds in keys.items():
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < inf:
            raise RuleError(f"{where}: {key}: expected a number of seconds above 0, got {short(seconds)}")
    return Timeouts(**{key: float(str(seconds)) for key, seconds in keys.items()})


def _within(port: int, ranges: tuple[PortRange, ...]) -> bool:
    return not ranges or any(low <= port <= high for low, high in ranges)
