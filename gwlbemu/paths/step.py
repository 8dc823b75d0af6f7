"""One packet through routers and hosts: what each does with it is what the lab's namespace of that role does.

role              what it does beside routing                                          plan
instance          security groups, source/destination check; may forward               hosts, rulesets
subnet            its route table                                                      vpcs, routes
internet-gateway  edge route table; one-to-one translation, IPv4; refuses sources      internet, rulesets
                  that are not its VPC's
nat-gateway       gives what it forwards its own source, by connection; only of TCP,   hosts, rulesets
                  UDP and ICMP
transit-gateway   the table of the attachment it came by; a flow hash into a zone      transit
node              the load balancer: see `gateway`; its targets: see `appliance`       gateway
network-node      the load balancer: see `network`                                     network
application-node  the load balancer: see `application`                                 application
"""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.choices import Choices
from gwlbemu.paths.filters import allowed_in, allowed_out, begins
from gwlbemu.paths.index import Paths
from gwlbemu.paths.lost import circle, lost, pulled
from gwlbemu.paths.machine import MAIN, Arrival, Lost, Space, covers
from gwlbemu.paths.returns import Returns
from gwlbemu.paths.tracking import Tracking, may_begin, tuple_of
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, HopKind, Kind, Packet, States
from gwlbemu.topology import names as interfaces
from gwlbemu.topology.plan.layout import INTERNET
from gwlbemu.topology.plan.machine_half import KernelRoute
from gwlbemu.topology.plan.values import Path
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, TCP, UDP

_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")  # RFC 1918, RFC 6598
NAT_PROTOCOLS = (TCP, UDP, ICMP)
SUBNET_BRIDGE = "subnet"


class Routers:
    """Routers and hosts for the length of one exchange: connections of the first packet are there for the next."""

    def __init__(self, paths: Paths, states: States, choices: Choices) -> None:
        self._paths, self._machine, self._choices = paths, paths.machine, choices
        self._tracking: dict[str, Tracking] = {}
        self._returns = Returns()
        self._down = pulled(paths, states) if states.broken else frozenset()

    def leave(self, trip: Trip, space: Space) -> Arrival | End:
        """Let a packet leave the instance that made it; return where it comes in next, or its end."""
        packet, name = trip.packet, space.resource
        groups, tracking = self._paths.groups[space.name], self.tracked(space)
        rule, path = "its default route", Path()
        if groups and not tracking.is_answer(packet):
            allowed = allowed_out(groups, packet)
            if allowed is None:
                names = " and ".join(group.name for group in groups)
                return dropped(name, Cause.SECURITY_GROUP, f"no egress rule of {names} allows {packet}", groups[0].path)
            rule, path = allowed
        elif groups:
            rule = "security groups: the answer to a connection that was let in"
        tracking.note(packet)
        if packet.destination in space.addresses:
            return self._take(trip, space, came_in=False)
        route = space.route(MAIN, packet.destination)
        if route is None:
            return dropped(name, Cause.NO_ROUTE, f"{name} has no route to {packet.destination}")
        too_big = self.fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.note(name, "send", rule, path=path)
        return self.transmit(trip, space, route)

    def route_on(self, trip: Trip, here: Arrival) -> Arrival | End:
        """Take a packet through a router, or into an instance; return where it comes in next, or its end."""
        space, device = here
        refused = self.circle(trip, here) or self._come_in(trip, here)
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
        route, detail = self._look_up(space, device, packet, trip.mark)
        if route is None:
            return dropped(space.resource, Cause.NO_ROUTE, self._no_route(space, packet), self._table(space, device))
        if route.kind == "blackhole":
            if space.role == "transit-gateway":
                return dropped(space.resource, Cause.BLACKHOLE, f"{route.source}", route.path)
            return dropped(space.resource, Cause.NO_SUCH_SUBNET, f"{route.source} for {packet.destination}", route.path)
        if packet.ttl <= 1:
            return dropped(space.resource, Cause.TTL, f"its TTL is over at {space.resource}")
        too_big = self.fit(trip, space, route)
        if too_big is not None:
            return too_big
        trip.packet = replace(trip.packet, ttl=trip.packet.ttl - 1)
        return self._go_out(trip, here, route, detail)

    def circle(self, trip: Trip, here: Arrival) -> End | None:
        """Return the end of a packet that comes here again and again; None for any other."""
        space, device = here
        if trip.goes_in_circles((space.name, device, trip.packet.is_answer, *tuple_of(trip.packet))):
            round_ = circle(trip.hops, space.resource)
            return End(Kind.LOOP, space.resource, Cause.LOOP.value, f"it goes in circles: {round_}")
        return None

    def _come_in(self, trip: Trip, here: Arrival) -> End | None:
        """What is done before routing."""
        space, packet = here.space, trip.packet
        if space.role == "instance":
            one, groups = self._paths.instances[space.name], self._paths.groups[space.name]
            if groups and begins(packet) and allowed_in(groups, packet, self._balancers(trip)) is None:
                return self._shut(space, packet)
            if one.source_dest_check and packet.destination not in space.addresses:
                return dropped(
                    one.name,
                    Cause.SOURCE_DESTINATION_CHECK,
                    f"{packet.destination} is not {one.name}'s address, and its source/destination check is on",
                    (*self._paths.plan.places.get(one.name, ()), "source_dest_check"),
                )
            self.remember_return(space, packet, trip.mark)
        elif space.role == "internet-gateway" and here.device == "internet":
            if packet.destination in self._paths.inside_only:
                told = f"{packet.destination} is of an internal load balancer, which nobody on the internet reaches"
                return dropped(space.resource, Cause.NO_PUBLIC_ADDRESS, told)
            for private, public in self._paths.gateways[space.resource].items():
                if packet.destination == public:
                    trip.packet = replace(packet, destination=private)
                    trip.note(space.resource, "translate", f"destination {public} -> {private}")
                    break
        elif space.role == "internet-gateway":
            return self._not_of_its_vpc(space, packet)
        elif space.role == "nat-gateway":
            if ":" not in packet.source and packet.protocol not in NAT_PROTOCOLS:
                return dropped(
                    space.resource,
                    Cause.NAT_PROTOCOL,
                    f"{space.resource} translates TCP, UDP and ICMP, not {protocols.name(packet.protocol)}",
                )
            trip.packet = self.tracked(space).untranslated(packet)
            if trip.packet is not packet:
                trip.note(
                    space.resource, "translate", f"destination {packet.destination} -> {trip.packet.destination}",
                    "the answer to a connection that it translated",
                )  # fmt: skip
        return None

    def _not_of_its_vpc(self, space: Space, packet: Packet) -> End | None:
        """What an internet gateway refuses of that which comes from its VPC, whatever the destination."""
        name, source = space.resource, packet.source
        if "." in source:
            if source in self._paths.gateways[name]:
                return None
            if self._is_private(packet.destination):
                told = f"{packet.destination} is a private address, and {name} leads to the internet"
                return dropped(name, Cause.NO_PUBLIC_ADDRESS, told)
            return dropped(name, Cause.NO_PUBLIC_ADDRESS, f"{source} has no public address at {name}")
        vpc = next(each for each in self._paths.plan.vpcs if each.internet_gateway == name)
        if vpc.ipv6_cidr and covers(vpc.ipv6_cidr, source):
            return None
        return dropped(name, Cause.NO_PUBLIC_ADDRESS, f"{source} is no address of VPC {vpc.name}, which {name} is for")

    def _is_private(self, address: str) -> bool:
        """Whether no packet finds an IPv4 address on the internet: it is reserved for that, or inside a VPC."""
        return any(covers(each, address) for each in (*_PRIVATE, *(vpc.cidr for vpc in self._paths.plan.vpcs)))

    def _go_out(self, trip: Trip, here: Arrival, route: KernelRoute, detail: str) -> Arrival | End:
        """What is done after routing."""
        space, packet = here.space, trip.packet
        kind: HopKind = "route"
        rule = route.source or ("its default route" if route.via else f"local: {route.destination}")
        path = route.path
        if space.role == "internet-gateway":
            kind = "edge" if here.device == "internet" else "internet"
            if route.device == "internet" and "." in packet.source:
                public = self._paths.gateways[space.resource].get(packet.source)
                if public is None:
                    told = f"{packet.source} has no public address at {space.resource}"
                    if here.device == "internet":
                        told = f"{packet.destination} is no public address of {space.resource}"
                    return dropped(space.resource, Cause.NO_PUBLIC_ADDRESS, told)
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
            groups, tracking = self._paths.groups[space.name], self.tracked(space)
            if groups and not tracking.is_answer(packet) and allowed_in(groups, packet) is None:
                return self._shut(space, packet)
            tracking.note(packet)
        elif space.role == "internet":
            kind = "internet"
        elif space.role == "transit-gateway":
            kind = "transit"
        trip.note(space.resource, kind, rule, detail, path)
        return self.transmit(trip, space, route)

    def _take(self, trip: Trip, space: Space, *, came_in: bool = True) -> End:
        """A packet for one of the namespace's own addresses; from outside, or from itself."""
        packet, name = trip.packet, space.resource
        if space.role == "nat-gateway":
            return dropped(name, Cause.NAT_NO_SESSION, f"{packet} belongs to no connection of {name}")
        if space.role != "instance":
            return dropped(name, Cause.UNKNOWN_ADDRESS, f"{packet.destination} is an address of {name}'s router")
        groups, tracking = self._paths.groups[space.name], self.tracked(space)
        rule = "no security groups: everything may come in" if self._paths.instances[space.name].vpc else "its address"
        path = Path()
        if groups and tracking.is_answer(packet):
            rule = "security groups: the answer to a connection that it began"
        elif groups:
            allowed = allowed_in(groups, packet, self._balancers(trip))
            if allowed is None:
                return self._shut(space, packet)
            rule, path = allowed
        if came_in and packet.source in space.addresses:
            return self._hairpin(trip, name)
        tracking.note(packet)
        trip.note(name, "deliver", rule, self._nobody_listens(space, packet), path=path)
        return End(Kind.DELIVERED, name, "", f"it arrives at {name}")

    def _hairpin(self, trip: Trip, name: str) -> End:
        """NLB guide, Troubleshoot: a target that is a client of its own load balancer."""
        told = f"{name} gets a packet with its own address as source, which its kernel drops"
        if trip.balanced:
            told += (
                ": the client is its own target, and NAT loopback, or hairpinning, is not supported while client IP"
                " preservation is on"
            )
        return dropped(name, Cause.HAIRPIN, told)

    def _balancers(self, trip: Trip) -> tuple[str, ...]:
        """The groups of the network load balancer whose node has sent a packet with its client's address."""
        return self._paths.groups_of_mark(trip.mark) if trip.mark and "." in trip.packet.source else ()

    def _nobody_listens(self, space: Space, packet: Packet) -> str:
        """Say so where the plan knows all that listens: one of our programs, which has a TCP port, and nothing else."""
        program = self._paths.programs.get(space.name)
        if program is None or program.listens is None or packet.is_answer or not packet.has_ports:
            return ""
        port = packet.destination_port
        if port is None or (packet.protocol == TCP and port == program.listens):
            return ""
        what = "a RST" if packet.protocol == TCP else "an ICMP error"
        return f"the plan knows nobody who listens on {protocols.name(packet.protocol)} {port}: the answer is {what}"

    def _shut(self, space: Space, packet: Packet) -> End:
        groups = self._paths.groups[space.name]
        names = " and ".join(group.name for group in groups)
        return dropped(
            space.resource, Cause.SECURITY_GROUP, f"no ingress rule of {names} allows {packet}", groups[0].path
        )

    def _look_up(self, space: Space, device: str, packet: Packet, mark: int) -> tuple[KernelRoute | None, str]:
        """Return the route of a packet, and how it was chosen where more than its destination decides."""
        if space.role != "transit-gateway":
            table = space.table_of(device, mark) if mark else MAIN
            return space.route(table, packet.destination), ""
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

    def _table(self, space: Space, device: str) -> Path:
        """Return where in the file the table stands that has no route: at a transit gateway that of the attachment."""
        gateway, places = self._paths.transit.get(space.name), self._paths.plan.places
        for each in gateway.attachments if gateway else ():
            if device in (interfaces.device(interfaces.attachment(each.name, zone)) for zone in each.zones):
                return places.get(each.name, ())
        return ()

    def _translate(self, space: Space, packet: Packet) -> str:
        """Return the source that a NAT gateway gives a packet that it forwards; "" when it leaves it as it is."""
        address, tracking = self._paths.nat[space.name].address, self.tracked(space)
        known = tracking.source_of(packet)
        if known:
            return known if known != packet.source else ""
        if packet.source == address or not may_begin(packet) or tracking.is_translated_answer(packet):
            return ""
        tracking.note(packet, address)
        return address

    def fit(self, trip: Trip, space: Space, route: KernelRoute) -> End | None:
        """Cut a packet that is too long for a route's device; return its end where it may not be cut."""
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

    def transmit(self, trip: Trip, space: Space, route: KernelRoute, mark: int = 0) -> Arrival | End:
        """Send a packet to the next hop of a route; return where it comes in, or its end.

        `mark` is the packet's where it comes in. An instance's answer to what came from a network load balancer's node
        comes in at its subnet's router, whatever the route, with the node's mark.
        """
        device, subnet = route.device or "", self._paths.returning.get(space.name)
        if space.role == "subnet" and device == SUBNET_BRIDGE:
            mark = trip.mark
        trip.mark = mark
        if subnet is not None and (back := self._returns.sent(subnet.name, trip.packet)):
            trip.mark = back
            return self.send(trip, space, device, subnet.bridges[SUBNET_BRIDGE].mac)
        mac = space.neighbours.get((device, route.via or trip.packet.destination))
        if mac is None and self._machine.is_down(space, device, self._down):
            return lost(Lost(space.name, device, "down"), space, trip.packet, space.resource)
        if mac is None:
            instance = self._paths.instances.get(space.name)
            at = instance.subnet if instance else space.resource
            where = "on the internet" if at == INTERNET else f"in {at}"
            return dropped(at, Cause.UNKNOWN_ADDRESS, f"nobody {where} has the address {trip.packet.destination}")
        return self.send(trip, space, device, mac)

    def send(self, trip: Trip, space: Space, device: str, mac: str) -> Arrival | End:
        """Send a packet by a device to a MAC; return where it comes in, or its end."""
        there = self._machine.send(space, device, mac, trip.packet.size, self._down)
        if isinstance(there, Arrival):
            return there
        return lost(there, space, trip.packet, self._machine.spaces[there.namespace].resource)

    def remember_return(self, space: Space, packet: Packet, mark: int) -> None:
        """Let the port of an instance or a node remember whence a packet comes that it lets through."""
        if space.name in self._paths.returning:
            self._returns.received(self._paths.returning[space.name].name, packet, mark)

    def tracked(self, space: Space) -> Tracking:
        """Return the connections that a namespace knows, or the port of its interface."""
        found = self._tracking.get(space.name)
        if found is None:
            found = self._tracking[space.name] = Tracking()
        return found
