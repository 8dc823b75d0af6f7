"""What load balancers and target groups are told that does not do what people expect of it.

Sources: GWLB guide, Edit target group attributes (5-tuple with appliance mode), Health checks (decisions per zone, fail
open), Cross-zone load balancing; contract TG-10, TG-11, EP-07.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, TYPE_OF_PROTOCOL
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.review.edit import setting
from gwlbemu.review.fault import Fault
from gwlbemu.topology.file.attributes import LOAD_BALANCER, TARGET_GROUP, complete
from gwlbemu.topology.file.balancing import LoadBalancer, Target, TargetGroup
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.places import subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Topology

CROSS_ZONE = "load_balancing.cross_zone.enabled"
SHORTEST_INTERVAL = 5  # AWS: 5 to 300 s
SLOW_SECONDS = 30  # ours: AWS's defaults take 20


def balancing_faults(topology: Topology) -> Iterator[Fault]:
    """Yield what is wrong with the target groups that load balancers forward to."""
    order = [group.name for group in topology.target_groups]
    for number, balancer in enumerate(topology.load_balancers):
        for place in map(order.index, balancer.target_groups()):
            group, path = topology.target_groups[place], ("target_groups", place)
            if not group.targets:
                if comes := _comes_of_none(balancer, group):
                    what = f"target group {group.name} of load balancer {balancer.name} has no targets"
                    yield _empty_group(topology, group, f"{what}: {comes}", (*path, "targets"))
            else:
                yield from _empty_zones(topology, balancer, group, ("load_balancers", number))
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
    """Return the zone of every target of a group by the target's id; `all` for an address outside the VPC, and for an
    application load balancer, which has a node in each of its zones.
    """
    if group.target_type == "alb":
        return dict.fromkeys(group.target_ids, EVERY_ZONE)
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == group.vpc)
    places = subnets_by_name(topology)
    homes = {instance.name: places[instance.subnet][1].zone for instance in vpc.instances}
    return {target: homes.get(target) or target_zone(vpc, target) for target in group.target_ids}


def _comes_of_none(balancer: LoadBalancer, group: TargetGroup) -> str:
    """What becomes of what is forwarded to a group without targets, and where it is; "" where its weight is 0."""
    if balancer.type == GATEWAY:
        return "every packet is dropped"
    places = [
        f"{listener.protocol}:{listener.port} {where}"
        for _, listener in balancer.all_listeners()
        for where, actions in (
            *((f"rule {rule.priority}", rule.actions) for rule in listener.rules),
            ("default action", listener.default_actions),
        )
        if any(
            one.weight and one.target_group == group.name
            for each in actions
            for _, one in each.weighted_target_groups()
        )
    ]
    comes = (
        "requests that are forwarded to it get 503"
        if balancer.type == APPLICATION
        else "what is forwarded to it is dropped"
    )
    return f"{comes} ({', '.join(places)})" if places else ""


def _empty_group(topology: Topology, group: TargetGroup, text: str, path: Path) -> Fault:
    """The appliances of the group's VPC that are nobody's target would do; for requests its web servers."""
    web = TYPE_OF_PROTOCOL[group.protocol] == APPLICATION
    taken = {target for each in topology.target_groups for target in each.target_ids}
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == group.vpc)
    there = [one for one in vpc.instances if one.name not in taken and one.program]
    idle = [one.name for one in there if one.program and (one.program.kind == "web") is web]
    edits = (setting(path, tuple(Target(id=name) for name in idle), f"targets: [{', '.join(idle)}]"),) if idle else ()
    return Fault("no-targets", "error", text, (path,), edits=edits)


def _empty_zones(topology: Topology, balancer: LoadBalancer, group: TargetGroup, own: Path) -> Iterator[Fault]:
    zones = set(zones_of_targets(topology, group).values())
    if cross_zone(balancer) or EVERY_ZONE in zones:
        return
    for zone in zones_with_endpoints(topology, balancer.name):
        if zone not in zones:
            text = (
                f"load balancer {balancer.name} gets packets in zone {zone}, where target group {group.name} has no"
                " target, and cross-zone load balancing is off: they are dropped"
            )
            path = (*own, "attributes", CROSS_ZONE)
            edit = setting(path, "true", f"{CROSS_ZONE}: true")
            yield Fault("empty-zone", "error", text, (path,), frozenset([path, (zone,)]), edits=(edit,))


def _stickiness(topology: Topology, balancer: LoadBalancer, group: TargetGroup, path: Path) -> Iterator[Fault]:
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
                edit = setting(here, "false", "stickiness.enabled: false")
                yield Fault("stickiness-in-appliance-mode", "error", text, (here,), edits=(edit,))


def _slow(group: TargetGroup, path: Path) -> Iterator[Fault]:
    check = group.checked()
    seconds = check.interval_seconds * check.unhealthy_threshold_count
    if seconds > SLOW_SECONDS:
        text = (
            f"target group {group.name} notices a dead target only after {seconds} s ({check.unhealthy_threshold_count}"
            f" failed checks, one every {check.interval_seconds} s); new flows go there until then"
        )
        here, interval = (*path, "health_check"), SLOW_SECONDS // check.unhealthy_threshold_count
        edit = setting((*here, "interval_seconds"), interval, f"interval_seconds: {interval}")
        fits = interval >= SHORTEST_INTERVAL and interval > check.timeout_seconds
        yield Fault("slow-failover", "hint", text, (here,), edits=(edit,) if fits else ())
