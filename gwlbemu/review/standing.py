"""What no single exchange shows: endpoints and attachments that nothing reaches, zones that were forgotten, instances
that nobody inspects.

Sources: PrivateLink guide (an endpoint per zone); Transit Gateway guide (routes of the VPC lead to the attachment).
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.paths.values import Cause, Exchange
from gwlbemu.review.fault import Fault, is_line, lines_of, table_at
from gwlbemu.review.finding import listed
from gwlbemu.review.hints import Walks, every_way, lines_in_use
from gwlbemu.review.talk import Pair, Talk
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import LOCAL


def standing_faults(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """Yield what no single exchange shows."""
    yield from _endpoints_without_a_route(talk, walks)
    yield from _endpoints_that_a_zone_forgot(talk, walks)
    yield from _zones_without_a_default(talk, walks)
    yield from _attachments_without_a_route(talk)
    yield from _uninspected(talk, walks)
    yield from _ways_around(talk, walks)


def _endpoints_without_a_route(talk: Talk, walks: Walks) -> Iterator[Fault]:
    topology = talk.topology
    led_to = {
        (vpc.name, route.target)
        for vpc in topology.vpcs
        for table in lines_in_use(topology, vpc.name)
        for route in table
    }
    for index, vpc in enumerate(topology.vpcs):
        for number, endpoint in enumerate(vpc.endpoints):
            if (vpc.name, endpoint.name) not in led_to:
                here: Path = ("vpcs", index, "endpoints", number)
                fault = Fault(
                    "unused-endpoint", "warning", "no route leads to it, so that nothing passes it", (here,),
                    frozenset([here]), subject=f"endpoint {endpoint.name} of load balancer {endpoint.service}",
                )  # fmt: skip
                _note_uninspected(fault, walks, ("vpcs", index))
                yield fault


def _endpoints_that_a_zone_forgot(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """An endpoint that nothing passes, in a zone whose instances have local routes only, while other zones use theirs.

    A subnet with local routes only is a decision, unless it leaves a zone of a design without what the others have.
    """
    passed = {name for _, _, way in every_way(walks) for name in way.endpoints}
    for endpoint in talk.plan.endpoints:
        twins = [
            one.name
            for one in talk.plan.endpoints
            if (one.vpc, one.load_balancer) == (endpoint.vpc, endpoint.load_balancer) and one.name in passed
        ]
        ends = [one for one in talk.ends if (one.vpc, one.zone) == (endpoint.vpc, endpoint.zone)]
        if endpoint.name in passed or not twins or not ends:
            continue
        pairs = {pair: found for pair, found in walks.items() if pair.kind == "outward" and not found.there.delivered}
        for one in ends:
            own = {pair: {found.there.choices} for pair, found in pairs.items() if pair.first == one.name}
            own = {pair: choices for pair, choices in own.items() if pairs[pair].there.end.at == one.subnet}
            if not own:
                continue
            place = talk.plan.places[one.subnet]
            why = (
                f"it leads nowhere but into its VPC, and nothing passes {endpoint.name} of its zone {endpoint.zone},"
                f" while other zones use {listed(twins)}"
            )
            fault = Fault(
                "forgotten-zone", "warning", why, (place,), frozenset([place]), own,
                subject=f"subnet {one.subnet}", to_be_inspected=True,
            )  # fmt: skip
            for pair in own:
                fault.note_tables(pairs[pair])
            yield fault


def _note_uninspected(fault: Fault, walks: Walks, vpc: Path) -> None:
    """Note the pairs that pass a VPC and no endpoint: what a line to an endpoint there would be for."""
    fault.to_be_inspected = True
    found = [
        (pair, one)
        for pair, exchange in walks.items()
        for one in exchange.possible
        if one.answered and not one.there.endpoints and any(line[:2] == vpc for line in lines_of(one.there))
    ]
    outer = [(pair, one) for pair, one in found if pair.kind not in ("inside", "onward")]
    for pair, one in outer or found:
        fault.pairs.setdefault(pair, set()).add(one.there.choices)
        lines = [line for way in one.ways for line in lines_of(way) if line[:2] == vpc]
        fault.lines = tuple(dict.fromkeys([*fault.lines, *lines]))
        fault.note_tables(one)


def _zones_without_a_default(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """Subnets with lines to elsewhere and none to the internet, in a zone without any, where another zone has one."""
    lost: dict[tuple[str, str], dict[str, Pair]] = {}
    having: dict[str, set[str]] = {}
    for pair, found in walks.items():
        if pair.kind == "outward" and pair.version == 4:
            one, end = talk.instances[pair.first], found.possible[0].there.end
            if end.at == one.subnet and end.reason == Cause.NO_ROUTE.value:
                lost.setdefault((one.vpc, one.zone), {}).setdefault(one.subnet, pair)
            else:
                having.setdefault(one.vpc, set()).add(one.zone)
    for (vpc, zone), subnets in lost.items():
        others = having.get(vpc, set())
        for subnet, pair in subnets.items() if zone not in others else ():
            place = talk.plan.places[subnet]
            table = table_at(talk.topology, place)
            if table is None or all(route.target == LOCAL for route in table.routes):
                continue  # local routes only are a decision
            why = f"route table {table.name} has no line to the internet, and nobody in "
            if others:
                why += f"zone {zone} of VPC {vpc} has one, while zone {', '.join(sorted(others))} does"
            else:
                hubs = {route.target for route in table.routes}
                twins = [one for one in having if _leads_out_by(talk, one, hubs)]
                if not twins:
                    continue
                why += f"VPC {vpc} has one, while VPC {listed(sorted(twins))} has, by the same transit gateway"
            fault = Fault(
                "no-default", "warning", why, (place,), frozenset([place]), {pair: {()}}, subject=f"subnet {subnet}"
            )
            fault.note_tables(walks[pair])
            yield fault


def _leads_out_by(talk: Talk, vpc: str, hubs: set[str]) -> bool:
    """Whether a default route of a VPC's tables in use leads to one of these transit gateways."""
    known = {gateway.name for gateway in talk.topology.transit_gateways} & hubs
    lines = (line for table in lines_in_use(talk.topology, vpc) for line in table)
    return any(line.target in known and line.destination == "0.0.0.0/0" for line in lines)


def _attachments_without_a_route(talk: Talk) -> Iterator[Fault]:
    """A zone of an attached VPC in which no subnet with instances has a line to the transit gateway."""
    topology = talk.topology
    for gateway in topology.transit_gateways:
        led_to = {route.target for table in gateway.route_tables for route in table.routes}
        for attachment in gateway.attachments:
            index = [vpc.name for vpc in topology.vpcs].index(attachment.vpc)
            vpc = topology.vpcs[index]
            zones = {subnet.zone for subnet in vpc.subnets if subnet.name in attachment.subnets}
            lines = {
                table.name: any(route.target == gateway.name for route in table.routes) for table in vpc.route_tables
            }
            mine = [(n, s) for n, s in enumerate(vpc.subnets) if any(end.subnet == s.name for end in talk.ends)]
            for zone in sorted(zones):
                here = [(n, s) for n, s in mine if s.zone == zone]
                if not here or attachment.name not in led_to or any(lines.get(s.route_table or "") for _, s in here):
                    continue
                if vpc.endpoints and any(lines.get(s.route_table or "") for s in vpc.subnets):
                    continue  # its endpoints' subnets lead there
                place = talk.plan.places[here[0][1].name]
                names = listed([s.name for _, s in here])
                why = (
                    f"no route leads to {gateway.name}, though {attachment.name} attaches zone {zone} and"
                    f" {gateway.name} leads traffic to it: nothing there answers"
                )
                fault = Fault(
                    "unused-attachment", "warning", why, (place,), frozenset([place]), subject=f"subnet {names}"
                )
                far = [other for other in talk.plan.instances if other.vpc != vpc.name and not other.appliance]
                fault.wanted[place] = {other.address for other in far}
                yield fault


def _uninspected(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """An instance that talks to the internet, or to other VPCs, always uninspected, where others are inspected."""
    inspected: dict[str, set[str]] = {}  # by kind of pair: instances
    passed_by: dict[tuple[str, str], tuple[Pair, Exchange]] = {}
    seen, nodes = set(), {node.name for node in talk.plan.addressed_nodes}
    for pair, found in walks.items():
        kind = "across" if pair.kind == "across" else "internet"
        is_inspected = any(way.endpoints for one in found.possible for way in one.ways)
        for name in (pair.first, pair.second):
            if is_inspected:
                seen.add(name)
                if pair.kind not in ("inside", "onward") and found.answered:
                    inspected.setdefault(kind, set()).add(name)
            elif pair.kind not in ("inside", "onward") and found.answered and talk.instances[name].vpc:
                passed_by.setdefault((name, kind), (pair, found))
    for (name, kind), (pair, found) in passed_by.items():
        instance = talk.instances[name]
        others = [one for one in sorted(inspected.get(kind, ())) if _neighbours(talk, one, name)]
        if name in seen or not others:
            continue
        one = found.possible[0]
        way = one.there if pair.first == name else one.back
        lines = lines_of(way) if way else []
        why = (
            f"no appliance sees what it sends and gets ({pair} passes no endpoint), while that of {listed(others)} is"
            " inspected"
        )
        fault = Fault(
            "uninspected", "warning", why, (*lines[:1], talk.plan.places[instance.subnet], *lines[1:]),
            frozenset(lines[:1]), {pair: {each.there.choices for each in found.possible}},
            subject=f"{'node' if name in nodes else 'instance'} {name} in subnet {instance.subnet}",
            to_be_inspected=True,
        )  # fmt: skip
        fault.note_tables(one)
        yield fault


def _neighbours(talk: Talk, one: str, other: str) -> bool:
    """Whether two instances are in one VPC, or in VPCs that a transit gateway joins."""
    vpcs = {talk.instances[name].vpc for name in (one, other)}
    joined = [{each.vpc for each in gateway.attachments} for gateway in talk.plan.transit_gateways]
    return len(vpcs) == 1 or any(vpcs <= each for each in joined)


def _ways_around(talk: Talk, walks: Walks) -> Iterator[Fault]:
    """A line of a transit gateway's table that leads past the inspection to which a wider line leads."""
    inspecting = {endpoint.vpc for endpoint in talk.plan.endpoints}
    attached = {each.name: each.vpc for gateway in talk.topology.transit_gateways for each in gateway.attachments}
    found: dict[Path, Fault] = {}
    for pair, exchange in walks.items():
        for one in exchange.possible:
            if pair.kind != "across" or not one.answered or one.there.endpoints:
                continue
            for hop in one.there.hops:
                table = table_at(talk.topology, hop.path) if hop.kind == "transit" and is_line(hop.path) else None
                if table is None:
                    continue
                line = table.routes[int(hop.path[-1])]
                wider = [
                    route
                    for route in table.routes
                    if attached.get(route.target) in inspecting and route.destination in ("0.0.0.0/0", "::/0")
                    and route is not line
                ]  # fmt: skip
                if wider and attached.get(line.target) not in inspecting:
                    why = (
                        f"not inspected: route table {table.name} has {line.destination} -> {line.target} beside"
                        f" {wider[0].destination} -> {wider[0].target}, which leads to the appliances"
                    )
                    fault = found.setdefault(hop.path, Fault("way-around", "warning", why, (hop.path,)))
                    fault.pairs.setdefault(pair, set()).add(one.there.choices)
    yield from found.values()
