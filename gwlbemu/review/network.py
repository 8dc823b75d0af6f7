"""What is wrong with network and application load balancers, their listeners and targets, beside the ways (see `ways`).

Sources: NLB guide, Security groups (whom a load balancer's and its targets' groups have to let in), Edit target group
attributes (client IP preservation), Target groups (zones), Troubleshoot (a target that is its own client); ALB guide,
Security groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import cast

from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY, NETWORK
from gwlbemu.core.elb.health import TRAFFIC_PORT
from gwlbemu.core.elb.network_attributes import PRESERVE, NetworkAttributes
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.core.elb.target_group import GroupAttributes
from gwlbemu.core.network.balancer import PROTOCOLS
from gwlbemu.paths.ends import node_as_instance
from gwlbemu.paths.filters import allowed_in, allowed_out
from gwlbemu.paths.values import Packet
from gwlbemu.review.balancing import CROSS_ZONE
from gwlbemu.review.edit import Edit, adding, setting
from gwlbemu.review.fault import Fault
from gwlbemu.review.finding import listed
from gwlbemu.review.talk import Talk
from gwlbemu.topology.file.schema import SecurityGroupRule
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.values import Instance, LoadBalancer, Plan, SecurityGroup, Target, TargetGroup
from gwlbemu.wire.protocols import TCP, UDP, name

Served = tuple[Listener, TargetGroup]
_ANYWHERE = "0.0.0.0/0"
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")  # RFC 1918, RFC 6598


def network_faults(talk: Talk) -> Iterator[Fault]:
    """Yield what is wrong with the network and application load balancers of a design."""
    for number, balancer in enumerate(talk.whole.load_balancers):
        if balancer.type != GATEWAY:
            yield from _Balancer(talk, number, balancer).faults()


class _Balancer:
    """One load balancer of a design that clients know by its addresses, with who may be its client."""

    def __init__(self, talk: Talk, number: int, balancer: LoadBalancer) -> None:
        self._plan: Plan = talk.whole
        self._number, self._balancer = number, balancer
        self._nodes = [node for node in self._plan.addressed_nodes if node.load_balancer == balancer.name]
        groups = {group.name: group for group in self._plan.target_groups}
        self._served: list[Served] = [
            (listener, groups[name]) for listener in balancer.listeners for name in listener.target_groups()
        ]
        self._known = {(each.vpc, each.name): each for each in self._plan.security_groups}
        self._own = [self._known[balancer.vpc, each] for each in balancer.security_groups]
        self._vpc = next(vpc for vpc in self._plan.vpcs if vpc.name == balancer.vpc)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with it."""
        yield from self._shut_listeners()
        yield from self._shut_targets()
        yield from self._shut_exits()
        yield from self._shut_health_checks()
        yield from self._empty_zones()
        yield from self._own_clients()

    # ---- security groups ----
    def _clients(self, groups: Iterable[SecurityGroup], target: str = "") -> list[str]:
        """The addresses of whoever may be a client: instances, and networks that the groups' rules name.

        Those of an internal load balancer are inside VPCs, or come from elsewhere by private addresses.
        """
        named = [n for group in groups for rule in group.ingress for n in rule.networks if ":" not in n]
        networks = [ip_network(each, strict=False) for each in named]
        if self._balancer.scheme == "internal":
            subnets = {each.name: ip_network(each.cidr) for each in self._plan.subnets}
            own = [subnets[node.subnet] for node in self._nodes]
            found = [
                one.address for one in self._plan.instances if one.vpc and not one.appliance and one.name != target
            ]
        else:
            own = [ip_network(each) for each in _PRIVATE]
            found = [one.address for one in self._plan.instances if not one.vpc]
        return found + [str(n.network_address) for n in networks if not any(_is_within(n, each) for each in own)]

    def _shut_listeners(self) -> Iterator[Fault]:
        """Listeners on whose port the load balancer's groups let nobody in."""
        if not self._own:
            return
        for listener in self._balancer.listeners:
            packets = [
                packet
                for each in self._clients(self._own)
                for packet in _to(listener.protocol, listener.port or 0, each)
            ]
            if not packets or any(allowed_in(self._own, packet) for packet in packets):
                continue
            what = f"{listener.protocol} {listener.port}"
            text = (
                f"security group {self._own[0].name} of load balancer {self._balancer.name} lets no client in on"
                f" {what}, on which it listens"
            )
            edits = tuple(_letting_in(self._own[0], packets[0], source) for source in (self._sources()[-1],))
            path = (*self._own[0].path, "ingress")
            yield Fault("shut-listener", "error", text, (path,), frozenset([path, (what,)]), edits=edits)

    def _shut_targets(self) -> Iterator[Fault]:
        """Targets whose groups let in neither clients nor the node, whichever their packets come from."""
        for listener, group in self._served:
            preserved = self._keeps_clients(group)
            for target, instance, groups in self._guarded(group):
                if preserved:
                    sources = self._clients(groups, instance.name)
                    let_in = [c for c in sources if not self._own or self._is_let_in(listener, c)]
                    marks, who = self._balancer.security_groups, "clients, whose addresses it keeps"
                    sources = let_in or sources
                else:
                    sources, marks, who = (
                        [node.address for node in self._nodes],
                        (),
                        "its nodes, whose addresses they see",
                    )
                packets = [p for each in sources for p in _to(listener.protocol, target.port, each, instance.address)]
                if not packets or any(allowed_in(groups, packet, marks) for packet in packets):
                    continue
                place = f"{name(packets[0].protocol)} {target.port}"
                text = (
                    f"security group {groups[0].name} of target {instance.name} lets in none of what load balancer"
                    f" {self._balancer.name} sends to {place} there: it comes from {who}{self._gets}"
                )
                wanted = self._sources() if preserved else self._node_sources()
                edits = tuple(_letting_in(groups[0], packets[0], each) for each in wanted)
                path = (*groups[0].path, "ingress")
                yield Fault("shut-target", "error", text, (path,), frozenset([path, (group.name,)]), edits=edits)

    def _shut_exits(self) -> Iterator[Fault]:
        """Targets to which an application load balancer's own groups let no connection out."""
        if not self._own or self._balancer.type == NETWORK:
            return
        for _, group in self._served:
            for target, instance, _ in self._guarded(group, all_of_them=True):
                packets = [p for n in self._nodes for p in _to("TCP", target.port, n.address, instance.address)]
                if any(allowed_out(self._own, packet) for packet in packets):
                    continue
                text = (
                    f"security group {self._own[0].name} of load balancer {self._balancer.name} lets out nothing to tcp"
                    f" {target.port} of target {instance.name}{self._gets}"
                )
                yield self._letting_out("shut-target", text, target.port, group.name)

    def _letting_out(self, kind: str, text: str, port: int, group: str) -> Fault:
        """What the rule mends that lets the load balancer out to a port."""
        path = (*self._own[0].path, "egress")
        rule = SecurityGroupRule(protocol="tcp", ports=str(port), destination=self._vpc.cidr)
        told = f"{{protocol: tcp, ports: {port}, destination: {self._vpc.cidr}}}"
        edits = (adding(path, rule, told, path),)
        return Fault(kind, "error", text, (path,), frozenset([path, (group,)]), edits=edits)

    @property
    def _gets(self) -> str:
        """What a client gets, of a target to which nothing comes."""
        return "" if self._balancer.type == NETWORK else "; requests that are given to it get 504"

    def _keeps_clients(self, group: TargetGroup) -> bool:
        """Whether targets see the clients' addresses; an application load balancer ends their connections."""
        if self._balancer.type != NETWORK:
            return False
        return NetworkAttributes.from_text(target_group=group.attributes).preserve_client_ip

    def _is_let_in(self, listener: Listener, client: str) -> bool:
        return any(allowed_in(self._own, packet) for packet in _to(listener.protocol, listener.port or 0, client))

    def _shut_health_checks(self) -> Iterator[Fault]:
        """Targets whose groups, or the load balancer's, let no health check pass."""
        for group in dict.fromkeys(group.name for _, group in self._served):
            found = next(each for _, each in self._served if each.name == group)
            for target, instance, groups in self._guarded(found, all_of_them=bool(self._own)):
                port = target.port if found.health_check.port == TRAFFIC_PORT else found.health_check.port
                packets = [p for n in self._nodes for p in _to("TCP", port, n.address, instance.address)]
                if groups and not any(allowed_in(groups, packet) for packet in packets):
                    path = (*groups[0].path, "ingress")
                    text = (
                        f"security group {groups[0].name} of target {instance.name} lets in no health check of load"
                        f" balancer {self._balancer.name}, which comes to tcp {port} from its nodes"
                        f" ({listed([node.address for node in self._nodes])})"
                    )
                    edits = tuple(_letting_in(groups[0], packets[0], each) for each in self._node_sources())
                    yield Fault("shut-health-check", "error", text, (path,), frozenset([path, (group,)]), edits=edits)
                elif self._own and not any(allowed_out(self._own, packet) for packet in packets):
                    text = (
                        f"security group {self._own[0].name} of load balancer {self._balancer.name} lets out no health"
                        f" check to tcp {port} of target {instance.name}"
                    )
                    yield self._letting_out("shut-health-check", text, port, group)

    def _guarded(
        self, group: TargetGroup, *, all_of_them: bool = False
    ) -> Iterator[tuple[Target, Instance, list[SecurityGroup]]]:
        """Yield each target that is an instance with security groups, or any instance, with those; the node of another
        load balancer as if it were one.
        """
        homes = {one.address: one for one in self._plan.instances if one.vpc == group.vpc}
        balancers = {each.name: each for each in self._plan.load_balancers}
        for node in self._plan.application_nodes:
            behind = balancers[node.load_balancer]
            if behind.vpc == group.vpc:
                one = node_as_instance(self._plan, node)
                homes[node.address] = replace(one, security_groups=behind.security_groups)
        for target in group.targets:
            instance = homes.get(target.address)
            if instance is not None and (instance.security_groups or all_of_them):
                yield target, instance, [self._known[instance.vpc, each] for each in instance.security_groups]

    def _sources(self) -> list[str]:
        """What a rule for clients may name as its source, the narrowest first."""
        wide = _ANYWHERE if self._balancer.scheme != "internal" else self._vpc.cidr
        return [*self._balancer.security_groups[:1], wide]

    def _node_sources(self) -> list[str]:
        subnets = {each.name: each.cidr for each in self._plan.subnets}
        own = {subnets[node.subnet] for node in self._nodes}
        return [*self._balancer.security_groups[:1], *(own if len(own) == 1 else [self._vpc.cidr])]

    # ---- zones, and targets that are clients ----
    def _empty_zones(self) -> Iterator[Fault]:
        for group in {group.name: group for _, group in self._served}.values():
            attributes = self._attributes_of(group)
            zones = {target.zone for target in group.targets}
            if attributes.cross_zone or EVERY_ZONE in zones or not zones:
                continue
            for node in self._nodes:
                if node.zone in zones:
                    continue
                address, lost = node.public_address or node.address, self._without_targets()
                text = (
                    f"load balancer {self._balancer.name} has the address {address} in zone {node.zone}, where target"
                    f" group {group.name} has no target, and cross-zone load balancing is off: {lost}"
                )
                place = ("load_balancers", self._number, "attributes", CROSS_ZONE)
                if group.attributes[CROSS_ZONE] == "false":
                    index = [each.name for each in self._plan.target_groups].index(group.name)
                    place = ("target_groups", index, "attributes", CROSS_ZONE)
                edit = setting(place, "true", f"{CROSS_ZONE}: true")
                yield Fault("empty-zone", "warning", text, (place,), frozenset([place, (node.zone,)]), edits=(edit,))

    def _without_targets(self) -> str:
        """What becomes of clients of a zone where a group has no targets in scope."""
        lost = "connections that it forwards to that group are dropped"
        if self._balancer.type != NETWORK:
            lost = "requests that it forwards to that group are answered with 503"
        short = {node.zone: self._is_short(node.zone) for node in self._nodes}
        return lost if all(short.values()) else f"DNS does not answer that address, and {lost}"

    def _is_short(self, zone: str) -> bool:
        """Whether a group lacks targets in a zone, so that DNS leaves it out unless it is so in every zone."""
        return any(
            not {zone, EVERY_ZONE} & {target.zone for target in group.targets}
            for _, group in self._served
            if not self._attributes_of(group).cross_zone
        )

    def _attributes_of(self, group: TargetGroup) -> GroupAttributes:
        return cast(
            GroupAttributes,
            ATTRIBUTES[self._balancer.type].from_text(self._balancer.attributes, target_group=group.attributes),
        )

    def _own_clients(self) -> Iterator[Fault]:
        """An internal load balancer that nobody but its own targets can be a client of."""
        if self._balancer.scheme != "internal":
            return
        others = [one for one in self._plan.instances if one.vpc and not one.appliance]
        for index, group in enumerate(self._plan.target_groups):
            if not any(each is group for _, each in self._served):
                continue
            homes = {target.address for target in group.targets}
            mine = [one.name for one in others if one.address in homes]
            if not self._keeps_clients(group) or len(mine) < len(others) or not mine:
                continue
            text = (
                f"nobody but the targets of {group.name} can be a client of internal load balancer"
                f" {self._balancer.name}, and a connection of {listed(mine)} that it gives to its own client fails"
                f" while {PRESERVE} is true (hairpinning)"
            )
            place = ("target_groups", index, "attributes", PRESERVE)
            edits = (setting(place, "false", f"{PRESERVE}: false"),) if group.protocol in ("TCP", "TLS") else ()
            yield Fault("hairpin", "hint", text, (place,), edits=edits)


def _is_within(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return isinstance(one, IPv4Network) and isinstance(other, IPv4Network) and one.subnet_of(other)


def _to(protocol: str, port: int, source: str, destination: str = "0.0.0.0") -> list[Packet]:
    """Return the first packets of connections to a port from an address."""
    wanted = PROTOCOLS.get(protocol, (TCP,))
    return [Packet(source, destination, each, None, port) for each in wanted if each in (TCP, UDP)]


def _letting_in(group: SecurityGroup, packet: Packet, source: str) -> Edit:
    """The rule that lets such packets in."""
    path, protocol, port = (*group.path, "ingress"), name(packet.protocol), packet.destination_port
    rule = SecurityGroupRule(protocol=protocol, ports=str(port), source=source)
    return adding(path, rule, f"{{protocol: {protocol}, ports: {port}, source: {source}}}", path)
