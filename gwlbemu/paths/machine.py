"""A plan's machine half, looked up: where a frame comes out, which route a packet takes.

This file knows no AWS word. It does with links, bridges, forwarding entries, neighbours, route tables and policy rules
what the kernel does with them (and the shortcuts, which obey the same). Nothing here changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from gwlbemu.topology.plan.machine_half import End, KernelRoute, Namespace
from gwlbemu.topology.plan.values import Plan

MAIN = 254
VLAN_TAG = 4  # bytes that Linux lets a frame be longer than the MTU of a bridge's port (is_skb_forwardable)


class Lost(NamedTuple):
    """A frame that came out nowhere: the namespace and the device where it was last, and what stopped it."""

    namespace: str
    device: str
    why: str  # mtu | down | nobody


class Arrival(NamedTuple):
    """Where a frame comes out: the device of a router or a host (a router's bridge is one)."""

    space: Space
    device: str


class _Line(NamedTuple):
    version: int
    network: int
    mask: int
    length: int
    route: KernelRoute


@lru_cache(maxsize=1 << 14)
def number(address: str) -> tuple[int, int]:
    """Return the version and the number of an address that is given as text."""
    parsed = ip_address(address)
    return parsed.version, int(parsed)


@lru_cache(maxsize=1 << 14)
def covers(network: str, address: str) -> bool:
    """Tell whether an address is in a network or is that address, both given as text."""
    inside = ip_network(network, strict=False)
    return inside.version == number(address)[0] and ip_address(address) in inside


class Space:
    """One namespace: its addresses, its tables, who is where."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.name, self.role, self.resource = namespace.name, namespace.role, namespace.resource
        self.forwarding = namespace.forwarding
        self.ends: dict[str, End] = {}
        self.bridges = {bridge.name: bridge for bridge in namespace.bridges}
        self.own_macs = {bridge.mac: bridge.name for bridge in namespace.bridges}
        self.entries = {(entry.bridge, entry.mac): entry.port for entry in namespace.forwarding_entries}
        self.neighbours = {(each.device, each.address): each.mac for each in namespace.neighbours}
        self.addresses: set[str] = set()
        self._tables: dict[int, list[_Line]] = {}
        self._rules = dict(namespace.rules)
        self._mark_rules = {(device, mark): table for device, mark, table in namespace.mark_rules}
        self.buckets = len({mark for _, mark, _ in namespace.mark_rules}) or 1
        self._found: dict[tuple[int, str], KernelRoute | None] = {}

    def complete(self) -> None:
        """Make the tables, when every end is known."""
        routes = list(self.namespace.routes)
        devices: list[tuple[str, tuple[str, ...]]] = [(each.name, each.addresses) for each in self.bridges.values()]
        devices += [(end.name, end.addresses) for end in self.ends.values()]
        for device, addresses in devices:
            for address in addresses:
                self.addresses.add(address.split("/")[0])
                routes.append(KernelRoute(str(ip_network(address, strict=False)), device))
        for route in routes:
            network = ip_network(route.destination)
            line = _Line(network.version, int(network.network_address), int(network.netmask), network.prefixlen, route)
            self._tables.setdefault(route.table, []).append(line)
        for lines in self._tables.values():
            lines.sort(key=lambda line: -line.length)

    def mtu(self, device: str) -> int:
        """Return the MTU of one of its devices in bytes."""
        return self.bridges[device].mtu if device in self.bridges else self.ends[device].mtu

    def table_of(self, device: str, mark: int) -> int:
        """Return the table by which it routes what comes in by a device with a packet mark (from 1; 0 for none)."""
        return self._mark_rules.get((device, mark)) or self._rules.get(device, MAIN)

    def route(self, table: int, destination: str) -> KernelRoute | None:
        """Return the longest match for an address in a table; None when there is none."""
        try:
            return self._found[table, destination]
        except KeyError:
            pass
        version, address = number(destination)
        found = None
        for line in self._tables.get(table, ()):
            if line.version == version and address & line.mask == line.network:
                found = line.route
                break
        self._found[table, destination] = found
        return found


class Machine:
    """Every namespace of a plan, and how they are joined."""

    def __init__(self, plan: Plan) -> None:
        self.spaces = {namespace.name: Space(namespace) for namespace in plan.namespaces}
        self._peers: dict[tuple[str, str], tuple[Space, str]] = {}
        for link in plan.links:
            for end, other in ((link.a, link.b), (link.b, link.a)):
                self.spaces[end.namespace].ends[end.name] = end
                self._peers[end.namespace, end.name] = (self.spaces[other.namespace], other.name)
        for space in self.spaces.values():
            space.complete()

    def cables(self, namespaces: Iterable[str]) -> frozenset[tuple[str, str]]:
        """Return the far ends (namespace, device) of every link of these namespaces: what `fail` pulls."""
        inside = set(namespaces)
        return frozenset(
            (there.name, device)
            for (namespace, _), (there, device) in self._peers.items()
            if namespace in inside and there.name not in inside
        )

    def is_down(self, space: Space, device: str, down: frozenset[tuple[str, str]]) -> bool:
        """Tell whether a device has no carrier: one end of its cable is among `down`, or that of every port's."""
        if device in space.bridges:
            ports = [end.name for end in space.ends.values() if end.bridge == device]
            return bool(ports) and all(self.is_down(space, port, down) for port in ports)
        peer = self._peers.get((space.name, device))
        return (space.name, device) in down or (peer is not None and (peer[0].name, peer[1]) in down)

    def send(
        self, space: Space, device: str, mac: str, size: int, down: frozenset[tuple[str, str]] = frozenset()
    ) -> Arrival | Lost:
        """Return where a frame comes out that `space` sends by `device` to a MAC; `down` are devices that are down."""
        while True:
            if device in space.bridges:  # a bridge looks up the port; its own address ends the way
                if mac == space.bridges[device].mac:
                    return Arrival(space, device)
                port = space.entries.get((device, mac))
                if port is None or port not in space.ends:
                    return Lost(space.name, device, "nobody")
                if size > space.ends[port].mtu + VLAN_TAG:
                    return Lost(space.name, port, "mtu")
                device = port
            if (space.name, device) in down:
                return Lost(space.name, device, "down")
            space, device = self._peers[space.name, device]
            if (space.name, device) in down:
                return Lost(space.name, device, "down")
            bridge = space.ends[device].bridge
            if bridge is None:
                return Arrival(space, device)
            device = bridge
