"""One packet from element to element, until it ends."""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.balancers import LoadBalancers
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import Arrival
from gwlbemu.paths.network import NetworkBalancers
from gwlbemu.paths.step import Routers
from gwlbemu.paths.trip import Trip, dropped
from gwlbemu.paths.values import Cause, End, Kind, Packet, States, Way


class Walker:
    """A network for the length of one exchange: what the first packet has left behind is there for the next.

    Walks change only what belongs to the walker.
    """

    def __init__(self, paths: Paths, states: States, choices: Choices) -> None:
        self._paths = paths
        self._routers = Routers(paths, states, choices)
        self._balancers = LoadBalancers(paths, states, choices, self._routers)
        self._network = NetworkBalancers(paths, states, choices, self._routers)

    def walk(self, sender: str, packet: Packet) -> Way:
        """Return the way of a packet whose ends are addresses, from the instance `sender`."""
        trip = Trip(packet)
        here = self._routers.leave(trip, self._paths.machine.spaces[self._paths.by_name[sender].namespace])
        while not isinstance(here, End):
            here = self._meet(trip, here)
        if here.kind is not Kind.DELIVERED and not here.path:
            here = replace(here, path=self._paths.plan.places.get(here.at, ()))
        return trip.way(here)

    def _meet(self, trip: Trip, here: Arrival) -> Arrival | End:
        if here.space.role == "network-node":
            return self._network.forward(trip, here)
        if here.space.role != "node":
            return self._routers.route_on(trip, here)
        node = self._paths.nodes[here.space.name]
        endpoint = self._paths.endpoints.get((node.name, here.device))
        if endpoint is None:
            return dropped(node.name, Cause.UNKNOWN_ADDRESS, f"{node.address} is a load balancer's own address")
        return self._balancers.inspect(trip, here.space, node, endpoint)
