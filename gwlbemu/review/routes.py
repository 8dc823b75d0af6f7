"""Ways that skip an endpoint in one direction, and answers that come back through another zone's endpoint.

Sources: GWLB guide, asymmetric flows (a first packet that only the load balancer saw may be answered around it, which
is not recommended; an answer whose first packet it did not see is lost); PrivateLink guide (request and answer through
the same endpoint); contract EP-06, EP-07. One representative instance per subnet is followed, in both families.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from gwlbemu.review.finding import Finding, Severity, listed
from gwlbemu.review.walk import Decision, Network, Walk, walk
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Attachment, Instance, Topology


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ends that talk, `first` beginning; `both`: either may begin."""

    first: str
    second: str
    there: Walk
    back: Walk
    both: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a pair; equal faults of several pairs are told once."""

    kind: str
    severity: Severity
    why: str
    path: Path
    change: str


def route_findings(topology: Topology) -> Iterator[Finding]:
    """Yield the pairs of ends whose packets and answers do not pass the same endpoints."""
    network = Network.of(topology)
    found: dict[Fault, list[str]] = {}
    for pair in _pairs(network):
        if pair.there.arrived and pair.back.arrived:
            direction, fault = _fault(network, pair)
            if fault is not None:
                ways = found.setdefault(fault, [])
                ways += [direction] if direction not in ways else []
    for fault, ways in found.items():
        yield Finding(fault.kind, fault.severity, f"{listed(ways)}: {fault.why}", fault.path, fault.change)


def _pairs(network: Network) -> Iterator[Pair]:
    internet = network.topology.internet
    ends = _representatives(network)
    for version in (4, 6):
        for client in internet.instances[:1] if internet else ():
            interface = network.layout.interface("internet", client.name)
            address = interface.address if version == 4 else interface.ipv6_address
            for instance in ends if address else ():
                yield from _with_internet(network, client.name, address, instance, version)
        for one, other in combinations(ends, 2):
            here, there = network.address(one.name, version), network.address(other.name, version)
            if one.subnet != other.subnet and here and there:
                out = walk(network, network.subnets[one.subnet], there)
                back = walk(network, network.subnets[other.subnet], here)
                yield Pair(one.name, other.name, out, back, both=True)


def _representatives(network: Network) -> list[Instance]:
    """One instance per subnet, and one with a public address; no appliances, nothing that routes lead to."""
    topology = network.topology
    tables = [table for vpc in topology.vpcs for table in vpc.route_tables]
    others = {target for group in topology.target_groups for target in group.targets}
    others |= {route.target for table in tables for route in table.routes}
    found: dict[tuple[str, bool], Instance] = {}
    for name, (_, instance) in network.instances.items():
        if name not in others and network.address(name, 4) not in others:
            found.setdefault((instance.subnet, bool(instance.public_address)), instance)
    return list(found.values())


def _with_internet(
    network: Network, client: str, client_address: str, instance: Instance, version: int
) -> Iterator[Pair]:
    vpc, _ = network.instances[instance.name]
    gate, own = network.internet_gateway(vpc), network.address(instance.name, version)
    if gate is None or not own:
        return
    public = bool(instance.public_address) or version == 6
    out = walk(network, network.subnets[instance.subnet], client_address, public_source=public)
    if public:
        yield Pair(client, instance.name, walk(network, gate, own), out)
    elif out.translated_by:
        subnet = network.nat_subnets[out.translated_by]
        to_nat = walk(network, gate, network.layout.interface(subnet, out.translated_by).address)
        yield Pair(instance.name, client, out, to_nat.then(walk(network, network.subnets[subnet], own)))


def _fault(network: Network, pair: Pair) -> tuple[str, Fault | None]:
    there, back = pair.there.endpoints, pair.back.endpoints
    names = (f"{pair.first} -> {pair.second}", f"{pair.second} -> {pair.first}")
    if sorted(there) == sorted(back):  # in whatever order: every load balancer sees both directions
        return "", None
    if sorted(_twin(network, name) for name in there) == sorted(_twin(network, name) for name in back):
        return _other_zone(network, pair, names)
    if len(there) < len(back):
        return names[0], _skips(network, pair.there, tuple(reversed(back)), "error")
    severity: Severity = "error" if pair.both else "warning"
    return names[1], _skips(network, pair.back, tuple(reversed(there)), severity)


def _twin(network: Network, endpoint: str) -> tuple[str, str]:
    vpc, one = network.endpoints[endpoint]
    return vpc.name, one.service


def _skips(network: Network, way: Walk, expected: tuple[str, ...], severity: Severity) -> Fault:
    """The first decision after what both ways have in common is the one that should have led to the endpoint."""
    common = 0
    while common < min(len(way.passed), len(expected) - 1) and way.endpoints[common] == expected[common]:
        common += 1
    vpc, missing = network.endpoints[expected[common]]
    after = way.passed[common - 1][1] + 1 if common else 0
    decisions = [decision for decision in way.decisions[after:] if decision.last]
    inside = [decision for decision in decisions if decision.router.vpc == vpc.name]
    across = [decision for decision in decisions if not decision.router.vpc]
    decision = (inside or across or decisions)[0]
    change = f"target: {missing.name}"
    if not inside and (attachment := _attachment_of(network, vpc.name)):
        change = f"target: {attachment}"
    elif decision.route is None:
        change = _new_line(network, decision, way.destination, missing.name)
    effect = (
        "the load balancer sees one direction only, and drops a flow that it did not see begin"
        if severity == "error"
        else "the appliances see half of every connection (AWS supports that and advises against it)"
    )
    why = f"skips {missing.name}, which the other direction passes: {_told(decision)}; {effect}"
    return Fault(
        "skips-endpoint", severity, why, decision.path if decision.route is None else (*decision.path, "target"), change
    )


def _attachment_of(network: Network, vpc: str) -> str:
    gateways = network.topology.transit_gateways
    return next((each.name for one in gateways for each in one.attachments if each.vpc == vpc), "")


def _told(decision: Decision) -> str:
    if decision.router.table is None:
        what = f"subnet {decision.router.subnet}" if decision.router.subnet else "the internet gateway"
        return f"{what} has no route table, so that everything in the VPC is local"
    if decision.route is None:
        return f"route table {decision.router.table.name} has only its local line for it"
    return f"route table {decision.router.table.name} has {decision.destination} -> {decision.target}"


def _new_line(network: Network, decision: Decision, destination: str, endpoint: str) -> str:
    _, cidr = network.subnet_of(network.vpc(decision.router.vpc), destination)
    line = f"{{destination: {cidr or decision.destination}, target: {endpoint}}}"
    return f"add {line}" if decision.router.table else f"route_table: one of its own, with {line}"


def _other_zone(network: Network, pair: Pair, names: tuple[str, str]) -> tuple[str, Fault]:
    """The endpoint outside the zone of the instance is the wrong one; between two instances, that of the way back."""
    there, back = (sorted(way.endpoints, key=lambda name: _twin(network, name)) for way in (pair.there, pair.back))
    place = next(number for number, (one, other) in enumerate(zip(there, back, strict=True)) if one != other)
    home = next(network.instances[name][1].subnet for name in (pair.second, pair.first) if name in network.instances)
    zone = {name: network.subnets[one.subnet].zone for name, (_, one) in network.endpoints.items()}
    wrong_there = not pair.both and zone[there[place]] != network.subnets[home].zone
    way, wrong, right = (pair.there, there, back) if wrong_there else (pair.back, back, there)
    number = next(number for name, number in way.passed if name == wrong[place])
    decision = way.decisions[number]
    why = (
        f"passes {wrong[place]} of zone {zone[wrong[place]]}, and the other direction {right[place]} of zone"
        f" {zone[right[place]]}: each zone has a flow table of its own, and the answer finds no flow"
    )
    path, change = (*decision.path, "target"), f"target: {right[place]}"
    if attachment := _disabled(network, way, number):
        path, change = attachment
        why += "; the transit gateway keeps traffic in the zone it came from"
    return names[0] if wrong_there else names[1], Fault("other-zone", "error", why, path, change)


def _disabled(network: Network, way: Walk, number: int) -> tuple[Path, str] | None:
    """The attachment without appliance mode through which a way entered the VPC of decision `number`."""
    vpc = way.decisions[number].router.vpc
    if not any(not decision.router.vpc for decision in way.decisions[:number]):
        return None
    for index, gateway in enumerate(network.topology.transit_gateways):
        for place, attachment in enumerate(gateway.attachments):
            if attachment.vpc == vpc and _splits(attachment):
                path: Path = ("transit_gateways", index, "attachments", place, "appliance_mode")
                return path, "appliance_mode: enable"
    return None


def _splits(attachment: Attachment) -> bool:
    return attachment.appliance_mode == "disable" and len(attachment.subnets) > 1
