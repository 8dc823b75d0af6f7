"""Which of a lab's bridges and routers the kernel may take shortcuts through, and where each MAC is found there.

A shortcut is an eBPF program (`fastpath/vpc.c`) on every interface of such a namespace. It does what the namespace's
forwarding entries and route table say, and no more, so it stands only where nothing else has a say: in the fabrics
and subnets of VPCs and on the internet. Internet, NAT and transit gateways translate or mark: they are the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gwlbemu.topology.plan import End, Namespace, Plan

_ROLES = ("fabric", "subnet", "internet")


class How(IntEnum):
    """How a frame gets to a place; the numbers are vpc.c's."""

    HAND = 0  # to the device's other end at once
    ROUTE = 1  # by the route table; the MAC is the router's own on a link
    ROUTE_BRIDGE = 2  # the same, on a bridge


@dataclass(frozen=True, slots=True)
class Place:
    """Where frames for `mac` go."""

    mac: str
    device: str
    how: How


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The program on all `devices` of one namespace, and what it knows."""

    namespace: str
    devices: tuple[str, ...]
    places: tuple[Place, ...]


def shortcuts(plan: Plan) -> tuple[Shortcut, ...]:
    """Return the shortcuts of a plan, none where it wants none."""
    if not plan.shortcuts:
        return ()
    ends: dict[str, list[End]] = {}
    for link in plan.links:
        for end in (link.a, link.b):
            ends.setdefault(end.namespace, []).append(end)
    return tuple(_shortcut(each, ends.get(each.name, [])) for each in plan.namespaces if each.role in _ROLES)


def _shortcut(namespace: Namespace, ends: list[End]) -> Shortcut:
    by_name = {end.name: end for end in ends}
    places = [
        Place(entry.mac, entry.port, How.HAND)
        for entry in namespace.forwarding_entries
        if entry.port in by_name and not _has_a_say(by_name[entry.port], namespace)
    ]
    if namespace.forwarding:
        places += [Place(bridge.mac, bridge.name, How.ROUTE_BRIDGE) for bridge in namespace.bridges]
        places += [Place(end.mac, end.name, How.ROUTE) for end in ends if end.bridge is None]
    return Shortcut(namespace.name, tuple(by_name), tuple(places))


def _has_a_say(port: End, namespace: Namespace) -> bool:
    """Whether a port drops or delays: such frames have to leave by it."""
    return port.rate_mbit is not None or f'"{port.name}"' in namespace.nftables
