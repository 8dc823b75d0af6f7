"""Checks of endpoints, load balancers and target groups."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, MOST_TARGETS, NETWORK, TYPE_OF_PROTOCOL
from gwlbemu.core.elb.health import check_matcher
from gwlbemu.core.elb.target import EVERY_ZONE, check_ip_target
from gwlbemu.errors import SettingError
from gwlbemu.topology.file.attributes import LISTENER, LOAD_BALANCER, attribute_problems, group_attribute_problems
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.check_application import application_group_problems, application_problems
from gwlbemu.topology.file.check_gateway import gateway_problems, geneve_group_problems
from gwlbemu.topology.file.check_network import alb_target_problems, network_group_problems, network_problems
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.places import balancers_of_type, subnets_by_name, target_zone
from gwlbemu.topology.file.schema import Subnet, Topology, Vpc


def balancing_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what AWS would refuse about endpoints, load balancers and target groups, and names of nothing."""
    places = subnets_by_name(topology)
    zones = {
        lb.name: [places[s.subnet][1].zone for s in lb.subnets if s.subnet in places] for lb in topology.load_balancers
    }
    services = {lb.name: zones[lb.name] for lb in balancers_of_type(topology, GATEWAY)}
    for index, vpc in enumerate(topology.vpcs):
        yield from _endpoints(topology, vpc, services, ("vpcs", index))
    for index, balancer in enumerate(topology.load_balancers):
        yield from _load_balancer(topology, balancer, places, ("load_balancers", index))
    for index, group in enumerate(topology.target_groups):
        yield from _target_group(topology, group, zones, ("target_groups", index))


def _endpoints(topology: Topology, vpc: Vpc, zones: dict[str, list[str]], path: Path) -> Iterator[Problem]:
    """Contract EP-01: one subnet, so one zone; at most one per zone and service in a VPC; the service must be there."""
    subnets = {subnet.name: subnet.zone for subnet in vpc.subnets}
    first: dict[tuple[str, str], str] = {}
    for number, endpoint in enumerate(vpc.endpoints):
        here = (*path, "endpoints", number)
        zone = subnets.get(endpoint.subnet)
        others = [one for one in vpc.endpoints if one is not endpoint]
        taken = {(subnets.get(one.subnet), one.service) for one in others}
        free = [each for each in zones.get(endpoint.service, ()) if (each, endpoint.service) not in taken]
        if zone is None:
            fitting = [name for name, its in subnets.items() if its in free] or list(subnets)
            known = ", ".join(fitting)
            yield Problem((*here, "subnet"), f"VPC {vpc.name} has no subnet {endpoint.subnet}: expected one of {known}")
        if endpoint.service in {lb.name for lb in balancers_of_type(topology, APPLICATION)}:
            wanted = f"expected one of {', '.join(zones)}" if zones else "expected a Gateway Load Balancer's"
            yield Problem(
                (*here, "service"),
                f"{endpoint.service} is an Application Load Balancer, which has no endpoint service: {wanted}",
            )
        elif endpoint.service in {lb.name for lb in balancers_of_type(topology, NETWORK)}:
            wanted = f", such as {', '.join(zones)}" if zones else ""
            yield Problem(
                (*here, "service"),
                f"{endpoint.service} is a Network Load Balancer, whose endpoint services are not emulated: expected a "
                f"Gateway Load Balancer{wanted}",
            )
        elif endpoint.service not in zones:
            fits = [name for name, its in zones.items() if zone in its and (zone, name) not in taken] or list(zones)
            known = f"expected one of {', '.join(fits)}" if fits else "there is none"
            yield Problem((*here, "service"), f"there is no load balancer {endpoint.service}: {known}")
        elif zone is not None and zones[endpoint.service] and zone not in zones[endpoint.service]:
            there = (
                f", or this endpoint a subnet in zone {', '.join(free)}" if set(free) & set(subnets.values()) else ""
            )
            yield Problem(
                (*here, "subnet"),
                f"service {endpoint.service} is not in zone {zone}: give load balancer {endpoint.service} a subnet "
                f"there{there}",
            )
        twin = first.setdefault((zone, endpoint.service), endpoint.name) if zone else endpoint.name
        if twin != endpoint.name:
            yield Problem(
                (*here, "service"),
                f"{twin} is the endpoint of {endpoint.service} in zone {zone} of VPC {vpc.name} already: expected one",
            )
        elsewhere = [other for one in topology.vpcs for other in one.endpoints if other.name != endpoint.name]
        same = next((other.name for other in elsewhere if endpoint.id and other.id == endpoint.id), None)
        if same:
            yield Problem((*here, "id"), f"{endpoint.id} is also the id of {same}: expected another one")


def _load_balancer(
    topology: Topology, balancer: LoadBalancer, places: dict[str, tuple[Vpc, Subnet]], path: Path
) -> Iterator[Problem]:
    home: Vpc | None = None
    seen: dict[str, str] = {}
    for number, place in enumerate(balancer.subnets):
        here = (*path, "subnets", number, "subnet")
        if place.subnet not in places:
            yield Problem(here, f"there is no subnet {place.subnet}")
            continue
        vpc, subnet = places[place.subnet]
        home = home or vpc
        if vpc.name != home.name:
            yield Problem(here, f"{subnet.name} is in VPC {vpc.name}: expected a subnet of {home.name}, like the first")
        if subnet.zone in seen:
            yield Problem(
                here, f"zone {subnet.zone} has subnet {seen[subnet.zone]} already: expected one subnet per zone"
            )
        seen.setdefault(subnet.zone, subnet.name)
    yield from _forwards(topology, balancer, home, path)
    if balancer.type == NETWORK:
        yield from network_problems(balancer, home, {group.name: group for group in topology.target_groups}, path)
    elif balancer.type == APPLICATION:
        yield from application_problems(balancer, home, {group.name: group for group in topology.target_groups}, path)
    else:
        yield from gateway_problems(balancer, path)
    yield from attribute_problems(balancer.type, LOAD_BALANCER, balancer.attributes, (*path, "attributes"))
    for rest, listener in balancer.all_listeners():
        yield from attribute_problems(balancer.type, LISTENER, listener.attributes, (*path, *rest, "attributes"))


def _forwards(topology: Topology, balancer: LoadBalancer, home: Vpc | None, path: Path) -> Iterator[Problem]:
    """A target group stands in the load balancer's VPC and belongs to one load balancer (ELBv2 guide)."""
    groups = {group.name: group for group in topology.target_groups}
    earlier = topology.load_balancers[: topology.load_balancers.index(balancer)]
    for rest, name in balancer.forwards():
        here = (*path, *rest)
        if name not in groups:
            yield Problem(here, f"there is no target group {name} (TargetGroupNotFound)")
            continue
        if TYPE_OF_PROTOCOL[protocol := groups[name].protocol] != balancer.type:
            wanted = [each for each, kind in TYPE_OF_PROTOCOL.items() if kind == balancer.type]
            yield Problem(
                here,
                f"target group {name} has protocol {protocol}, which a load balancer of type {balancer.type} can't "
                f"forward to: expected {' or '.join(wanted)} (IncompatibleProtocols)",
            )
        if home and groups[name].vpc != home.name:
            yield Problem(
                here, f"target group {name} is in VPC {groups[name].vpc} and the load balancer in {home.name}"
            )
        other = next((one.name for one in earlier if name in one.target_groups()), None)
        if other:
            yield Problem(here, f"target group {name} belongs to load balancer {other}: expected a group of its own")


def _target_group(topology: Topology, group: TargetGroup, zones: dict[str, list[str]], path: Path) -> Iterator[Problem]:
    yield from group_attribute_problems(group.protocol, group.target_type, group.attributes, (*path, "attributes"))
    yield from _health_check(group, (*path, "health_check"))
    kind = TYPE_OF_PROTOCOL[group.protocol]
    if kind == GATEWAY:
        yield from geneve_group_problems(group, path)
    if kind == APPLICATION:
        yield from application_group_problems(group, path)
    elif group.protocol_version is not None:
        yield Problem(
            (*path, "protocol_version"),
            "a protocol version is for HTTP and HTTPS: expected no such key (ValidationError)",
        )
    balancer = next((lb for lb in topology.load_balancers if group.name in lb.target_groups()), None)
    vpc = next((vpc for vpc in topology.vpcs if vpc.name == group.vpc), None)
    if vpc is None:
        homes = {v.name for v in topology.vpcs if balancer and {s.name for s in v.subnets} & _subnets(balancer)}
        vpcs = ", ".join(vpc.name for vpc in topology.vpcs if vpc.name in homes or not homes)
        yield Problem((*path, "vpc"), f"there is no VPC {group.vpc}: expected one of {vpcs}")
        return
    enabled = zones[balancer.name] if balancer else []
    known = 0
    seen: set[tuple[str, int]] = set()
    for number, given in enumerate(group.targets):
        here, target = (*path, "targets", number), given.id
        registered = (target, given.port or group.port)
        if registered in seen:
            with_port = "" if kind == GATEWAY else f" with port {registered[1]}"
            yield Problem(here, f"{target} is in the group already{with_port}")
        seen.add(registered)
        if group.target_type == "alb":
            continue
        try:
            zone = _zone(vpc, group, target, enabled)
        except SettingError as error:
            yield Problem(here, str(error))
            continue
        known += 1
        if balancer and enabled and zone not in (*enabled, EVERY_ZONE):
            wanted = ", ".join(enabled)
            yield Problem(
                here,
                f"{target} is in zone {zone}, which load balancer {balancer.name} has not enabled: expected {wanted}",
            )
    if kind == NETWORK:
        yield from network_group_problems(group, vpc, path)
    if group.target_type == "alb":
        yield from alb_target_problems(group, vpc, balancers_of_type(topology, APPLICATION), path)
    if known > (most := MOST_TARGETS[kind]):
        yield Problem((*path, "targets"), f"{known} targets: expected at most {most}, over all zones together")


def _health_check(group: TargetGroup, path: Path) -> Iterator[Problem]:
    check = group.health_check
    try:
        if check.matcher is not None:
            check_matcher(check.matcher, group.protocol, group.protocol_version or "")
    except SettingError as error:
        yield Problem((*path, "matcher"), str(error))
        return
    try:
        group.checked()
    except SettingError as error:
        yield Problem(path, str(error))


def _subnets(balancer: LoadBalancer) -> set[str]:
    return {place.subnet for place in balancer.subnets}


def _zone(vpc: Vpc, group: TargetGroup, target: str, enabled: list[str]) -> str:
    """The zone of a target; raises SettingError for what cannot be one."""
    if group.target_type == "ip":
        check_ip_target(target, [vpc.cidr])
        return target_zone(vpc, target)
    zones = {subnet.name: subnet.zone for subnet in vpc.subnets}
    instance = next((instance for instance in vpc.instances if instance.name == target), None)
    if instance is None:
        others = [one for one in vpc.instances if one.name not in group.target_ids]
        fitting = [one.name for one in others if not enabled or zones.get(one.subnet) in enabled]
        wanted = f"one of {', '.join(fitting)}" if fitting else "an instance there"
        raise SettingError(f"VPC {vpc.name} has no instance {target}: expected {wanted}")
    return zones.get(instance.subnet, EVERY_ZONE)
