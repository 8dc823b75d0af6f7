"""What works, and costs or hangs on one zone: findings that leave a design sound.

Sources: PrivateLink and GWLB guides (an endpoint per zone; traffic between zones is paid for); contract TG-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.paths.values import Exchange, Hop, Way
from gwlbemu.review.balancing import CROSS_ZONE, cross_zone, zones_of_targets, zones_with_endpoints
from gwlbemu.review.edit import setting
from gwlbemu.review.fault import ROUTING, Fault
from gwlbemu.review.finding import listed
from gwlbemu.review.talk import Pair, Talk
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Route, Topology

Walks = Mapping[Pair, Exchange]


def hints(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """Yield ways through another zone, targets that are never used, and inspection that hangs on one zone."""
    yield from _other_zones(talk, walks)
    yield from _unused_targets(talk)
    yield from _single_zones(talk, walks)


def every_way(walks: Walks) -> Iterator[tuple[Pair, Exchange, Way]]:
    """Yield every way of every pair, with the exchange that it belongs to."""
    for pair, found in walks.items():
        for one in found.possible:
            yield from ((pair, one, way) for way in one.ways)


def lines_in_use(topology: Topology, vpc: str) -> Iterator[tuple[Route, ...]]:
    """Yield the lines of each table of a VPC that a subnet or its internet gateway uses."""
    one = next(each for each in topology.vpcs if each.name == vpc)
    used = {subnet.route_table for subnet in one.subnets} | {one.internet_gateway and one.internet_gateway.route_table}
    yield from (table.routes for table in one.route_tables if table.name in used)


def _other_zones(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """Ways through an endpoint or a NAT gateway of another zone, where their own zone has one, too."""
    places = {one.name: (one.vpc, one.zone, one.load_balancer) for one in talk.plan.endpoints}
    places |= {one.name: (one.vpc, one.zone, "NAT") for one in talk.plan.nat_gateways}
    standing, homes = set(places.values()), {one.name: one.zone for one in talk.plan.subnets}
    found: dict[tuple[str, str], Fault] = {}
    passed: dict[tuple[str, str], dict[str, None]] = {}
    for pair, one, way in every_way(walks):
        zones = talk.zones_of(pair)
        if not one.answered or (one.there.choices and way is not one.there):
            continue
        zone = zones.pop() if len(zones) == 1 and not one.there.choices else ""
        before: Hop | None = None
        for hop in way.hops:
            if before and before.kind == "transit" and one.there.choices:
                zone = homes.get(hop.at, "")  # a flow hash chose it
            vpc, there, kind = places.get(hop.at, ("", "", ""))
            if (
                zone and hop.kind in ("endpoint", "translate") and before and before.path
                and there not in ("", zone) and (vpc, zone, kind) in standing
            ):  # fmt: skip
                fault = found.setdefault((zone, there), Fault("crosses-zone", "hint", "", (before.path,)))
                fault.pairs.setdefault(pair, set()).add(one.there.choices)
                fault.lines = tuple(dict.fromkeys([*fault.lines, before.path]))
                passed.setdefault((zone, there), {})[hop.at] = None
            if hop.kind in ROUTING:
                before = hop
    for (zone, there), fault in found.items():
        fault.subject = f"zone {zone}"
        fault.why = (
            f"its traffic passes {listed(list(passed[zone, there]))} of zone {there}, though such stand in zone {zone},"
            f" too ({listed([str(pair) for pair in fault.pairs], 2)}): every byte crosses a zone and is paid for, and a"
            " failure of one zone takes the other with it"
        )
        yield fault


def _unused_targets(talk: Talk) -> Iterator[Fault]:
    """Targets of a zone that has no endpoint, without cross-zone load balancing."""
    topology = talk.topology
    groups = {group.name: (number, group) for number, group in enumerate(topology.target_groups)}
    for index, balancer in enumerate(topology.load_balancers):
        own: Path = ("load_balancers", index)
        zones = set(zones_with_endpoints(topology, balancer.name))
        for number, group in (groups[name] for name in balancer.target_groups()):
            homes = zones_of_targets(topology, group)
            idle = [name for name, zone in homes.items() if zone not in zones | {EVERY_ZONE}]
            if idle and zones and not cross_zone(balancer):
                where = ", ".join(sorted({homes[name] for name in idle}))
                here: Path = ("target_groups", number, "targets")
                why = (
                    f"never used: load balancer {balancer.name} has no endpoint in zone {where}, and cross-zone load"
                    " balancing is off"
                )
                place = (*own, "attributes", CROSS_ZONE)
                edit = setting(place, "true", f"{CROSS_ZONE}: true")
                yield Fault("unused-target", "hint", why, (here,), subject=f"target {listed(idle)}", edits=(edit,))


def _single_zones(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """Instances of several zones whose inspection hangs on one."""
    routes = {
        route.target for vpc in talk.topology.vpcs for lines in lines_in_use(talk.topology, vpc.name) for route in lines
    }
    zones_of: dict[str, set[str]] = {}
    for pair, _, way in every_way(walks):
        for name in way.endpoints:
            service = talk.paths.endpoint_named[name].load_balancer
            zones_of.setdefault(service, set()).update(talk.zones_of(pair))
    for number, balancer in enumerate(talk.topology.load_balancers):
        mine = [one for one in talk.plan.endpoints if one.load_balancer == balancer.name and one.name in routes]
        served = sorted(zones_of.get(balancer.name, ()))
        if len({one.zone for one in mine}) == 1 and len(served) > 1:
            why = (
                f"zone {mine[0].zone} is a single point of failure: what zones {', '.join(served)} send is inspected"
                " there alone"
            )
            here: Path = ("load_balancers", number)
            yield Fault("single-zone", "hint", why, (here,), subject=f"load balancer {balancer.name}")
