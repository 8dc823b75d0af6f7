"""One packet through a load balancer: into an endpoint, through the tunnel to a target and back, out of the endpoint.

What the node says is the core's (see `gateway`), what the target does its program's (see `appliance`); the datagrams
between them go where every packet goes (see `step`).
"""

from __future__ import annotations

from gwlbemu.core.gateway.settings import GENEVE_PORT, LONGEST_PACKET
from gwlbemu.core.gateway.verdict import Drop, Reason, Reset, ToTarget
from gwlbemu.paths.appliance import Appliance
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.gateway import Node
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import MAIN, Arrival, Space
from gwlbemu.paths.octets import with_ttl_of
from gwlbemu.paths.step import Routers
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, Kind, Packet, States
from gwlbemu.topology.plan.values import Endpoint, GatewayNode
from gwlbemu.wire.protocols import TCP, UDP
from gwlbemu.wire.tcp import FIN, RST, SYN

_WHY = {
    Reason.NO_TARGET: "no target is in scope",
    Reason.MIDSTREAM: "it is no SYN and belongs to no flow there",
    Reason.TOO_LONG: f"it is longer than {LONGEST_PACKET} bytes",
    Reason.FRAGMENT: "it is a fragment",
    Reason.MALFORMED: "it cannot be read",
    Reason.TTL_EXPIRED: "its TTL is over",
}
TUNNEL_PORT = 60000  # one of the source ports that a node uses; no rule looks at it


class LoadBalancers:
    """The nodes and the appliances for the length of one exchange: flows of the first packet are there for the next."""

    def __init__(self, paths: Paths, states: States, choices: Choices, routers: Routers) -> None:
        self._paths, self._states, self._choices, self._routers = paths, states, choices, routers
        self._nodes: dict[str, Node] = {}
        self._appliances: dict[str, Appliance] = {}
        self._tunnels: dict[tuple[str, str], Space | End] = {}

    def inspect(self, trip: Trip, space: Space, node: GatewayNode, endpoint: Endpoint) -> Arrival | End:
        """Take a packet that comes in at an endpoint through a target; return where it comes in next, or its end."""
        trip.endpoints.append(endpoint.name)
        trip.note(endpoint.name, "endpoint", f"load balancer {node.load_balancer}, node {node.name}")
        model = self._node(node)
        is_frozen = ("process", node.name) in self._states.broken
        if is_frozen and not self._goes_on(node, model, endpoint.name, trip.packet):
            return dropped(endpoint.name, Cause.NODE, f"{node.name} is frozen")
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
            wrong = answer.wrong or answer.reason.value
            return dropped(node.name, answer.reason.value, f"{node.name} refuses what {target} returned: {wrong}")
        assert not isinstance(answer, ToTarget)
        out = self._paths.endpoint_named[model.endpoint(answer.endpoint)]
        trip.packet = with_ttl_of(trip.packet, answer.packet)
        trip.note(
            out.name, "return", f"returned by {target}" + (f", {why}" if why else ""), f"on to subnet {out.subnet}"
        )
        return self._routers.send(trip, space, out.device, out.router_mac)

    def _goes_on(self, node: GatewayNode, model: Node, endpoint: str, packet: Packet) -> bool:
        """Tell whether the kernel carries a packet of a frozen node: perhaps, if a flow is there that it can know."""
        opens_or_ends = packet.protocol == TCP and packet.tcp_flags & (SYN | FIN | RST)
        if self._paths.plan.datapath == "python" or opens_or_ends or packet.is_fragment:
            return False
        if not model.knows(endpoint, packet) and (packet.protocol == TCP or node.name in self._states.flows):
            return False
        carried = self._choices.pick(("frozen", node.name, packet.is_answer), (False, True))
        does = "carries on with the flow" if carried else "has no flow to carry on with"
        self._choices.name(f"{node.name} is frozen: its fast path {does}")
        return carried

    def _visit(self, trip: Trip, there: Space, target: str, datagram: bytes, state: str) -> tuple[bytes, str] | End:
        """Return the datagram that a target's program sends back, and why it did, where it told."""
        name, program = there.resource, self._paths.programs.get(there.name)
        detail = "" if state == "healthy" else f"its state is {state}"
        trip.note(target, "target", f"GENEVE to {name}" if name != target else "GENEVE", detail)
        if program is None or program.kind == "web":
            return dropped(target, Cause.NO_APPLIANCE, f"{name} runs no program that returns packets")
        if ("process", name) in self._states.broken:
            return dropped(target, Cause.APPLIANCE, f"the program of {name} is frozen")
        if program.kind == "command" and name not in self._states.returning:
            returned = self._choices.pick(("command", name, trip.packet.is_answer), (True, False))
            self._choices.name(f"{name} {'returns it' if returned else 'keeps it'}")
            if not returned:
                return dropped(target, Cause.OWN_PROGRAM, f"what {name} does with it is its own: it may keep it")
        appliance = self._appliances.get(name)
        if appliance is None:
            appliance = self._appliances[name] = Appliance(program)
        cause = Cause.FIREWALL if program.kind == "firewall" else Cause.NOT_RETURNED
        outcome = appliance.receive(datagram)
        if program.kind == "command" and name not in self._states.returning:
            outcome = outcome._replace(why="if its own program does so")
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
        here = self._routers.send(trip, space, node.device, node.neighbours.get(address, node.gateway_mac))
        while isinstance(here, Arrival) and here.space.role != "node":
            here = self._routers.route_on(trip, here)
        if isinstance(here, Arrival) or here.kind is not Kind.DELIVERED:
            why = here.sentence if isinstance(here, End) else f"{address} is no target's"
            at = here.at if isinstance(here, End) else node.name
            return dropped(at, here.reason if isinstance(here, End) else Cause.UNKNOWN_ADDRESS, f"in the tunnel: {why}")
        target = self._paths.machine.spaces[self._paths.by_name[here.at].namespace]
        back = Trip(Packet(address, node.address, UDP, TUNNEL_PORT, GENEVE_PORT, size, ttl=255, df=False))
        route = target.route(MAIN, node.address)
        there = self._routers.transmit(back, target, route) if route else None
        while isinstance(there, Arrival) and there.space.role != "node":
            there = self._routers.route_on(back, there)
        if isinstance(there, End):
            return dropped(there.at, there.reason, f"in the tunnel, on the way back: {there.sentence}")
        return target

    def _node(self, node: GatewayNode) -> Node:
        found = self._nodes.get(node.name)
        if found is None:
            settings = self._paths.settings(node)
            found = self._nodes[node.name] = Node(self._paths.plan, node, settings, self._states, self._choices)
        return found


def _source(datagram: bytes) -> str:
    return ".".join(map(str, datagram[12:16]))
