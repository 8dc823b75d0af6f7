"""One packet from element to element, until it ends."""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.application import ApplicationBalancers
from gwlbemu.paths.balancers import LoadBalancers
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import Arrival, Space
from gwlbemu.paths.network import NetworkBalancers
from gwlbemu.paths.step import Routers
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, Kind, Packet, States, Way
from gwlbemu.topology.plan.values import NetworkNode


class Walker:
    """A network for the length of one exchange: what the first packet has left behind is there for the next.

    Walks change only what belongs to the walker.
    """

    def __init__(self, paths: Paths, states: States, choices: Choices) -> None:
        self._paths = paths
        self._routers = Routers(paths, states, choices)
        self._balancers = LoadBalancers(paths, states, choices, self._routers)
        self._network = NetworkBalancers(paths, states, choices, self._routers)
        self._application = ApplicationBalancers(paths, states, self._routers)
        self._namespaces = {one.name: one.namespace for one in (*paths.plan.instances, *paths.plan.addressed_nodes)}

    def walk(self, sender: str, packet: Packet) -> Way:
        """Return the way of a packet whose ends are addresses, from an instance or a node called `sender`."""
        trip = Trip(packet)
        return self._go(trip, self._routers.leave(trip, self._space(sender)))

    def walk_from_proxy(self, node: NetworkNode, target: str, packet: Packet, *, keeps_client: bool) -> Way:
        """Return the way of the first packet of a connection that the proxy in a node begins to a target, by its id."""
        trip = Trip(packet)
        trip.balanced.append((node.name, target))
        return self._go(trip, self._network.begin(trip, node, keeps_client=keeps_client))

    def _space(self, name: str) -> Space:
        return self._paths.machine.spaces[self._namespaces[name]]

    def _go(self, trip: Trip, here: Arrival | End) -> Way:
        while not isinstance(here, End):
            here = self._meet(trip, here)
        if here.kind is not Kind.DELIVERED and not here.path:
            here = replace(here, path=self._paths.plan.places.get(here.at, ()))
        return trip.way(here)

    def _meet(self, trip: Trip, here: Arrival) -> Arrival | End:
        if here.space.role == "network-node":
            return self._network.forward(trip, here)
        if here.space.role == "application-node":
            return self._application.receive(trip, here)
        if here.space.role != "node":
            return self._routers.route_on(trip, here)
        node = self._paths.nodes[here.space.name]
        endpoint = self._paths.endpoints.get((node.name, here.device))
        if endpoint is None:
            return dropped(node.name, Cause.UNKNOWN_ADDRESS, f"{node.address} is a load balancer's own address")
        return self._balancers.inspect(trip, here.space, node, endpoint)
