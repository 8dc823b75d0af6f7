"""What people get wrong, one change each to a sound document. A fault that a document has no place for changes nothing.

A fault takes the dice and the document, changes it, and returns what it did as text; "" when there is nothing it could
be done to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.differential.designs import ANY, ZONES, Document

Fault = Callable[[Random, Document], str]


def _vpcs(document: Document) -> list[Document]:
    return [vpc for vpc in document["vpcs"] if vpc["name"] != "security"]


def _routes(document: Document) -> Iterator[tuple[Document, Document, Document]]:
    """Every line of every route table of a VPC: the VPC, the table, the line."""
    for vpc in _vpcs(document):
        for table in vpc["route_tables"]:
            for route in table["routes"]:
                yield vpc, table, route


def _line(table: Document, route: Document) -> str:
    return f"route table {table['name']}: {route['destination']} -> {route['target']}"


def route_missing(random: Random, document: Document) -> str:
    """A line of a VPC's or a transit gateway's route table is not there."""
    lines = [(table, route) for _, table, route in _routes(document)]
    for gateway in document.get("transit_gateways", ()):
        lines += [(table, route) for table in gateway["route_tables"] for route in table["routes"]]
    table, route = random.choice(lines)
    table["routes"].remove(route)
    return f"without {_line(table, route)}"


def route_to_the_wrong_zone(random: Random, document: Document) -> str:
    """A line leads to the endpoint of another zone."""
    found = []
    for vpc, table, route in _routes(document):
        names = [each["name"] for each in vpc["endpoints"]]
        others = [name for name in names if name[:-1] == route["target"][:-1] and name != route["target"]]
        if route["target"] in names and others:
            found.append((table, route, others))
    if not found:
        return ""
    table, route, others = random.choice(found)
    before, route["target"] = _line(table, route), random.choice(others)
    return f"{before}, now {route['target']}"


def route_in_the_wrong_table(random: Random, document: Document) -> str:
    """A line stands in the table of another subnet of the VPC, and not in its own."""
    found = []
    for vpc, table, route in _routes(document):
        for other in vpc["route_tables"]:
            has = any(each["destination"] == route["destination"] for each in other["routes"])
            if other is not table and not other["name"].startswith("edge") and not has:
                found.append((table, route, other))
    if not found:
        return ""
    table, route, other = random.choice(found)
    table["routes"].remove(route)
    other["routes"].append(route)
    return f"{_line(table, route)} stands in {other['name']}"


def tables_swapped(random: Random, document: Document) -> str:
    """Two subnets of a VPC have each other's route table."""
    found = []
    for vpc in _vpcs(document):
        subnets = [subnet for subnet in vpc["subnets"] if subnet.get("route_table")]
        found += [(one, other) for one in subnets for other in subnets if one["name"] < other["name"]]
    if not found:
        return ""
    one, other = random.choice(found)
    one["route_table"], other["route_table"] = other["route_table"], one["route_table"]
    return f"{one['name']} and {other['name']} have each other's route table"


def blackhole(random: Random, document: Document) -> str:
    """A line of a transit gateway's route table drops."""
    tables = [table for gateway in document.get("transit_gateways", ()) for table in gateway["route_tables"]]
    lines = [(table, route) for table in tables for route in table["routes"]]
    if not lines:
        return ""
    table, route = random.choice(lines)
    before, route["target"] = _line(table, route), "blackhole"
    return f"{before}, now blackhole"


def loop(random: Random, document: Document) -> str:
    """What an endpoint gives back is led into that endpoint, or what leaves the inspection VPC back into it."""
    found = []
    for vpc in _vpcs(document):
        tables = {table["name"]: table for table in vpc["route_tables"]}
        homes = {subnet["name"]: subnet.get("route_table") for subnet in vpc["subnets"]}
        for endpoint in vpc["endpoints"]:
            table = tables.get(homes[endpoint["subnet"]])
            found += [(table, route, endpoint["name"]) for route in table["routes"]] if table else []
    for gateway in document.get("transit_gateways", ()):
        back = next(table for table in gateway["route_tables"] if table["name"] == "back")
        found += [(back, route, "to-hub") for route in back["routes"]]
    if not found:
        return ""
    table, route, target = random.choice(found)
    before, route["target"] = _line(table, route), target
    return f"{before}, now {target}"


def group_too_narrow(random: Random, document: Document) -> str:
    """A security group lets in, or out, too little."""
    vpc = random.choice([vpc for vpc in _vpcs(document) if vpc["instances"]])
    instance = random.choice(vpc["instances"])
    group: Document = {"name": "narrow", "ingress": [{"protocol": "tcp", "ports": 80, "source": ANY}]}
    match random.randrange(4):
        case 0:
            group["ingress"][0]["source"] = "10.2.0.0/16"
        case 1:
            group["ingress"][0]["protocol"], group["ingress"][0]["ports"] = "udp", "1-52"
        case 2:
            group["egress"] = [{"protocol": "tcp", "ports": 443, "destination": ANY}]
        case 3:
            group["ingress"] = [{"protocol": "all", "source": "narrow"}]
    vpc["security_groups"] = [*vpc.get("security_groups", []), group]
    instance["security_groups"] = ["narrow"]
    return f"{instance['name']} in a group with {group['ingress']} and {group.get('egress', 'all')} out"


def appliance_mode_off(random: Random, document: Document) -> str:
    """The attachment of the inspection VPC is without appliance mode."""
    gateways = document.get("transit_gateways", ())
    attachments = [each for gateway in gateways for each in gateway["attachments"] if "appliance_mode" in each]
    if not attachments or len(attachments[0]["subnets"]) < 2:
        return ""
    attachments[0]["appliance_mode"] = "disable"
    return f"{attachments[0]['name']} without appliance mode"


def nat_of_another_zone(random: Random, document: Document) -> str:
    """A line leads to the NAT gateway of another zone."""
    found = []
    for vpc, table, route in _routes(document):
        names = [each["name"] for each in vpc["nat_gateways"]]
        if route["target"] in names and len(names) > 1:
            found.append((table, route, [name for name in names if name != route["target"]]))
    if not found:
        return ""
    table, route, others = random.choice(found)
    before, route["target"] = _line(table, route), random.choice(others)
    return f"{before}, now {route['target']}"


def past_the_nat_gateway(random: Random, document: Document) -> str:
    """A line leads to the internet gateway and not to the NAT gateway, so that private sources come there."""
    found = []
    for vpc, table, route in _routes(document):
        if route["target"] in [each["name"] for each in vpc["nat_gateways"]]:
            found.append((table, route, vpc["internet_gateway"]["name"]))
    if not found:
        return ""
    table, route, gateway = random.choice(found)
    before, route["target"] = _line(table, route), gateway
    return f"{before}, now {gateway}"


def endpoint_among_its_instances(random: Random, document: Document) -> str:
    """An endpoint is in the subnet of the instances that it is for."""
    found = []
    for vpc in _vpcs(document):
        with_instances = {instance["subnet"] for instance in vpc["instances"]}
        for endpoint in vpc["endpoints"]:
            found += [(endpoint, subnet) for subnet in sorted(with_instances) if subnet[-1] == endpoint["subnet"][-1]]
    if not found:
        return ""
    endpoint, subnet = random.choice(found)
    endpoint["subnet"] = subnet
    return f"{endpoint['name']} in {subnet}"


def zone_without_endpoint(random: Random, document: Document) -> str:
    """A zone with targets has no endpoint; its subnets use the one of another zone."""
    found = []
    for vpc in _vpcs(document):
        zones = sorted({each["name"][-1] for each in vpc["endpoints"]})
        found += [(vpc, gone, other) for gone in zones for other in zones if other != gone]
    if not found:
        return ""
    vpc, gone, other = random.choice(found)
    assert gone in ZONES
    names = {each["name"] for each in vpc["endpoints"] if each["name"][-1] == gone}
    vpc["endpoints"] = [each for each in vpc["endpoints"] if each["name"] not in names]
    for table in vpc["route_tables"]:
        for route in table["routes"]:
            if route["target"] in names:
                route["target"] = route["target"][:-1] + other
    return f"VPC {vpc['name']} has no endpoint in zone {gone} and uses zone {other}'s"


FAULTS: dict[str, Fault] = {
    "route missing": route_missing,
    "route to the wrong zone": route_to_the_wrong_zone,
    "route in the wrong table": route_in_the_wrong_table,
    "tables swapped": tables_swapped,
    "blackhole": blackhole,
    "loop": loop,
    "group too narrow": group_too_narrow,
    "appliance mode off": appliance_mode_off,
    "NAT of another zone": nat_of_another_zone,
    "past the NAT gateway": past_the_nat_gateway,
    "endpoint among its instances": endpoint_among_its_instances,
    "zone without endpoint": zone_without_endpoint,
}
NEEDS: dict[str, tuple[str, ...]] = {  # the designs that have a place for a fault; all, unless named
    "blackhole": ("central", "central-egress"),
    "group too narrow": ("distributed", "chained", "east-west", "overlapping", "central", "central-egress"),
    "appliance mode off": ("central", "central-egress"),
    "NAT of another zone": ("egress", "central-egress"),
    "past the NAT gateway": ("egress", "central-egress"),
    "endpoint among its instances": ("distributed", "chained", "egress", "east-west", "overlapping"),
}
NETWORK_FAULTS = ("route missing", "group too narrow", "tables swapped", "route in the wrong table")
TWO_ZONES = ("route to the wrong zone", "appliance mode off", "NAT of another zone", "zone without endpoint")
