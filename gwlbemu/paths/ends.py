"""Who sends and who receives, in the plan's words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.errors import SettingError, UnknownNameError
from gwlbemu.paths.values import Packet
from gwlbemu.topology.plan.ends import destination_address, owner_of
from gwlbemu.topology.plan.values import ApplicationNode, Instance, LoadBalancer, NetworkNode, Plan
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Ends:
    """A packet with addresses as its ends, the instance or the application load balancer's node that sends it, and the
    instance that is meant to get it ("").
    """

    packet: Packet
    sender: str
    receiver: str


def resolve(plan: Plan, packet: Packet) -> Ends:
    """Return the packet with addresses in place of names.

    Raises UnknownNameError for a name that neither an instance nor a node with an address has and a source that is
    neither an instance's nor a name of an application load balancer's node, SettingError for a sender without an
    address of the destination's family, and for a question to the resolver.
    """
    sender = sender_of(plan, packet)
    receiver = _instance(plan, packet.destination)
    node = next((each for each in plan.addressed_nodes if each.name == packet.destination), None)
    meant = ""
    if _address(packet.destination):
        destination = _address(packet.destination)
    elif receiver is None and node is not None:
        destination = node.address if sender.vpc else node.public_address or node.address
    elif receiver is None:
        raise UnknownNameError(_unknown(plan, packet.destination, receives=True))
    else:
        destination, meant = destination_address(sender, receiver), receiver.name
        if ":" in _address(packet.source):
            destination = receiver.ipv6_address
    if destination in _resolver(plan, sender) and packet.protocol in (TCP, UDP) and packet.destination_port == DNS_PORT:
        raise SettingError(
            f"{destination} is the resolver of {sender.subnet}, which answers before any route table and whatever"
            " security groups say: there is no way to follow"
        )
    source = _address(packet.source) or _source(sender, destination)
    if not source or not destination or (":" in source) is not (":" in destination):
        raise SettingError(f"{sender.name} has no address to reach {packet.destination} from")
    protocol = ICMPV6 if packet.protocol == ICMP and ":" in source else packet.protocol
    return Ends(replace(packet, source=source, destination=destination, protocol=protocol), sender.name, meant)


def sender_of(plan: Plan, packet: Packet) -> Instance:
    """Return the instance that sends a packet, or an application load balancer's node as if it were one. Raises
    UnknownNameError.
    """
    sender = _instance(plan, packet.source) or next(
        (node_as_instance(plan, each) for each in plan.application_nodes if each.name == packet.source), None
    )
    if sender is None:
        raise UnknownNameError(_unknown(plan, packet.source))
    return sender


def balancer_named(plan: Plan, name: str) -> LoadBalancer | None:
    """Return the network or application load balancer that is called so, if there is one and no instance is."""
    if any(each.name == name for each in plan.instances):
        return None
    return next((each for each in plan.load_balancers if each.name == name and each.type != GATEWAY), None)


def node_as_instance(plan: Plan, node: NetworkNode | ApplicationNode) -> Instance:
    """Return a node with an address of its own as an end of traffic."""
    return Instance(
        name=node.name,
        namespace=node.namespace,
        vpc=next(each.vpc for each in plan.load_balancers if each.name == node.load_balancer),
        subnet=node.subnet,
        zone=node.zone,
        address=node.address,
        ipv6_address=node.ipv6_address,
        public_address=node.public_address,
    )


def _resolver(plan: Plan, sender: Instance) -> tuple[str, ...]:
    return next((place.addresses for place in plan.resolver_places if place.subnet == sender.subnet), ())


def _source(sender: Instance, destination: str) -> str:
    return sender.ipv6_address if ":" in destination else sender.address


def _instance(plan: Plan, name: str) -> Instance | None:
    if address := _address(name):
        return owner_of(plan, address)
    return next((each for each in plan.instances if each.name == name), None)


def _unknown(plan: Plan, name: str, *, receives: bool = False) -> str:
    balancers = [each.name for each in plan.load_balancers if each.type != GATEWAY] if receives else []
    known = ", ".join([*(instance.name for instance in plan.instances), *balancers])
    return f"no instance {'or load balancer ' if balancers else ''}{name}; there are: {known}"


@lru_cache(maxsize=4096)  # the ends of a matrix come again and again
def _address(text: str) -> str:
    """Return an address as it is written everywhere; "" for what is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
