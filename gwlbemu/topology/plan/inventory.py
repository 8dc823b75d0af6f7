"""The lab half of a plan, everything but load balancing and programs: VPCs, subnets, instances, taps."""

from __future__ import annotations

from gwlbemu.core.elb.balancer_types import GATEWAY, TYPE_OF_PROTOCOL
from gwlbemu.topology import names
from gwlbemu.topology.file.places import subnets_by_name
from gwlbemu.topology.file.schema import SecurityGroupRule, Topology
from gwlbemu.topology.plan import rulesets
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.gateway import endpoints
from gwlbemu.topology.plan.hosts import group_members
from gwlbemu.topology.plan.layout import INTERNET, Layout
from gwlbemu.topology.plan.node_places import application_places, network_places
from gwlbemu.topology.plan.routes import place_of_table
from gwlbemu.topology.plan.transit import place_of_table as place_of_transit_table


def vpcs(topology: Topology) -> tuple[plan.Vpc, ...]:
    """Return every VPC."""
    return tuple(
        plan.Vpc(vpc.name, vpc.cidr, vpc.ipv6_cidr or "", vpc.internet_gateway.name if vpc.internet_gateway else "")
        for vpc in topology.vpcs
    )


def subnets(topology: Topology, layout: Layout) -> tuple[plan.Subnet, ...]:
    """Return every subnet of every VPC."""
    return tuple(
        plan.Subnet(
            name=subnet.name,
            vpc=vpc.name,
            zone=subnet.zone,
            cidr=subnet.cidr,
            ipv6_cidr=subnet.ipv6_cidr or "",
            route_table=subnet.route_table or "",
            namespace=layout.namespace(subnet.name),
        )
        for vpc in topology.vpcs
        for subnet in vpc.subnets
    )


def instances(topology: Topology, layout: Layout) -> tuple[plan.Instance, ...]:
    """Return every instance, those on the internet first; an appliance is a gateway load balancer's target."""
    zones = {name: subnet.zone for name, (_, subnet) in subnets_by_name(topology).items()}
    groups = [group for group in topology.target_groups if TYPE_OF_PROTOCOL[group.protocol] == GATEWAY]
    targets = {(group.vpc, target) for group in groups for target in group.target_ids}
    found = []
    for one in topology.internet.instances if topology.internet else ():
        interface = layout.interface(INTERNET, one.name)
        found.append(
            plan.Instance(
                name=one.name,
                namespace=layout.namespace(one.name),
                vpc="",
                subnet=INTERNET,
                zone="",
                address=interface.address,
                ipv6_address=interface.ipv6_address,
                mac=interface.mac,
                source_dest_check=False,
            )
        )
    for vpc in topology.vpcs:
        for instance in vpc.instances:
            interface = layout.interface(instance.subnet, instance.name)
            found.append(
                plan.Instance(
                    name=instance.name,
                    namespace=layout.namespace(instance.name),
                    vpc=vpc.name,
                    subnet=instance.subnet,
                    zone=zones[instance.subnet],
                    address=interface.address,
                    ipv6_address=interface.ipv6_address,
                    public_address=instance.public_address or "",
                    mac=interface.mac,
                    security_groups=instance.security_groups,
                    source_dest_check=instance.source_dest_check,
                    instance_type=instance.instance_type,
                    appliance=bool({(vpc.name, instance.name), (vpc.name, interface.address)} & targets),
                )
            )
    return tuple(found)


def security_groups(topology: Topology, layout: Layout) -> tuple[plan.SecurityGroup, ...]:
    """Return every security group, with the networks that its rules' sources and destinations stand for."""
    found = []
    for index, vpc in enumerate(topology.vpcs):
        members = group_members(topology, layout, vpc)
        for number, group in enumerate(vpc.security_groups):
            path: plan.Path = ("vpcs", index, "security_groups", number)
            egress = None
            if group.egress is not None:
                egress = tuple(
                    _rule(one, one.destination, members, (*path, "egress", place))
                    for place, one in enumerate(group.egress)
                )
            ingress = tuple(
                _rule(one, one.source, members, (*path, "ingress", place)) for place, one in enumerate(group.ingress)
            )
            found.append(plan.SecurityGroup(group.name, vpc.name, ingress, egress, path))
    return tuple(found)


def nat_gateways(topology: Topology, layout: Layout) -> tuple[plan.NatGateway, ...]:
    """Return every NAT gateway."""
    subnets_ = subnets_by_name(topology)
    return tuple(
        plan.NatGateway(
            name=gateway.name,
            namespace=layout.namespace(gateway.name),
            vpc=vpc.name,
            subnet=gateway.subnet,
            zone=subnets_[gateway.subnet][1].zone,
            address=layout.interface(gateway.subnet, gateway.name).address,
            public_address=gateway.public_address,
        )
        for vpc in topology.vpcs
        for gateway in vpc.nat_gateways
    )


def taps(topology: Topology, layout: Layout) -> tuple[plan.Tap, ...]:
    """Return what the capture listens on: every instance and endpoint, every interface of a gateway, and of a node that
    clients know by its address.
    """
    found = [plan.Tap(f"{one.name}/eth0", one.namespace, "eth0") for one in instances(topology, layout)]
    found += [
        plan.Tap(endpoint.name, layout.namespace(endpoint.node), endpoint.device) for endpoint in endpoints(topology)
    ]
    for place in network_places(topology):
        sides = ("eni", "fabric")
        found += [plan.Tap(f"{place.node}/{side}", layout.namespace(place.node), side) for side in sides]
    found += [
        plan.Tap(f"{place.node}/eni", layout.namespace(place.node), "eni") for place in application_places(topology)
    ]
    for vpc in topology.vpcs:
        if vpc.internet_gateway and topology.internet:
            name = vpc.internet_gateway.name
            found += [plan.Tap(f"{name}/{side}", layout.namespace(name), side) for side in (INTERNET, "fabric")]
        found += [
            plan.Tap(f"{gateway.name}/eth0", layout.namespace(gateway.name), "eth0") for gateway in vpc.nat_gateways
        ]
    zones = {subnet.name: subnet.zone for vpc in topology.vpcs for subnet in vpc.subnets}
    for transit in topology.transit_gateways:
        inside = [names.attachment(each.name, zones[subnet]) for each in transit.attachments for subnet in each.subnets]
        found += [
            plan.Tap(f"{transit.name}/{each}", layout.namespace(transit.name), names.device(each)) for each in inside
        ]
    return tuple(found)


def route_tables(topology: Topology) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the lines (destination, target) of every table by its name, as AWS shows them.

    The local line comes first, unless a line of the table replaces it.
    """
    found = {}
    for vpc in topology.vpcs:
        for table in vpc.route_tables:
            explicit = {route.destination: route.target for route in table.routes}
            local = {cidr: "local" for cidr in (vpc.cidr, vpc.ipv6_cidr) if cidr}
            found[table.name] = tuple({**local, **explicit}.items())
    for gateway in topology.transit_gateways:
        for table in gateway.route_tables:
            found[table.name] = tuple((route.destination, route.target) for route in table.routes)
    return found


def places(topology: Topology) -> dict[str, plan.Path]:
    """Return where in the file each resource is decided about, by its name (see `Plan.places`)."""
    found: dict[str, plan.Path] = {}
    for number, one in enumerate(topology.internet.instances if topology.internet else ()):
        found[one.name] = ("internet", "instances", number)
    for index, vpc in enumerate(topology.vpcs):
        here: plan.Path = ("vpcs", index)
        found[vpc.name] = here
        for number, subnet in enumerate(vpc.subnets):
            found[subnet.name] = place_of_table(vpc, index, subnet.route_table, (*here, "subnets", number))
        if vpc.internet_gateway:
            gateway, own = vpc.internet_gateway, (*here, "internet_gateway")
            found[gateway.name] = place_of_table(vpc, index, gateway.route_table, own)
        for key in ("endpoints", "nat_gateways", "instances"):
            found |= {item.name: (*here, key, number) for number, item in enumerate(getattr(vpc, key))}
    for index, transit in enumerate(topology.transit_gateways):
        found[transit.name] = ("transit_gateways", index)
        found |= {each.name: place_of_transit_table(topology, transit, each) for each in transit.attachments}
    return found


def _rule(
    rule: SecurityGroupRule, peer: str | None, members: dict[str, tuple[str, ...]], path: plan.Path
) -> plan.SecurityGroupRule:
    peer = peer or rulesets.ANYWHERE
    return plan.SecurityGroupRule(rule.protocol, str(rule.ports or ""), peer, members.get(peer, (peer,)), path)
