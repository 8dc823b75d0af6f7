"""The pieces from which the machine half of a plan is put together: veth links, neighbours, forwarding entries.

A Blueprint is a list of namespaces and links; the functions of `vpcs`, `hosts` and `internet` each return one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.plan.layout import Layout, NetworkInterface
from gwlbemu.topology.plan.machine_half import Bridge, End, ForwardingEntry, Link, Namespace, Neighbour

VPC_MTU = 9001  # EC2 jumbo frames
INTERNET_MTU = 1500


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A part of the machine half: namespaces, and links between namespaces of this part or another one."""

    namespaces: tuple[Namespace, ...] = ()
    links: tuple[Link, ...] = ()

    @staticmethod
    def joined(parts: Iterable[Blueprint]) -> Blueprint:
        """Return all parts as one."""
        together = tuple(parts)
        return Blueprint(
            tuple(namespace for part in together for namespace in part.namespaces),
            tuple(link for part in together for link in part.links),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every part: who has which address, and whether offloads stay on."""

    layout: Layout
    offload: bool

    def end(
        self,
        resource: str,
        name: str,
        mac: str,
        mtu: int = VPC_MTU,
        *,
        addresses: Iterable[str] = (),
        bridge: str | None = None,
        rate_mbit: float | None = None,
    ) -> End:
        """Return one end of a link in the namespace of `resource`."""
        namespace = self.layout.namespace(resource)
        return End(namespace, name, mac, mtu, tuple(addresses), bridge, self.offload, rate_mbit)

    def port(self, resource: str, bridge: str, name: str, mtu: int = VPC_MTU, rate_mbit: float | None = None) -> End:
        """Return a port of a bridge in the namespace of `resource`, named after what is plugged in."""
        device = names.device(name)
        return self.end(resource, device, names.mac(resource, f"port {name}"), mtu, bridge=bridge, rate_mbit=rate_mbit)


def router_addresses(cidr: str, ipv6_cidr: str | None) -> tuple[str, ...]:
    """Return the addresses of a subnet's router, with prefix lengths: the first one of each family."""
    found = [IPNetwork(cidr), *([IPNetwork(ipv6_cidr)] if ipv6_cidr else [])]
    return tuple(f"{network[1]}/{network.prefixlen}" for network in found)


def bridge(resource: str, name: str, mtu: int = VPC_MTU, addresses: tuple[str, ...] = ()) -> Bridge:
    """Return a bridge called `name` in the namespace of `resource`; `addresses` have prefix lengths."""
    return Bridge(name, names.mac(resource, name), mtu, addresses)


def interface_neighbours(device: str, interfaces: Iterable[NetworkInterface]) -> list[Neighbour]:
    """Return permanent neighbours on `device` for both families of each interface."""
    return [
        Neighbour(device, address, interface.mac)
        for interface in interfaces
        for address in (interface.address, interface.ipv6_address)
        if address
    ]


def interface_entries(name: str, interfaces: Iterable[NetworkInterface]) -> list[ForwardingEntry]:
    """Return forwarding entries of the bridge called `name`: each interface's MAC is behind the port named after it."""
    return [ForwardingEntry(name, names.device(interface.resource), interface.mac) for interface in interfaces]
