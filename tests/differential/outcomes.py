"""What became of each probe, from everything that was seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.ip import IpPacket
from tests.differential.probes import Probe
from tests.differential.sightings import Key, Observed, Outcome, Sighting, Which, address_text, key_at_node, key_of
from tests.differential.watch import Watch

ROUND = 3  # times that a packet comes to a router by one interface, and goes round in a loop
ROUTERS = ("subnet", "internet", "internet-gateway", "nat-gateway", "transit-gateway", "network-node")


def outcomes(watch: Watch, probes: Sequence[Probe]) -> list[Outcome]:
    """Return what became of each probe and its answer, from everything that was seen."""
    sightings: dict[Which, list[Sighting]] = defaultdict(list)
    events: dict[Which, list[TracedPacket]] = defaultdict(list)
    of_key: dict[Key, Which] = {}
    for one in sorted(watch.sightings, key=lambda one: one.at):
        which = (one.what.number, one.what.is_answer)
        sightings[which].append(one)
        key = key_at_node(one)
        if key and one.what.error is None:
            of_key[key] = which
    for event in sorted(watch.events, key=lambda event: event.at):
        if key_of(event) in of_key:
            events[of_key[key_of(event)]].append(event)
    found = []
    for probe in probes:
        there, back = (
            _observed(watch, which, sightings[which], events[which], probe)
            for which in ((probe.number, False), (probe.number, True))
        )
        found.append(Outcome(probe, there, back if there.delivered_to or back.delivered_to else None))
    return found


def _observed(
    watch: Watch, which: Which, everything: list[Sighting], events: list[TracedPacket], probe: Probe
) -> Observed:
    errors = [one for one in everything if one.what.error and one.outgoing]
    seen = [one for one in everything if not one.what.error]
    crossed = [event for event in events if event.verdict == "to-target"]
    refused = [event for event in events if event.verdict in ("drop", "reset")]
    delivered = watch.delivered.get(which, "")
    # With shortcuts a tap's time may be when it was read, so only the place tells which sighting is the last.
    arrived = [one for one in seen if one.resource == delivered and not one.outgoing]
    sign, resource, role = "silent", probe.sender.name if not which[1] else "", "instance"
    if seen:
        resource, role = seen[-1].resource, seen[-1].role
    elif which[1]:
        resource = watch.delivered.get((which[0], False), "")
    arrivals = [one for one in seen if one.role in ROUTERS and not one.outgoing and one.tunnel is None]
    rounds = Counter((one.resource, one.device) for one in arrivals)
    if delivered:
        sign = ""
    elif rounds and max(rounds.values()) >= ROUND:
        sign = "loop"
    elif refused:
        last = refused[-1]
        sign, role = last.reason or "reset", "node"
        resource = last.endpoint if last.direction == "out" else last.node
    elif errors:
        kind, code = errors[0].what.error or (0, 0)
        sign, resource, role = f"icmp {kind}/{code}", errors[0].resource, errors[0].role
    elif which in watch.not_sent:
        sign = "not sent"
    elif seen and role == "instance" and not seen[-1].outgoing and not seen[-1].tunnel and not watch.is_own(seen[-1]):
        sign = "not its address"
    lowest = min((one.ip.ttl for one in seen), default=0)
    return Observed(
        delivered_to=delivered,
        resource=resource,
        role=role,
        sign=sign,
        lowest=frozenset(one.resource for one in seen if one.ip.ttl == lowest),
        looks=_looks(arrived[-1].ip) if arrived else ("", "", 0),
        endpoints=tuple(event.endpoint for event in crossed),
        targets=tuple((event.node, event.target) for event in crossed),
        routers=_routers(seen),
        sightings=tuple(everything),
    )


def _looks(ip: IpPacket) -> tuple[str, str, int]:
    return address_text(ip.source), address_text(ip.destination), ip.ttl


def _routers(seen: list[Sighting]) -> tuple[str, ...]:
    """Return the routers that took one off the TTL, in their order."""
    found = []
    for (resource, role), group in groupby(seen, key=lambda one: (one.resource, one.role)):
        passing = list(group)
        if role in ROUTERS and passing[-1].outgoing and passing[-1].ip.ttl < passing[0].ip.ttl:
            found.append(resource)
    return tuple(found)
