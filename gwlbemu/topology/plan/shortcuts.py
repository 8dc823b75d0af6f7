"""Which of a lab's bridges and routers the kernel may take shortcuts through, and where each MAC is found there.

A shortcut is an eBPF program (`fastpath/vpc.c`) on every interface of such a namespace. It does what the namespace's
forwarding entries and route table say, and no more, so it stands only where nothing else has a say: in the fabrics
and subnets of VPCs and on the internet. Internet, NAT and transit gateways translate or mark: they are the kernel's.
The port of an instance has rules. What they certainly let through is carried; everything else is left to them, so with
security groups all but what the groups let in, and its answers, without a record of the flow. Where a network load
balancer's targets may be (`InstancePort.returns`), the port is the kernel's, both ways.
"""

from __future__ import annotations

from dataclasses import dataclass

from gwlbemu.topology.plan.machine_half import Bridge, End, InstancePort, Namespace
from gwlbemu.topology.plan.values import Plan

_ROLES = ("fabric", "subnet", "internet")


@dataclass(frozen=True, slots=True)
class MacEntry:
    """Where frames for `mac` go: to the other end of `device`.

    With a `bridge`, which is the one that the router has, the MAC is the router's own, at `device`, and the route table
    says where they go.
    """

    mac: str
    device: str
    bridge: str = ""
    instance: InstancePort | None = None  # who is there, and may send and get only what is its own
    one_way: bool = False  # frames come from there, and go there by the kernel


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The eBPF program on all `devices` of one namespace, and the MACs that it knows; `guarded` have an instance."""

    namespace: str
    devices: tuple[str, ...]
    places: tuple[MacEntry, ...]
    guarded: tuple[str, ...] = ()


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
    instances = {port.device: port for port in namespace.instance_ports}
    places = []
    for entry in namespace.forwarding_entries:
        instance = instances.get(entry.port)
        narrow = entry.port in by_name and _delays(by_name[entry.port], namespace)
        closed = instance.returns or (instance.stateful and not instance.open_rules) if instance else narrow
        if entry.port in by_name and not closed:
            places.append(MacEntry(entry.mac, entry.port, instance=instance, one_way=narrow))
    if namespace.forwarding:
        (bridge,) = namespace.bridges
        own: list[Bridge | End] = [bridge, *(end for end in ends if end.bridge is None)]
        places += [MacEntry(each.mac, each.name, bridge.name) for each in own]
    return Shortcut(namespace.name, tuple(by_name), tuple(places), tuple(instances))


def _delays(port: End, namespace: Namespace) -> bool:
    """Whether a port holds frames back, or has no room for some: they have to leave by it."""
    return port.rate_mbit is not None or any(port.mtu < bridge.mtu for bridge in namespace.bridges)
