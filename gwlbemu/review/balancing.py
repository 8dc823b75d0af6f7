"""What load balancers and target groups are told that does not do what people expect of it.

Sources: GWLB guide, Edit target group attributes (5-tuple with appliance mode), Health checks (decisions per zone, fail
open), Cross-zone load balancing; contract TG-10, TG-11, EP-07.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.balancer_types import TYPE_OF_PROTOCOL
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.review.finding import Finding
from gwlbemu.topology.file.attributes import LOAD_BALANCER, TARGET_GROUP, complete
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.places import subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Topology

CROSS_ZONE = "load_balancing.cross_zone.enabled"
SLOW_SECONDS = 30  # ours: AWS's defaults take 20


def balancing_findings(topology: Topology) -> Iterator[Finding]:
    """Yield what is wrong with the target groups that load balancers forward to."""
    order = [group.name for group in topology.target_groups]
    for number, balancer in enumerate(topology.load_balancers):
        for place in map(order.index, balancer.target_groups()):
            group, path = topology.target_groups[place], ("target_groups", place)
            if not group.targets:
                what = f"target group {group.name} of load balancer {balancer.name} has no targets"
                text, change = f"{what}: every packet is dropped", "targets: [the appliances]"
                yield Finding("no-targets", "error", text, (*path, "targets"), change)
            else:
                yield from _empty_zones(topology, balancer, group, ("load_balancers", number), path)
            yield from _stickiness(topology, balancer, group, path)
            yield from _slow(group, path)


def zones_with_endpoints(topology: Topology, balancer: str) -> list[str]:
    """Return the zones in which a load balancer has endpoints, and so gets packets."""
    places = subnets_by_name(topology)
    found = [places[e.subnet][1].zone for vpc in topology.vpcs for e in vpc.endpoints if e.service == balancer]
    return sorted(set(found))


def cross_zone(balancer: LoadBalancer) -> bool:
    """Return whether cross-zone load balancing is on: as the file says, else AWS's default."""
    return complete(balancer.type, LOAD_BALANCER, balancer.attributes)[CROSS_ZONE] == "true"


def zones_of_targets(topology: Topology, group: TargetGroup) -> dict[str, str]:
    """Return the zone of every target of a group by the target's id; `all` for an address outside the VPC."""
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == group.vpc)
    places = subnets_by_name(topology)
    homes = {instance.name: places[instance.subnet][1].zone for instance in vpc.instances}
    return {target: homes.get(target) or target_zone(vpc, target) for target in group.targets}


def _empty_zones(
    topology: Topology, balancer: LoadBalancer, group: TargetGroup, own: Path, group_path: Path
) -> Iterator[Finding]:
    zones = set(zones_of_targets(topology, group).values())
    if cross_zone(balancer) or EVERY_ZONE in zones:
        return
    for zone in zones_with_endpoints(topology, balancer.name):
        if zone not in zones:
            text = (
                f"load balancer {balancer.name} gets packets in zone {zone}, where target group {group.name} has no"
                " target, and cross-zone load balancing is off: they are dropped"
            )
            change = f"{CROSS_ZONE}: true, or a target in zone {zone} at {group_path[0]}[{group_path[1]}].targets"
            yield Finding("empty-zone", "error", text, (*own, "attributes", CROSS_ZONE), change)


def _stickiness(topology: Topology, balancer: LoadBalancer, group: TargetGroup, path: Path) -> Iterator[Finding]:
    attributes = complete(TYPE_OF_PROTOCOL[group.protocol], TARGET_GROUP, group.attributes)
    homes = {vpc.name for vpc in topology.vpcs for endpoint in vpc.endpoints if endpoint.service == balancer.name}
    if attributes["stickiness.enabled"] != "true":
        return
    for gateway in topology.transit_gateways:
        for attachment in gateway.attachments:
            if attachment.appliance_mode == "enable" and attachment.vpc in homes:
                text = (
                    f"target group {group.name} is sticky by {attributes['stickiness.type']}, and attachment"
                    f" {attachment.name} is in appliance mode, which hashes all of the 5-tuple: connections of one pair"
                    " of hosts meet different zones, so that stickiness does not hold; AWS asks for 5-tuple there"
                )
                here = (*path, "attributes", "stickiness.enabled")
                yield Finding("stickiness-in-appliance-mode", "error", text, here, "stickiness.enabled: false")


def _slow(group: TargetGroup, path: Path) -> Iterator[Finding]:
    check = group.health_check
    seconds = check.interval_seconds * check.unhealthy_threshold_count
    if seconds > SLOW_SECONDS:
        text = (
            f"target group {group.name} notices a dead target only after {seconds} s ({check.unhealthy_threshold_count}"
            f" failed checks, one every {check.interval_seconds} s); new flows go there until then"
        )
        change = f"interval_seconds x unhealthy_threshold_count at most {SLOW_SECONDS}, such as 10 x 2"
        yield Finding("slow-failover", "info", text, (*path, "health_check"), change)
