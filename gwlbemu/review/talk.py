"""Who talks to whom in a design, and which way each exchange goes: everything that a review walks.

Of a subnet's instances one with and one without a public address stand for all. Security groups of the ends and rules
of the appliances are left out: what they refuse is a decision, and says nothing about the way. In a file that has an
internet gateway and nobody on the internet, somebody is put there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import permutations

from gwlbemu.paths.ends import node_as_instance
from gwlbemu.paths.values import Exchange, Packet, States
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.file.parse import Parsed
from gwlbemu.topology.file.schema import Internet, InternetInstance, Topology
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Instance, Plan, Program
from gwlbemu.wire.protocols import TCP, UDP

SOMEBODY = "somebody"
NETWORKS = ("198.51.100.0/24", "192.0.2.0/24", "203.0.113.0/24")  # RFC 5737
NETWORK_V6 = "2001:db8:ffff::/64"
SOURCE_PORT = 40000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ends, by name, of which the first begins, and what the first calls the second.

    `kind` is outward (to the internet), inward (from it), across (a transit gateway), inside (one VPC) or onward: from
    the node of an application load balancer to a target. The second is an instance, or the node of a load balancer,
    which has a listener of `protocol` at `port`.
    """

    first: str
    second: str
    destination: str
    kind: str
    protocol: int = TCP
    port: int = 80

    def __str__(self) -> str:
        return f"{self.first} -> {self.second}" + (" (IPv6)" if ":" in self.destination else "")

    @property
    def version(self) -> int:
        """The address family."""
        return 6 if ":" in self.destination else 4


class Talk:
    """A topology whose exchanges can be walked."""

    def __init__(self, topology: Topology) -> None:
        self.topology = _with_somebody(topology)
        self.whole = resolve(Parsed(self.topology, ""))
        self.plan = _plain(self.whole)
        self.paths = Paths(self.plan)
        self.instances = {instance.name: instance for instance in self.plan.instances} | _nodes(self.plan)
        self.ends = list(_ends(self.topology, self.plan))
        self._states = States(seeds={node.name: 1 for node in self.plan.gateway_nodes})

    def pairs(self) -> list[Pair]:
        """Return all pairs that are worth a walk."""
        return [*_with_the_internet(self), *_with_each_other(self), *_with_balancers(self), *_with_targets(self)]

    def zones_of(self, pair: Pair) -> set[str]:
        """Return the zones of a pair's ends; the internet has none."""
        return {self.instances[name].zone for name in (pair.first, pair.second)} - {""}

    def walk(self, pair: Pair) -> Exchange:
        """Return what becomes of a connection of the pair's first to its second, and of the answer."""
        packet = Packet(pair.first, pair.destination, pair.protocol, SOURCE_PORT, pair.port)
        return exchange(self.paths, packet, self._states, follow=False)


def places_met(found: Exchange) -> set[str]:
    """Return every place that an exchange may meet, by its name."""
    ways = [way for one in found.possible for way in one.ways]
    return {hop.at for way in ways for hop in way.hops} | {way.end.at for way in ways}


def _with_somebody(topology: Topology) -> Topology:
    internet = topology.internet
    if (internet and internet.instances) or not any(vpc.internet_gateway for vpc in topology.vpcs):
        return topology
    if internet is None:
        public = [g.public_address for vpc in topology.vpcs for g in vpc.nat_gateways]
        public += [i.public_address for vpc in topology.vpcs for i in vpc.instances if i.public_address]
        free = [cidr for cidr in NETWORKS if not any(address.startswith(cidr[:-4]) for address in public)]
        dual = any(vpc.ipv6_cidr for vpc in topology.vpcs)
        internet = Internet(cidr=(free or NETWORKS)[0], ipv6_cidr=NETWORK_V6 if dual else None)
    return topology.model_copy(
        update={"internet": internet.model_copy(update={"instances": (InternetInstance(name=SOMEBODY),)})}
    )


def _plain(plan: Plan) -> Plan:
    """The plan without the ends' security groups, with appliances that return what they get, and as AWS is by default:
    a switch that lets in what belongs to no flow would hide a fault.
    """
    ends = tuple(replace(one, security_groups=()) for one in plan.instances)
    appliances = [one for one in plan.instances if one.appliance]
    programs = tuple(Program(one.name, one.namespace, (), kind="passthrough") for one in appliances)
    balancers = tuple(replace(each, security_groups=()) for each in plan.load_balancers)
    return replace(plan, instances=ends, load_balancers=balancers, programs=programs, emulation={})


def _nodes(plan: Plan) -> dict[str, Instance]:
    """The nodes of network and application load balancers as ends of pairs."""
    return {node.name: node_as_instance(plan, node) for node in plan.addressed_nodes}


def _ends(topology: Topology, plan: Plan) -> Iterator[Instance]:
    """One instance per subnet, and one with a public address; no appliance, nothing that routes lead to."""
    forwarders = {route.target for vpc in topology.vpcs for table in vpc.route_tables for route in table.routes}
    seen = set()
    for one in plan.instances:
        stands_for = (one.subnet, bool(one.public_address), bool(one.ipv6_address))
        if one.vpc and not one.appliance and one.name not in forwarders and stands_for not in seen:
            seen.add(stands_for)
            yield one


def _with_the_internet(talk: Talk) -> Iterator[Pair]:
    if not any(vpc.internet_gateway for vpc in talk.plan.vpcs):
        return
    own = {vpc.name: bool(vpc.internet_gateway) for vpc in talk.plan.vpcs}
    outside = [one for one in talk.plan.instances if not one.vpc]
    dual = next((one for one in outside if one.ipv6_address), None)
    for one in talk.ends:
        yield Pair(one.name, outside[0].name, outside[0].address, "outward")
        if one.public_address:
            yield Pair(outside[0].name, one.name, one.public_address, "inward")
        if dual and one.ipv6_address:
            yield Pair(one.name, dual.name, dual.ipv6_address, "outward")
            if own[one.vpc]:
                yield Pair(dual.name, one.name, one.ipv6_address, "inward")


def _with_each_other(talk: Talk) -> Iterator[Pair]:
    """One instance per subnet: a public address makes no difference inside.

    Routers look at destinations alone, so what subnets of one class send goes the same ways. It is enough that each
    subnet talks, in both directions, with an example of each class: inside its VPC, and across a transit gateway.
    """
    firsts = {(one.subnet, bool(one.ipv6_address)): one for one in reversed(talk.ends)}
    ends = list(reversed(firsts.values()))
    classes = _classes(talk.topology)
    inside: dict[tuple[object, ...], str] = {}
    across: dict[object, dict[str, str]] = {}
    for one in ends:
        inside.setdefault((one.vpc, classes[one.subnet]), one.subnet)
        across.setdefault(classes[one.subnet], {}).setdefault(one.vpc, one.subnet)
    examples = {
        "inside": set(inside.values()),
        "across": {subnet for found in across.values() for subnet in list(found.values())[:2]},  # of two VPCs
    }
    joined = [{each.vpc for each in gateway.attachments} for gateway in talk.plan.transit_gateways]
    for first, second in permutations(ends, 2):
        kind = "inside" if first.vpc == second.vpc else "across"
        if first.subnet == second.subnet or not {first.subnet, second.subnet} & examples[kind]:
            continue
        if kind == "across" and not any({first.vpc, second.vpc} <= each for each in joined):
            continue
        if kind == "inside" or not _overlap(talk.plan, first.vpc, second.vpc):
            yield Pair(first.name, second.name, second.address, kind)
        if first.ipv6_address and second.ipv6_address:
            yield Pair(first.name, second.name, second.ipv6_address, kind)


def _with_balancers(talk: Talk) -> Iterator[Pair]:
    """Somebody on the internet and a load balancer that faces it; an instance of each subnet and an internal one."""
    balancers = {each.name: each for each in talk.plan.load_balancers}
    outside = next((one for one in talk.plan.instances if not one.vpc), None)
    firsts = list({one.subnet: one for one in reversed(talk.ends)}.values())[::-1]
    joined = [{each.vpc for each in gateway.attachments} for gateway in talk.plan.transit_gateways]
    for node in talk.plan.addressed_nodes:
        balancer = balancers[node.load_balancer]
        listener = next((each for each in balancer.listeners if each.port), None)
        if listener is None:
            continue
        place = (UDP if listener.protocol == "UDP" else TCP, listener.port or 0)
        if node.public_address and outside:
            yield Pair(outside.name, node.name, node.public_address, "inward", *place)
            continue
        for one in firsts:
            if one.vpc == balancer.vpc:
                yield Pair(one.name, node.name, node.address, "inside", *place)
            elif any({one.vpc, balancer.vpc} <= each for each in joined) and not _overlap(
                talk.plan, one.vpc, balancer.vpc
            ):
                yield Pair(one.name, node.name, node.address, "across", *place)


def _with_targets(talk: Talk) -> Iterator[Pair]:
    """Each node of an application load balancer, and of its targets one for each subnet, group and port."""
    homes = {(one.vpc, one.address): one for one in talk.plan.instances}
    far = {one.address: one for one in talk.plan.instances if one.vpc}
    for node in talk.plan.application_nodes:
        seen = set()
        for group in talk.plan.groups_of(node.load_balancer):
            for target in group.targets:
                one = homes.get((group.vpc, target.address)) or far.get(target.address)
                if one is None or target not in talk.plan.in_scope(node):
                    continue
                stands_for = (one.subnet, group.name, target.port)
                if stands_for not in seen:
                    seen.add(stands_for)
                    yield Pair(node.name, one.name, target.address, "onward", TCP, target.port)


def _classes(topology: Topology) -> dict[str, object]:
    """By subnet, all that decides about the ways of what it sends: its zone, its lines, how its VPC is attached."""
    found: dict[str, object] = {}
    for vpc in topology.vpcs:
        lines = {
            table.name: tuple((route.destination, route.target) for route in table.routes) for table in vpc.route_tables
        }
        homes = {subnet.name: (subnet.zone, lines.get(subnet.route_table or "", ())) for subnet in vpc.subnets}
        attached = tuple(
            (gateway.name, each.route_table, each.appliance_mode, *(homes[subnet] for subnet in each.subnets))
            for gateway in topology.transit_gateways
            for each in gateway.attachments
            if each.vpc == vpc.name
        )
        found |= {name: (home, attached) for name, home in homes.items()}
    return found


def _overlap(plan: Plan, *vpcs: str) -> bool:
    one, other = (ip_network(vpc.cidr) for vpc in plan.vpcs if vpc.name in vpcs)
    return one.overlaps(other)
