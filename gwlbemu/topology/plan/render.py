"""A plan as text: all of it (`plan_text`), and the map of a running lab (`lab_map`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.core.elb.rules import Action, Condition
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.topology.file.attributes import explained
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.listeners import LAB_CERTIFICATE, Listener
from gwlbemu.topology.plan.machine_half import End, KernelRoute, Namespace
from gwlbemu.topology.plan.values import GatewayNode, LoadBalancer, Node, Plan, Target, TargetGroup

_CROSS_ZONE = "load_balancing.cross_zone.enabled"

Health = Mapping[str, Sequence[Mapping[str, object]]]  # node -> what it says about each target: id, state, reason ...
WIDTH = 100


def plan_text(plan: Plan) -> str:
    """Return everything that was decided as text: names, addresses, routes, MACs, MTUs, attributes, switches."""
    parts = [_head(plan), _network(plan), _route_tables(plan), _balancing(plan), _machine(plan), _switches(plan)]
    return "\n".join(line.rstrip() for part in parts for line in (*part, "")).rstrip()


def lab_map(plan: Plan, health: Health | None = None) -> str:
    """Return a map of the lab as text: zones, subnets, endpoints, load balancers and appliances.

    `health` has by node what it says about its targets (see `Balancer.target_health`); without it no states are shown.
    """
    lines = list(_head(plan))
    lines.append("")
    if plan.internet_cidr:
        inside = [f"{one.name} {one.address}" for one in plan.instances if not one.vpc]
        lines.append(f"internet {plan.internet_cidr}   {'   '.join(inside)}")
    for vpc in plan.vpcs:
        public = [
            f"{one.public_address} = {one.name}" for one in plan.instances if one.vpc == vpc.name and one.public_address
        ]
        if vpc.internet_gateway:
            lines += ["   |", f"{vpc.internet_gateway}   {'   '.join(public)}", "   |"]
        else:
            lines.append("")
        lines.append(f"VPC {vpc.name}  {vpc.cidr}  {vpc.ipv6_cidr}".rstrip())
        zones = list(dict.fromkeys(subnet.zone for subnet in plan.subnets if subnet.vpc == vpc.name))
        lines += _columns([[f"zone {zone}", *_zone(plan, vpc.name, zone)] for zone in zones])
    transit = [namespace.resource for namespace in plan.namespaces if namespace.role == "transit-gateway"]
    lines += ["", *(f"transit gateway {name}" for name in transit), *_tunnels(plan, health or {})]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _head(plan: Plan) -> Iterator[str]:
    yield f"{plan.lab}   ({plan.source})"
    if plan.description:
        yield plan.description


def _zone(plan: Plan, vpc: str, zone: str) -> Iterator[str]:
    """What lies in one zone of a VPC, subnet by subnet."""
    for subnet in plan.subnets:
        if (subnet.vpc, subnet.zone) != (vpc, zone):
            continue
        yield f"  {subnet.name}  {subnet.cidr}"
        yield from (f"    {one.name}  {one.address}" for one in plan.instances if one.subnet == subnet.name)
        yield from (f"    {one.name}  => {one.load_balancer}" for one in plan.endpoints if one.subnet == subnet.name)
        for destination, target in plan.route_tables.get(subnet.route_table, ()):
            if target != "local":
                yield f"    {destination} -> {target}"


def _columns(columns: list[list[str]]) -> list[str]:
    """The columns side by side where they fit in WIDTH, else one after the other."""
    width = max(len(line) for column in columns for line in column) + 4
    if width * len(columns) > WIDTH:
        return [f"  {line}" for column in columns for line in column]
    height = max(len(column) for column in columns)
    rows = [[column[index] if index < len(column) else "" for column in columns] for index in range(height)]
    return ["  " + "".join(cell.ljust(width) for cell in row) for row in rows]


def _tunnels(plan: Plan, health: Health) -> Iterator[str]:
    """Each load balancer: its nodes, the endpoints or listeners they serve, the targets they may choose."""
    for balancer in plan.load_balancers:
        groups = plan.groups_of(balancer.name)
        across = balancer.attributes.get(_CROSS_ZONE) == "true"
        names = ", ".join(group.name for group in groups)
        word = "target group" if len(groups) == 1 else "target groups"
        yield f"load balancer {balancer.name}  {word} {names}  cross-zone {'on' if across else 'off'}"
        for node in (node for node in plan.nodes if node.load_balancer == balancer.name):
            states = {
                (target.get("target_group", groups[0].name), target["id"]): target["state"]
                for target in health.get(node.name, ())
            }
            by_group = [
                ", ".join(
                    f"{target.id} {states.get((group.name, target.id), '')}".rstrip()
                    for target in group.targets
                    if _crosses(group, across) or target.zone in (node.zone, EVERY_ZONE)
                )
                or "no target in this zone"
                for group in groups
            ]
            if len(groups) > 1:
                by_group = [f"{group.name}: {targets}" for group, targets in zip(groups, by_group, strict=True)]
            line = f"  {node.name}  {node.address}   {_served(balancer, node)} => {'; '.join(by_group)}"
            yield from wrap(line, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)


def _crosses(group: TargetGroup, across: bool) -> bool:
    """Whether a group's targets are used from other zones: as it says where its type lets it, else as its balancer."""
    return {"true": True, "false": False}.get(group.attributes.get(_CROSS_ZONE, ""), across)


def _served(balancer: LoadBalancer, node: Node) -> str:
    """What a node takes packets from: a gateway's its endpoints, that of another type its listeners."""
    if isinstance(node, GatewayNode):
        return ", ".join(node.endpoints) or "no endpoint"
    public = f"public {node.public_address}  " if node.public_address else ""
    return public + ", ".join(f"{one.protocol}:{one.port}" for one in balancer.listeners)


def _network(plan: Plan) -> Iterator[str]:
    if plan.internet_cidr:
        yield f"internet  {plan.internet_cidr}"
        yield from (f"    {one.name}  {one.address}  {one.ipv6_address}" for one in plan.instances if not one.vpc)
    for vpc in plan.vpcs:
        gateway = f"  internet gateway {vpc.internet_gateway}" if vpc.internet_gateway else ""
        yield f"VPC {vpc.name}  {vpc.cidr}  {vpc.ipv6_cidr}".rstrip() + gateway
        for subnet in (subnet for subnet in plan.subnets if subnet.vpc == vpc.name):
            cidrs = f"{subnet.cidr}  {subnet.ipv6_cidr}".rstrip()
            yield f"  subnet {subnet.name}  zone {subnet.zone}  {cidrs}  route table {subnet.route_table or 'main'}"
            for one in (one for one in plan.instances if one.subnet == subnet.name):
                check = "" if one.source_dest_check else "  source/destination check off"
                public = f"  public {one.public_address}" if one.public_address else ""
                groups = f"  security groups {', '.join(one.security_groups)}" if one.security_groups else ""
                addresses = f"{one.address}  {one.ipv6_address}".rstrip()
                yield f"    {one.name}  {addresses}  {one.mac}{public}{groups}{check}"
            for endpoint in (endpoint for endpoint in plan.endpoints if endpoint.subnet == subnet.name):
                yield f"    {endpoint.name}  {endpoint.endpoint_id}  => node {endpoint.node}  {endpoint.mac}"


def _route_tables(plan: Plan) -> Iterator[str]:
    for name, lines in plan.route_tables.items():
        yield f"route table {name}"
        yield from _aligned((f"  {destination}", f"-> {target}") for destination, target in lines)


def _balancing(plan: Plan) -> Iterator[str]:
    for balancer in plan.load_balancers:
        kind = balancer.type if balancer.type == GATEWAY else f"{balancer.type}  {balancer.scheme}"
        groups = f"  security groups {', '.join(balancer.security_groups)}" if balancer.security_groups else ""
        yield f"load balancer {balancer.name}  {kind}  zones {', '.join(balancer.zones)}{groups}"
        if dns_name(balancer):
            yield f"  DNS name {dns_name(balancer)}"
        yield from _aligned((f"  {key}", value) for key, value in sorted(balancer.attributes.items()))
        for listener in balancer.listeners:
            yield f"  listener  {_listener(listener)}"
            yield from _aligned(_rules(listener))
            yield from _aligned((f"    {key}", value) for key, value in sorted(listener.attributes.items()))
            yield from _aligned(_tls(listener))
        for node in (node for node in plan.gateway_nodes if node.load_balancer == balancer.name):
            served = ", ".join(node.endpoints) or "no endpoint"
            address = f"{node.address}/{node.prefix_length}"
            yield f"  node {node.name}  zone {node.zone}  {address}  {node.mac}  serves {served}"
        for own in (node for node in plan.addressed_nodes if node.load_balancer == balancer.name):
            public = f"  public {own.public_address}" if own.public_address else ""
            addresses = f"{own.address}  {own.ipv6_address}".rstrip()
            yield f"  node {own.name}  zone {own.zone}  subnet {own.subnet}  {addresses}  {own.mac}{public}"
    for group in plan.target_groups:
        yield from _target_group(group)


def _listener(listener: Listener) -> str:
    """What it takes and what becomes of that by default; a gateway load balancer's takes everything."""
    what = f"{listener.protocol} {listener.port}  " if listener.protocol else ""
    return what + _actions(listener.default_actions)


def _rules(listener: Listener) -> Iterator[tuple[str, str, str]]:
    for rule in listener.rules:
        conditions = " and ".join(map(_condition, rule.conditions))
        changes = "".join(f", {each.type} {each.regex} -> {each.replace}" for each in rule.transforms)
        yield f"    rule {rule.priority}", conditions, _actions(rule.actions) + changes


def _condition(condition: Condition) -> str:
    wanted = [f"{key}={value}" if key else value for key, value in condition.query]
    wanted += [*condition.values, *(f"/{each}/" for each in condition.regex_values)]
    header = f" {condition.header}:" if condition.header else ""
    return f"{condition.field}{header} {condition.ip_address_type or ' or '.join(wanted)}"


def _actions(actions: Iterable[Action]) -> str:
    return ", then ".join(map(_action, actions))


def _action(action: Action) -> str:
    if action.redirect is not None:
        to = action.redirect
        query = f"?{to.query}" if to.query else ""
        return f"redirect {to.status} to {to.protocol}://{to.host}:{to.port}{to.path}{query}"
    if action.fixed_response is not None:
        return f"fixed response {action.fixed_response.status}"
    if action.jwt_validation is not None:
        return f"token of {action.jwt_validation.issuer}"
    if len(action.target_groups) < 2:
        return f"target group {', '.join(one.target_group for one in action.target_groups)}"
    weights = ", ".join(f"{one.target_group} (weight {one.weight})" for one in action.target_groups)
    return f"target groups {weights}{'  sticky' if action.sticky else ''}"


def _tls(listener: Listener) -> Iterator[tuple[str, str]]:
    """How a TLS listener speaks; instances see the certificate of the lab's own authority in their mount view."""
    tls = listener.tls
    if tls is None:
        return
    lab = "of the lab's own authority, which instances see as /run/authority.pem"
    for named in tls.certificates:
        yield "    certificate", lab if named == LAB_CERTIFICATE else named
    yield "    security policy", tls.ssl_policy
    if tls.alpn_policy != "None":
        yield "    ALPN policy", tls.alpn_policy
    if tls.trust_store:
        yield "    trust store of clients", tls.trust_store
    if tls.passthrough:
        yield "    certificates of clients", "handed on to the target, not judged"


def _target_group(group: TargetGroup) -> Iterator[str]:
    check = group.health_check
    port, path = check.port or "of the target", "" if check.protocol == "TCP" else f" {check.path}"
    version = f"  {group.protocol_version}" if group.protocol_version else ""
    protocol = f"{group.protocol} {group.port}{version}"
    yield f"target group {group.name}  VPC {group.vpc}  {protocol}  {group.target_type} targets"
    yield (
        f"  health check {check.protocol} port {port}{path}"
        f" every {check.interval_seconds:g} s, timeout {check.timeout_seconds:g} s,"
        f" healthy after {check.healthy_threshold_count}, unhealthy after {check.unhealthy_threshold_count}"
    )
    yield from _aligned((f"  {key}", value) for key, value in sorted(group.attributes.items()))
    yield from _aligned(
        (f"  target {target.id}", f"{target.address}{_port(target, group)}  zone {target.zone}")
        for target in group.targets
    )


def _port(target: Target, group: TargetGroup) -> str:
    return f":{target.port}" if target.port != group.port else ""


def _machine(plan: Plan) -> Iterator[str]:
    """The namespaces as the kernel will have them."""
    ends: dict[str, list[tuple[End, End]]] = {}
    for link in plan.links:
        ends.setdefault(link.a.namespace, []).append((link.a, link.b))
        ends.setdefault(link.b.namespace, []).append((link.b, link.a))
    for namespace in plan.namespaces:
        yield f"namespace {namespace.name}  ({namespace.role})"
        yield from _aligned(_interfaces(namespace, ends.get(namespace.name, [])))
        yield from _aligned(
            (f"  route {_route(route)}", f"# {route.source}" if route.source else "") for route in namespace.routes
        )


def _interfaces(namespace: Namespace, ends: list[tuple[End, End]]) -> Iterator[tuple[str, ...]]:
    for bridge in namespace.bridges:
        yield f"  {bridge.name}", bridge.mac, f"mtu {bridge.mtu}", "bridge", " ".join(bridge.addresses)
    for end, other in ends:
        place = f"port of {end.bridge}" if end.bridge else ""
        rate = f"  {end.rate_mbit:g} Mbit/s" if end.rate_mbit else ""
        to = f"to {other.namespace}/{other.name}"
        yield f"  {end.name}", end.mac, f"mtu {end.mtu}", place, f"{' '.join(end.addresses)} {to}{rate}".strip()


def _route(route: KernelRoute) -> str:
    if route.kind != "unicast":
        return f"{route.kind} {route.destination}"
    via = f" via {route.via}" if route.via else ""
    table = f" table {route.table}" if route.table != 254 else ""
    return f"{route.destination}{via} dev {route.device}{table}"


def _switches(plan: Plan) -> Iterator[str]:
    yield f"datapath {plan.datapath}   offload {str(plan.offload).lower()}   shortcuts {str(plan.shortcuts).lower()}"
    yield "emulation: what AWS leaves open"
    yield from _aligned((f"  {key}", value, f"# {meaning}") for key, value, meaning in explained(plan.emulation))


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of cells, each column as wide as its widest cell."""
    found = [tuple(row) for row in rows]
    widths = [max(len(row[index]) for row in found) for index in range(len(found[0]))] if found else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in found]
