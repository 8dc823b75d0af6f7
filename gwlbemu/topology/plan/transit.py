"""A transit gateway: one namespace, an interface per attachment and zone, a kernel table per interface.

Rules of this file, from the Transit Gateway guide ("Appliance mode") as contract EP-07 has it: what comes in through an
attachment follows that attachment's route table; it leaves towards the other VPC in the zone it came from, where the
attachment has that zone, else in its first. Into an attachment with appliance mode, a flow hash that is the same for
both directions chooses the zone instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm

from netaddr import IPNetwork

from gwlbemu.topology import names
from gwlbemu.topology.file.schema import BLACKHOLE, Attachment, Topology, TransitGateway
from gwlbemu.topology.plan import rulesets
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.layout import FABRIC, Layout
from gwlbemu.topology.plan.machine import Blueprint, Settings
from gwlbemu.topology.plan.machine_half import KernelRoute, Link, Namespace, Neighbour
from gwlbemu.topology.plan.values import Path

MTU = 8500  # Transit Gateway quotas: larger packets are dropped
FIRST_TABLE = 1000


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What came in through an attachment in one zone and fell into one bucket of the flow hash: `table` routes it."""

    attachment: Attachment
    zone: str
    bucket: int  # from 0
    table: int


def transit_blueprint(topology: Topology, settings: Settings, gateway: TransitGateway) -> Blueprint:
    """Return the namespace of a transit gateway and its links into the fabrics of the attached VPCs."""
    buckets = _buckets(gateway)
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    incoming = [(each, zones[subnet]) for each in gateway.attachments for subnet in each.subnets]
    routes: list[KernelRoute] = []
    plain: list[tuple[str, int]] = []
    marked: list[tuple[str, int, int]] = []
    for number, (attachment, zone) in enumerate(incoming):
        device = _device(attachment, zone)
        first = FIRST_TABLE + number * buckets
        for bucket in range(buckets):
            marked.append((device, bucket + 1, first + bucket))
            arrival = _Arrival(attachment, zone, bucket, first + bucket)
            routes += _table(settings, gateway, arrival, zones, place_of_table(topology, gateway, attachment))
        plain.append((device, first))
    namespace = Namespace(
        name=settings.layout.namespace(gateway.name),
        resource=gateway.name,
        role="transit-gateway",
        forwarding=True,
        routes=tuple(routes),
        neighbours=tuple(each for one in gateway.attachments for each in _neighbours(settings, one, zones)),
        nftables=rulesets.transit_gateway(buckets, MTU),
        rules=tuple(plain),
        mark_rules=tuple(marked) if buckets > 1 else (),
    )
    return Blueprint((namespace,), tuple(_link(settings, gateway, each, zone) for each, zone in incoming))


def transit_gateways(topology: Topology, layout: Layout) -> tuple[plan.TransitGateway, ...]:
    """Return every transit gateway with its attachments."""
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    return tuple(
        plan.TransitGateway(
            gateway.name,
            layout.namespace(gateway.name),
            tuple(
                plan.Attachment(
                    each.name,
                    each.vpc,
                    tuple(zones[subnet] for subnet in each.subnets),
                    each.appliance_mode == "enable",
                    each.route_table,
                )
                for each in gateway.attachments
            ),
            _buckets(gateway),
        )
        for gateway in topology.transit_gateways
    )


def place_of_table(topology: Topology, gateway: TransitGateway, attachment: Attachment) -> Path:
    """Return where in the file the route table of an attachment stands."""
    tables = [table.name for table in gateway.route_tables]
    place = topology.transit_gateways.index(gateway)
    return ("transit_gateways", place, "route_tables", tables.index(attachment.route_table))


def _buckets(gateway: TransitGateway) -> int:
    """How many values the flow hash is reduced to: enough for each attachment in appliance mode to have its zones."""
    return lcm(*(len(each.subnets) for each in gateway.attachments if each.appliance_mode == "enable"))


def _device(attachment: Attachment, zone: str) -> str:
    return names.device(names.attachment(attachment.name, zone))


def _table(
    settings: Settings, gateway: TransitGateway, arrival: _Arrival, zones: dict[str, str], place: Path
) -> Iterator[KernelRoute]:
    """Yield the lines of the attachment's route table for what arrives.

    `zones` has the zone of every subnet, `place` is where in the file the table stands.
    """
    own = next(each for each in gateway.route_tables if each.name == arrival.attachment.route_table)
    targets = {each.name: each for each in gateway.attachments}
    for number, route in enumerate(own.routes):
        target, path = targets.get(route.target), (*place, "routes", number)
        source = f"route table {own.name}: {route.destination} -> {target.name if target else BLACKHOLE}"
        if target is None:
            yield KernelRoute(route.destination, kind="blackhole", table=arrival.table, source=source, path=path)
            continue
        there = {zones[subnet]: subnet for subnet in target.subnets}
        if target.appliance_mode == "enable":
            zone = list(there)[arrival.bucket % len(there)]
        else:
            zone = arrival.zone if arrival.zone in there else next(iter(there))
        hop = settings.layout.next_hops[target.vpc][there[zone]]
        via = hop.ipv6_address if IPNetwork(route.destination).version == 6 else hop.address
        device, source = _device(target, zone), f"{source} (zone {zone})"
        yield KernelRoute(route.destination, device, via, table=arrival.table, source=source, path=path)


def _neighbours(settings: Settings, attachment: Attachment, zones: dict[str, str]) -> list[Neighbour]:
    hops = settings.layout.next_hops[attachment.vpc]
    return [
        Neighbour(_device(attachment, zones[subnet]), address, hops[subnet].mac)
        for subnet in attachment.subnets
        for address in (hops[subnet].address, hops[subnet].ipv6_address)
    ]


def _link(settings: Settings, gateway: TransitGateway, attachment: Attachment, zone: str) -> Link:
    hop = settings.layout.next_hops[attachment.vpc][names.attachment(attachment.name, zone)]
    addresses = [f"{hop.address}/{IPNetwork(FABRIC).prefixlen}", f"{hop.ipv6_address}/64"]
    return Link(
        settings.port(attachment.vpc, "fabric", names.attachment(attachment.name, zone), MTU),
        settings.end(gateway.name, _device(attachment, zone), hop.mac, MTU, addresses=addresses),
    )
