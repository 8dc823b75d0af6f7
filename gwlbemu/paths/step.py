"""One packet from element to element: what each does with it is what the lab's namespace of that role does.

role              what it does beside routing                                          plan
instance          security groups, source/destination check; may forward               hosts, rulesets
subnet            its route table                                                      vpcs, routes
internet-gateway  edge route table; one-to-one translation, IPv4                       internet, rulesets
nat-gateway       gives what it forwards its own source, by connection                 hosts, rulesets
transit-gateway   the table of the attachment it came by; a flow hash into a zone      transit
node              the load balancer: see `gateway`; its targets: see `appliance`       gateway
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gwlbemu.core.gateway.settings import GENEVE_PORT, LONGEST_PACKET
from gwlbemu.core.gateway.verdict import Drop, Reason, Reset, ToTarget
from gwlbemu.paths.appliance import Appliance
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.filters import allowed_in, allowed_out, begins
from gwlbemu.paths.gateway import Node
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import MAIN, Arrival, Lost, Space
from gwlbemu.paths.octets import with_ttl_of
from gwlbemu.paths.tracking import Tracking, may_begin, tuple_of
from gwlbemu.paths.values import Cause, End, Hop, Kind, Packet, States, Way
from gwlbemu.topology.plan.layout import INTERNET
from gwlbemu.topology.plan.values import Endpoint, GatewayNode, KernelRoute
from gwlbemu.wire.protocols import UDP

_WHY = {
    Reason.NO_TARGET: "no target is in scope",
    Reason.MIDSTREAM: "it is no SYN and belongs to no flow there",
    Reason.TOO_LONG: f"it is longer than {LONGEST_PACKET} bytes",
    Reason.FRAGMENT: "it is a fragment",
    Reason.MALFORMED: "it cannot be read",
    Reason.TTL_EXPIRED: "its TTL is over",
}
TUNNEL_PORT = 60000  # one of the source ports that a node uses; no rule looks at it


@dataclass(slots=True)
class Trip:
    """What a packet has met so far, and how it looks now."""

    packet: Packet
    hops: list[Hop] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    targets: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[tuple[object, ...], list[tuple[int, int, int]]] = field(default_factory=dict)

    def note(self, at: str, kind: str, rule: str, detail: str = "") -> None:
        """Add a hop."""
        self.hops.append(Hop(at, kind, rule, self.packet, detail))

    def goes_in_circles(self, place: tuple[object, ...]) -> bool:
        """Note that the packet is at a place and tell whether it comes there for ever.

        A node may refuse in the second round what it let pass in the first: a RST has ended its flow. The third round
        is as the second. What was met since the second visit is forgotten then.
        """
        visits = self.seen.setdefault(place, [])
        visits.append((len(self.hops), len(self.endpoints), len(self.targets)))
        if len(visits) < 3:
            return False
        hops, endpoints, targets = visits[1]
        del self.hops[hops:], self.endpoints[endpoints:], self.targets[targets:]
        return True

    def way(self, end: End) -> Way:
        """Return the way that ends so."""
        return Way(tuple(self.hops), end, self.packet, tuple(self.endpoints), tuple(self.targets))


def dropped(at: str, cause: Cause | str, sentence: str) -> End:
    """Return the end of a packet that goes no further."""
    return End(Kind.DROPPED, at, cause.value if isinstance(cause, Cause) else cause, sentence)


class Walker:
    """A network for the length of one exchange: the connections and flows of the first packet are there for the next.

    Walks change only what belongs to the walker.
    """

    def __init__(self, paths: Paths, states: States, choices: Choices) -> None:
        self._paths, self._machine, self._states, self._choices = paths, paths.machine, states, choices
        self._nodes: dict[str, Node] = {}
        self._appliances: dict[str, Appliance] = {}
        self._tracking: dict[str, Tracking] = {}
        self._tunnels: dict[tuple[str, str], Space | End] = {}
        self._down = _pulled(paths, states) if states.broken else frozenset()

    def walk(self, sender: str, packet: Packet) -> Way:
        """Return the way of a packet whose ends are addresses, from the instance `sender`."""
        trip = Trip(packet)
        here = self._leave(trip, self._machine.spaces[self._paths.by_name[sender].namespace])
        while not isinstance(here, End):
            here = self._meet(trip, here)
        return trip.way(here)

    def _meet(self, trip: Trip, here: Arrival) -> Arrival | End:
        if here.space.role != "node":
            return self._route(trip, here)
        node = self._paths.nodes[here.space.name]
        endpoint = self._paths.endpoints.get((node.name, here.device))
        if endpoint is None:
            return dropped(node.name, Cause.UNKNOWN_ADDRESS, f"{node.address} is a load balancer's own address")
        return self._inspect(trip, here.space, node, endpoint)

    # ---- routers and hosts ----
    def _leave(self, trip: Trip, space: Space) -> Arrival | End:
        """From the instance that made the packet."""
        packet, name = trip.packet, space.resource
        groups, tracking = self._paths.groups[space.name], self._tracked(space)
        rule = "its default route"
        if groups and not tracking.is_answer(packet):
            allowed = allowed_out(groups, packet)
            if allowed is None:
                names = " and ".join(group.name for group in groups)
                return dropped(name, Cause.SECURITY_GROUP, f"no egress rule of {names} allows {packet}")
            rule = allowed
        elif groups:
            rule = "security groups: the answer to a connection that was let in"
        tracking.note(packet)
        if packet.destination in space.addresses:
            return self._take(trip, space)
        route = space.route(MAIN, packet.destination)
        if route is None:
            return dropped(name, Cause.NO_ROUTE, f"{name} has no route to {packet.destination}")
        too_big = self._fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.note(name, "send", rule)
        return self._transmit(trip, space, route)

    def _route(self, trip: Trip, here: Arrival) -> Arrival | End:
        """Through a router, or into an instance."""
        space, device = here
        packet = trip.packet
        place = (space.name, device, packet.is_answer, *tuple_of(packet))
        if trip.goes_in_circles(place):
            circle = _circle(trip.hops, space.resource)
            return End(Kind.LOOP, space.resource, Cause.LOOP.value, f"it goes in circles: {circle}")
        refused = self._come_in(trip, here)
        if refused is not None:
            return refused
        packet = trip.packet
        if packet.destination in space.addresses:
            return self._take(trip, space)
        if not space.forwarding:
            return dropped(
                space.resource,
                Cause.SOURCE_DESTINATION_CHECK,
                f"{packet.destination} is not {space.resource}'s address",
            )
        route, detail = self._look_up(space, device, packet)
        if route is None:
            return dropped(space.resource, Cause.NO_ROUTE, self._no_route(space, packet))
        if route.kind == "blackhole":
            if space.role == "transit-gateway":
                return dropped(space.resource, Cause.BLACKHOLE, f"{route.source}")
            return dropped(space.resource, Cause.NO_SUCH_SUBNET, f"{route.source} for {packet.destination}")
        if packet.ttl <= 1:
            return dropped(space.resource, Cause.TTL, f"its TTL is over at {space.resource}")
        too_big = self._fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.packet = replace(trip.packet, ttl=trip.packet.ttl - 1)
        return self._go_out(trip, here, route, detail)

    def _come_in(self, trip: Trip, here: Arrival) -> End | None:
        """What is done before routing."""
        space, packet = here.space, trip.packet
        if space.role == "instance":
            one, groups = self._paths.instances[space.name], self._paths.groups[space.name]
            if groups and begins(packet) and allowed_in(groups, packet) is None:
                return self._shut(space, packet)
            if one.source_dest_check and packet.destination not in space.addresses:
                return dropped(
                    one.name,
                    Cause.SOURCE_DESTINATION_CHECK,
                    f"{packet.destination} is not {one.name}'s address, and its source/destination check is on",
                )
        elif space.role == "internet-gateway" and here.device == "internet":
            for private, public in self._paths.gateways[space.resource].items():
                if packet.destination == public:
                    trip.packet = replace(packet, destination=private)
                    trip.note(space.resource, "translate", f"destination {public} -> {private}")
                    break
        elif space.role == "nat-gateway":
            trip.packet = self._tracked(space).untranslated(packet)
            if trip.packet is not packet:
                trip.note(
                    space.resource, "translate", f"destination {packet.destination} -> {trip.packet.destination}",
                    "the answer to a connection that it translated",
                )  # fmt: skip
        return None

    def _go_out(self, trip: Trip, here: Arrival, route: KernelRoute, detail: str) -> Arrival | End:
        """What is done after routing."""
        space, packet = here.space, trip.packet
        kind, rule = "route", route.source or ("its default route" if route.via else f"local: {route.destination}")
        if space.role == "internet-gateway":
            kind = "edge" if here.device == "internet" else "internet"
            if route.device == "internet" and "." in packet.source:
                public = self._paths.gateways[space.resource].get(packet.source)
                if public is None:
                    return dropped(
                        space.resource,
                        Cause.NO_PUBLIC_ADDRESS,
                        f"{packet.source} has no public address at {space.resource}",
                    )
                trip.packet = replace(packet, source=public)
                kind, rule = "translate", f"source {packet.source} -> {public}"
        elif space.role == "nat-gateway":
            kind = "forward"
            source = self._translate(space, packet)
            if source:
                trip.packet = replace(packet, source=source)
                kind, rule = "translate", f"source {packet.source} -> {source}"
        elif space.role == "instance":
            kind = "forward"
            groups, tracking = self._paths.groups[space.name], self._tracked(space)
            if groups and not tracking.is_answer(packet) and allowed_in(groups, packet) is None:
                return self._shut(space, packet)
            tracking.note(packet)
        elif space.role in ("internet", "transit-gateway"):
            kind = {"internet": "internet", "transit-gateway": "transit"}[space.role]
        trip.note(space.resource, kind, rule, detail)
        return self._transmit(trip, space, route)

    def _take(self, trip: Trip, space: Space) -> End:
        """A packet for one of the namespace's own addresses."""
        packet, name = trip.packet, space.resource
        if space.role == "nat-gateway":
            return dropped(name, Cause.NAT_NO_SESSION, f"{packet} belongs to no connection of {name}")
        if space.role != "instance":
            return dropped(name, Cause.UNKNOWN_ADDRESS, f"{packet.destination} is an address of {name}'s router")
        groups, tracking = self._paths.groups[space.name], self._tracked(space)
        rule = "no security groups: everything may come in" if self._paths.instances[space.name].vpc else "its address"
        if groups and tracking.is_answer(packet):
            rule = "security groups: the answer to a connection that it began"
        elif groups:
            allowed = allowed_in(groups, packet)
            if allowed is None:
                return self._shut(space, packet)
            rule = allowed
        tracking.note(packet)
        trip.note(name, "deliver", rule)
        return End(Kind.DELIVERED, name, "", f"it arrives at {name}")

    def _shut(self, space: Space, packet: Packet) -> End:
        names = " and ".join(group.name for group in self._paths.groups[space.name])
        return dropped(space.resource, Cause.SECURITY_GROUP, f"no ingress rule of {names} allows {packet}")

    def _look_up(self, space: Space, device: str, packet: Packet) -> tuple[KernelRoute | None, str]:
        """Return the route of a packet, and how it was chosen where more than its destination decides."""
        if space.role != "transit-gateway":
            return space.route(MAIN, packet.destination), ""
        buckets = range(1, space.buckets + 1)
        routes = [space.route(space.table_of(device, bucket), packet.destination) for bucket in buckets]
        if len({(route.device, route.via) if route else None for route in routes}) == 1:
            return routes[0], ""
        ends = frozenset([(packet.source, packet.source_port), (packet.destination, packet.destination_port)])
        route = self._choices.pick((space.name, packet.protocol, ends), routes)
        assert route is not None
        self._choices.name(f"{space.resource}: {route.source}, by flow hash")
        return route, "appliance mode: a flow hash chooses the zone, the same for both directions"

    def _no_route(self, space: Space, packet: Packet) -> str:
        if space.role == "internet":
            return f"nobody on the internet has the address {packet.destination}"
        if space.role == "subnet":
            table = next((one.route_table for one in self._paths.plan.subnets if one.name == space.resource), "")
            return f"route table {table or 'main'} of {space.resource} has no route to {packet.destination}"
        return f"{space.resource} has no route to {packet.destination}"

    def _translate(self, space: Space, packet: Packet) -> str:
        """Return the source that a NAT gateway gives a packet that it forwards; "" when it leaves it as it is."""
        address, tracking = self._paths.nat[space.name].address, self._tracked(space)
        known = tracking.source_of(packet)
        if known:
            return known if known != packet.source else ""
        if packet.source == address or not may_begin(packet) or tracking.is_translated_answer(packet):
            return ""
        tracking.note(packet, address)
        return address

    def _fit(self, trip: Trip, space: Space, route: KernelRoute) -> End | None:
        packet, mtu = trip.packet, space.mtu(route.device or "")
        if packet.size <= mtu:
            return None
        if packet.df or ":" in packet.source:
            return dropped(
                space.resource,
                Cause.TOO_BIG,
                f"{packet.size} bytes do not fit into {mtu} at {space.resource}, which says so",
            )
        trip.packet = replace(packet, size=mtu, is_fragment=True)
        trip.note(space.resource, "fragment", f"MTU {mtu}", "its first fragment is followed from here")
        return None

    def _transmit(self, trip: Trip, space: Space, route: KernelRoute) -> Arrival | End:
        device = route.device or ""
        mac = space.neighbours.get((device, route.via or trip.packet.destination))
        if mac is None:
            instance = self._paths.instances.get(space.name)
            at = instance.subnet if instance else space.resource
            where = "on the internet" if at == INTERNET else f"in {at}"
            return dropped(at, Cause.UNKNOWN_ADDRESS, f"nobody {where} has the address {trip.packet.destination}")
        return self._send(trip, space, device, mac)

    def _send(self, trip: Trip, space: Space, device: str, mac: str) -> Arrival | End:
        there = self._machine.send(space, device, mac, trip.packet.size, self._down)
        if isinstance(there, Arrival):
            return there
        return _lost(there, space, trip.packet, self._machine.spaces[there.namespace].resource)

    def _tracked(self, space: Space) -> Tracking:
        found = self._tracking.get(space.name)
        if found is None:
            found = self._tracking[space.name] = Tracking()
        return found

    # ---- load balancers ----
    def _inspect(self, trip: Trip, space: Space, node: GatewayNode, endpoint: Endpoint) -> Arrival | End:
        """Into an endpoint, through the tunnel to a target and back, out of the endpoint."""
        trip.endpoints.append(endpoint.name)
        trip.note(endpoint.name, "endpoint", f"load balancer {node.load_balancer}, node {node.name}")
        if ("process", node.name) in self._states.broken:
            return dropped(endpoint.name, Cause.NODE, f"{node.name} is frozen")
        model = self._node(node)
        verdict, _, how = model.receive(endpoint.name, trip.packet)
        if isinstance(verdict, Drop):
            why = _WHY.get(verdict.reason, "the load balancer refuses it")
            return dropped(endpoint.name, verdict.reason.value, f"{node.name} drops it at {endpoint.name}: {why}")
        if isinstance(verdict, Reset):
            return dropped(endpoint.name, Cause.RESET, f"{node.name} answers it with a TCP reset at {endpoint.name}")
        assert isinstance(verdict, ToTarget)
        target = verdict.target
        trip.targets.append((node.name, target))
        trip.note(node.name, "choice", f"{target}: {how}")
        there = self._tunnel(space, node, model.address_of(target), len(verdict.datagram))
        if isinstance(there, End):
            return there
        found = self._visit(trip, there, target, verdict.datagram, model.state_of(target))
        if isinstance(found, End):
            return found
        returned, why = found
        answer = model.take_back(_source(returned), returned)
        if isinstance(answer, Drop):
            return dropped(
                node.name, answer.reason.value, f"{node.name} refuses what {target} returned: {answer.reason.value}"
            )
        assert not isinstance(answer, ToTarget)
        out = self._paths.endpoint_named[model.endpoint(answer.endpoint)]
        trip.packet = with_ttl_of(trip.packet, answer.packet)
        trip.note(
            out.name, "return", f"returned by {target}" + (f", {why}" if why else ""), f"on to subnet {out.subnet}"
        )
        return self._send(trip, space, out.device, out.router_mac)

    def _visit(self, trip: Trip, there: Space, target: str, datagram: bytes, state: str) -> tuple[bytes, str] | End:
        """Return the datagram that a target's program sends back, and why it did, where it told."""
        name, program = there.resource, self._paths.programs.get(there.name)
        detail = "" if state == "healthy" else f"its state is {state}"
        trip.note(target, "target", f"GENEVE to {name}" if name != target else "GENEVE", detail)
        if program is None or program.kind == "web":
            return dropped(target, Cause.NO_APPLIANCE, f"{name} runs no program that returns packets")
        if ("process", name) in self._states.broken:
            return dropped(target, Cause.APPLIANCE, f"the program of {name} is frozen")
        appliance = self._appliances.get(name)
        if appliance is None:
            appliance = self._appliances[name] = Appliance(program)
        cause = Cause.FIREWALL if program.kind == "firewall" else Cause.NOT_RETURNED
        outcome = appliance.receive(datagram)
        if outcome.datagram is None:
            return dropped(target, cause, f"{name} keeps the packet: {outcome.why}")
        if outcome.is_answer:
            return dropped(target, cause, f"{name} rejects the packet and answers its sender: {outcome.why}")
        return outcome.datagram, outcome.why

    def _tunnel(self, space: Space, node: GatewayNode, address: str, size: int) -> Space | End:
        """Return the namespace of the target that the GENEVE datagrams of a node reach and come back from."""
        known = self._tunnels.get((node.name, address))
        if known is None:
            known = self._tunnels[node.name, address] = self._through(space, node, address, size)
        return known

    def _through(self, space: Space, node: GatewayNode, address: str, size: int) -> Space | End:
        trip = Trip(Packet(node.address, address, UDP, TUNNEL_PORT, GENEVE_PORT, size, ttl=255, df=False))
        here = self._send(trip, space, node.device, node.neighbours.get(address, node.gateway_mac))
        while isinstance(here, Arrival) and here.space.role != "node":
            here = self._route(trip, here)
        if isinstance(here, Arrival) or here.kind is not Kind.DELIVERED:
            why = here.sentence if isinstance(here, End) else f"{address} is no target's"
            at = here.at if isinstance(here, End) else node.name
            return dropped(at, here.reason if isinstance(here, End) else Cause.UNKNOWN_ADDRESS, f"in the tunnel: {why}")
        target = self._machine.spaces[self._paths.by_name[here.at].namespace]
        back = Trip(Packet(address, node.address, UDP, TUNNEL_PORT, GENEVE_PORT, size, ttl=255, df=False))
        route = target.route(MAIN, node.address)
        there = self._transmit(back, target, route) if route else None
        while isinstance(there, Arrival) and there.space.role != "node":
            there = self._route(back, there)
        if isinstance(there, End):
            return dropped(there.at, there.reason, f"in the tunnel, on the way back: {there.sentence}")
        return target

    def _node(self, node: GatewayNode) -> Node:
        found = self._nodes.get(node.name)
        if found is None:
            settings = self._paths.settings(node)
            found = self._nodes[node.name] = Node(self._paths.plan, node, settings, self._states, self._choices)
        return found


def _lost(there: Lost, space: Space, packet: Packet, resource: str) -> End:
    if there.why == "mtu":
        return dropped(
            space.resource,
            Cause.LINK_TOO_BIG,
            f"{packet.size} bytes do not fit into the link {there.device} of {resource}",
        )
    if there.why == "down":
        return dropped(space.resource, Cause.BROKEN, f"the cable {there.device} of {resource} is pulled")
    return dropped(space.resource, Cause.UNKNOWN_ADDRESS, f"nobody on {resource} answers")


def _circle(hops: list[Hop], name: str) -> str:
    """Name the places between the last two visits of a router."""
    names = [hop.at for hop in hops if hop.kind in ("route", "endpoint", "transit", "edge", "forward", "translate")]
    at = next((number for number in reversed(range(len(names))) if names[number] == name), 0)
    circle = list(dict.fromkeys(names[at:]))
    return " -> ".join([*circle, name])


def _source(datagram: bytes) -> str:
    return ".".join(map(str, datagram[12:16]))


def _pulled(paths: Paths, states: States) -> frozenset[tuple[str, str]]:
    """Return the devices that are down: the far ends of the cables that `fail` has pulled (see lab/failure)."""
    plan, found = paths.plan, frozenset[tuple[str, str]]()
    for kind, name in states.broken:
        if kind in ("instance", "link"):
            found |= paths.machine.cables(one.namespace for one in plan.instances if one.name == name)
        elif kind == "zone":
            inside = [one.namespace for one in plan.instances if one.vpc and one.zone == name]
            inside += [node.namespace for node in plan.gateway_nodes if node.zone == name]
            found |= paths.machine.cables(inside)
    return found
