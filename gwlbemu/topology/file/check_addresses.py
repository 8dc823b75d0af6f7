"""Checks of networks and addresses: nothing overlaps, all lies inside what holds it, nobody shares an address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netaddr import IPAddress, IPNetwork

from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import RESERVED_FIRST, RESERVED_LAST, Internet, Subnet, Topology, Vpc


def address_problems(topology: Topology) -> Iterator[Problem]:
    """Yield networks and addresses that overlap, lie outside what holds them, or are taken or reserved."""
    for index, vpc in enumerate(topology.vpcs):
        yield from _subnets(vpc, ("vpcs", index))
        yield from _plugged_in(topology, vpc, ("vpcs", index))
    yield from _public(topology)
    if topology.internet:
        yield from _internet(topology.internet)
        yield from _beside_the_vpcs(topology.internet, topology.vpcs)


def _subnets(vpc: Vpc, path: Path) -> Iterator[Problem]:
    for number, subnet in enumerate(vpc.subnets):
        for key, own, whole in (("cidr", subnet.cidr, vpc.cidr), ("ipv6_cidr", subnet.ipv6_cidr, vpc.ipv6_cidr)):
            if own is None:
                continue
            here = (*path, "subnets", number, key)
            if whole is None:
                yield Problem(here, f"VPC {vpc.name} has no {key}: expected one there, or none here")
                continue
            if IPNetwork(own) not in IPNetwork(whole):
                yield Problem(here, f"{own} is outside VPC {vpc.name}: expected a part of {whole}")
            for other in vpc.subnets[:number]:
                taken: str | None = getattr(other, key)
                if taken and (IPNetwork(own) in IPNetwork(taken) or IPNetwork(taken) in IPNetwork(own)):
                    yield Problem(here, f"{own} overlaps subnet {other.name} ({taken})")


def _plugged_in(topology: Topology, vpc: Vpc, path: Path) -> Iterator[Problem]:
    """The addresses of instances, NAT gateways and load balancer nodes in the subnets of a VPC."""
    subnets = {subnet.name: subnet for subnet in vpc.subnets}
    given: list[tuple[str, str, str | None, str | None, Path]] = []
    for number, instance in enumerate(vpc.instances):
        here: Path = (*path, "instances", number)
        given.append((instance.name, instance.subnet, instance.address, instance.ipv6_address, here))
    for number, gateway in enumerate(vpc.nat_gateways):
        given.append((gateway.name, gateway.subnet, gateway.address, None, (*path, "nat_gateways", number)))
    for index, balancer in enumerate(topology.load_balancers):
        for number, place in enumerate(balancer.subnets):
            if place.subnet in subnets:
                here = ("load_balancers", index, "subnets", number)
                given.append((f"the node of {balancer.name}", place.subnet, place.address, place.ipv6_address, here))
    taken: dict[str, str] = {}
    for name, where, address, ipv6_address, here in given:
        subnet = subnets.get(where)
        if subnet is None:
            if here[0] == "vpcs":
                yield Problem(
                    (*here, "subnet"), f"VPC {vpc.name} has no subnet {where}: expected one of {', '.join(subnets)}"
                )
            continue
        for key, own in (("address", address), ("ipv6_address", ipv6_address)):
            if own is None:
                continue
            problem = _refused(own, subnet, key)
            if own in taken:
                problem = f"{own} is the address of {taken[own]}: expected another one"
            taken.setdefault(own, name)
            if problem:
                yield Problem((*here, key), problem)
    for number, subnet in enumerate(vpc.subnets):
        inside = sum(1 for _, where, *_ in given if where == subnet.name)
        room = IPNetwork(subnet.cidr).size - RESERVED_FIRST - RESERVED_LAST
        if inside > room:
            yield Problem(
                (*path, "subnets", number, "cidr"),
                f"{inside} addresses are needed and {subnet.cidr} has room for {room}",
            )


def _refused(address: str, subnet: Subnet, key: str) -> str:
    """Why the address cannot be used in the subnet; AWS keeps the first four addresses and the last (VPC guide)."""
    cidr = subnet.cidr if key == "address" else subnet.ipv6_cidr
    if cidr is None:
        return f"subnet {subnet.name} has no ipv6_cidr"
    network = IPNetwork(cidr)
    if IPAddress(address) not in network:
        return f"{address} is outside subnet {subnet.name}: expected an address of {cidr}"
    offset = int(IPAddress(address)) - network.first
    if offset < RESERVED_FIRST or offset >= network.size - RESERVED_LAST:
        return f"{address} is reserved: AWS keeps the first four addresses and the last of {cidr}"
    return ""


def _public(topology: Topology) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for index, vpc in enumerate(topology.vpcs):
        inside: Path = ("vpcs", index)
        owners: list[tuple[Path, str, str | None]] = []
        for number, instance in enumerate(vpc.instances):
            owners.append(((*inside, "instances", number), instance.name, instance.public_address))
        for number, gateway in enumerate(vpc.nat_gateways):
            owners.append(((*inside, "nat_gateways", number), gateway.name, gateway.public_address))
        subnets = {subnet.name for subnet in vpc.subnets}
        owners += [
            (("load_balancers", place, "subnets", number), f"the node of {balancer.name}", one.public_address)
            for place, balancer in enumerate(topology.load_balancers)
            for number, one in enumerate(balancer.subnets)
            if one.subnet in subnets
        ]
        if vpc.internet_gateway and not topology.internet:
            yield Problem(
                ("vpcs", index, "internet_gateway"), "there is nothing behind it: expected a section internet"
            )
        for place_of, name, public in owners:
            here = (*place_of, "public_address")
            if public is None:
                continue
            if vpc.internet_gateway is None:
                yield Problem(here, f"VPC {vpc.name} has no internet_gateway to translate it")
            if topology.internet and IPAddress(public) in IPNetwork(topology.internet.cidr):
                yield Problem(
                    here, f"{public} lies in the network of the internet's instances, {topology.internet.cidr}"
                )
            owner = next((one for one in topology.vpcs if IPAddress(public) in IPNetwork(one.cidr)), None)
            if owner:
                yield Problem(here, f"{public} lies in VPC {owner.name} ({owner.cidr}): expected a public address")
            if public in taken:
                yield Problem(here, f"{public} is the public address of {taken[public]}: expected another one")
            taken.setdefault(public, name)


def _beside_the_vpcs(internet: Internet, vpcs: Sequence[Vpc]) -> Iterator[Problem]:
    for key in ("cidr", "ipv6_cidr"):
        for vpc in vpcs:
            own, taken = getattr(internet, key), getattr(vpc, key)
            if own and taken and (IPNetwork(own) in IPNetwork(taken) or IPNetwork(taken) in IPNetwork(own)):
                yield Problem(("internet", key), f"{own} overlaps VPC {vpc.name} ({taken})")


def _internet(internet: Internet) -> Iterator[Problem]:
    network = IPNetwork(internet.cidr)
    taken: dict[str, str] = {}
    for number, one in enumerate(internet.instances):
        for key, own, cidr in (
            ("address", one.address, internet.cidr),
            ("ipv6_address", one.ipv6_address, internet.ipv6_cidr),
        ):
            here = ("internet", "instances", number, key)
            if own is None:
                continue
            if cidr is None or IPAddress(own) not in IPNetwork(cidr):
                yield Problem(
                    here, f"{own} is outside the internet's network: expected an address of {cidr or 'an ipv6_cidr'}"
                )
            elif int(IPAddress(own)) - IPNetwork(cidr).first < 2 or own == str(network[-1]):
                yield Problem(here, f"{own} is the network's, the router's or the broadcast address of {cidr}")
            if own in taken:
                yield Problem(here, f"{own} is the address of {taken[own]}: expected another one")
            taken.setdefault(own, one.name)
