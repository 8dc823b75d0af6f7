"""Checks of transit gateways."""

from __future__ import annotations

from collections.abc import Iterator

from netaddr import IPNetwork

from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import BLACKHOLE, Attachment, Topology, TransitGateway


def transit_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what AWS would refuse about transit gateways, and names of nothing."""
    for index, gateway in enumerate(topology.transit_gateways):
        here: Path = ("transit_gateways", index)
        attachments = [attachment.name for attachment in gateway.attachments]
        for number, table in enumerate(gateway.route_tables):
            for place, route in enumerate(table.routes):
                if route.target not in (*attachments, BLACKHOLE):
                    there = (*here, "route_tables", number, "routes", place, "target")
                    wanted = ", ".join([*attachments, BLACKHOLE])
                    yield Problem(
                        there, f"a route to nothing: {gateway.name} has no {route.target}, expected one of {wanted}"
                    )
        for number, attachment in enumerate(gateway.attachments):
            yield from _attachment(topology, gateway, attachment, (*here, "attachments", number))


def _attachment(topology: Topology, gateway: TransitGateway, attachment: Attachment, path: Path) -> Iterator[Problem]:
    if attachment.route_table not in {table.name for table in gateway.route_tables}:
        yield Problem((*path, "route_table"), f"{gateway.name} has no route table {attachment.route_table}")
    vpcs = {vpc.name: vpc for vpc in topology.vpcs}
    for other in gateway.attachments[: gateway.attachments.index(attachment)]:
        if other.vpc == attachment.vpc:
            yield Problem((*path, "vpc"), f"VPC {attachment.vpc} is attached by {other.name} already")
        elif {other.vpc, attachment.vpc} <= set(vpcs):
            mine, theirs = IPNetwork(vpcs[attachment.vpc].cidr), IPNetwork(vpcs[other.vpc].cidr)
            if mine in theirs or theirs in mine:
                yield Problem((*path, "vpc"), f"{mine} of VPC {attachment.vpc} overlaps VPC {other.vpc} ({theirs})")
    if attachment.vpc not in vpcs:
        yield Problem((*path, "vpc"), f"there is no VPC {attachment.vpc}: expected one of {', '.join(vpcs)}")
        return
    zones = {subnet.name: subnet.zone for subnet in vpcs[attachment.vpc].subnets}
    seen: set[str] = set()
    for number, name in enumerate(attachment.subnets):
        if name not in zones:
            yield Problem((*path, "subnets", number), f"VPC {attachment.vpc} has no subnet {name}")
        elif zones[name] in seen:
            yield Problem(
                (*path, "subnets", number),
                f"expected one subnet per zone; {name} is a second one in zone {zones[name]}",
            )
        else:
            seen.add(zones[name])
