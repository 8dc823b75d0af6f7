"""Frames that come out nowhere: why, in a sentence, and which devices `fail` has taken down."""

from __future__ import annotations

from gwlbemu.paths.index import Paths
from gwlbemu.paths.machine import Lost, Space
from gwlbemu.paths.trip import dropped
from gwlbemu.paths.values import Cause, End, Hop, Packet, States


def lost(there: Lost, space: Space, packet: Packet, resource: str) -> End:
    """Return the end of a packet that `space` sent and that was lost at `resource`."""
    if there.why == "mtu":
        return dropped(
            space.resource,
            Cause.LINK_TOO_BIG,
            f"{packet.size} bytes do not fit into the link {there.device} of {resource}",
        )
    if there.why == "down" and there.device in space.bridges:
        return dropped(space.resource, Cause.BROKEN, f"every cable of {resource} is pulled")
    if there.why == "down":
        return dropped(space.resource, Cause.BROKEN, f"the cable {there.device} of {resource} is pulled")
    return dropped(space.resource, Cause.UNKNOWN_ADDRESS, f"nobody on {resource} answers")


def circle(hops: list[Hop], name: str) -> str:
    """Name the places between the last two visits of a router."""
    names = [hop.at for hop in hops if hop.kind in ("route", "endpoint", "transit", "edge", "forward", "translate")]
    at = next((number for number in reversed(range(len(names))) if names[number] == name), 0)
    circle = list(dict.fromkeys(names[at:]))
    return " -> ".join([*circle, name])


def pulled(paths: Paths, states: States) -> frozenset[tuple[str, str]]:
    """Return the devices that are down: the far ends of the cables that `fail` has pulled (see lab/failure)."""
    plan, found = paths.plan, frozenset[tuple[str, str]]()
    for kind, name in states.broken:
        if kind in ("instance", "link"):
            found |= paths.machine.cables(one.namespace for one in plan.instances if one.name == name)
        elif kind == "zone":
            inside = [one.namespace for one in plan.instances if one.vpc and one.zone == name]
            inside += [node.namespace for node in plan.nodes if node.zone == name]
            found |= paths.machine.cables(inside)
        elif kind == "node":
            found |= paths.machine.cables(node.namespace for node in plan.nodes if node.name == name)
    return found
