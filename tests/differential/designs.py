"""Designs that people build, as topology documents: each sound, with what the dice leave open.

Names follow one pattern, so that a fault can find its way about: subnets, tables and endpoints end in their zone
(`app-a`, `vpce-fw-b`), and so do NAT gateways (`nat-a`). Zone letters are numbers in addresses: a is 1, b is 2.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Document = dict[str, Any]
ZONES = "abc"
ANY, ANY_V6 = "0.0.0.0/0", "::/0"
REFLECTED = {"command": ["/bin/sleep", "infinity"]}  # the observer opens the sockets and returns what comes


class Draft:
    """A document in the making."""

    def __init__(self, random: Random, zones: int, *, ipv6: bool = False) -> None:
        self.random, self.zones, self.ipv6 = random, ZONES[:zones], ipv6
        self.document: Document = {"lab": "probe", "vpcs": [], "target_groups": [], "load_balancers": []}
        self.document |= {"shortcuts": False, "datapath": "python", "capture": {"enabled": False}}

    def internet(self) -> None:
        """Add the internet with one client that is a server as well."""
        client = {"name": "client", "address": "198.51.100.10"}
        self.document["internet"] = {"cidr": "198.51.100.0/24", "instances": [client]}
        if self.ipv6:
            self.document["internet"]["ipv6_cidr"] = "2001:db8:f::/64"
            client["ipv6_address"] = "2001:db8:f::10"

    def vpc(self, name: str, second: int, *, gateway: str = "", edge: str = "") -> Vpc:
        """Add a VPC 10.SECOND.0.0/16, with an internet gateway when it has a name."""
        body: Document = {"name": name, "cidr": f"10.{second}.0.0/16"}
        if self.ipv6:
            body["ipv6_cidr"] = f"2001:db8:{second:x}::/56"
        if gateway:
            body["internet_gateway"] = {"name": gateway} | ({"route_table": edge} if edge else {})
        body |= {key: [] for key in ("subnets", "route_tables", "endpoints", "nat_gateways", "instances")}
        self.document["vpcs"].append(body)
        return Vpc(self, body, second)

    def balancers(self, *names: str, address: int = 254) -> None:
        """Add a security VPC with appliances for load balancers of these names, each with a node in every zone."""
        vpc = self.vpc("security", address)
        for zone in self.zones:
            vpc.subnet("appliances", zone, 1, table=False)
        for name in names:
            targets = []
            for zone in self.zones:
                for number in range(1, self.random.choice((1, 1, 2)) + 1):
                    targets.append(f"{name}-{zone}{number}")
                    vpc.instance(targets[-1], f"appliances-{zone}", program=self._program())
            self.document["target_groups"].append(self._group(name, targets))
            cross = {"load_balancing.cross_zone.enabled": self.random.random() < 0.3}
            listener = {"target_group": f"{name}-group"}
            subnets = [f"appliances-{zone}" for zone in self.zones]
            self.document["load_balancers"].append(
                {"name": name, "type": "gateway", "subnets": subnets, "attributes": cross, "listener": listener}
            )

    def _program(self) -> object:
        roll = self.random.random()
        if roll < 0.15:
            rules = [{"name": "no-udp-from-outside", "action": "deny", "protocol": "udp", "source": "198.51.100.0/24"}]
            return {"firewall": {"default": "allow", "rules": rules, "midstream": "deny"}}
        return "passthrough" if roll < 0.2 else REFLECTED

    def _group(self, name: str, targets: list[str]) -> Document:
        sticky: dict[str, object] = {}
        if self.random.random() < 0.3:
            kind = self.random.choice(("source_ip_dest_ip", "source_ip_dest_ip_proto"))
            sticky = {"stickiness.enabled": True, "stickiness.type": kind}
        check = {"protocol": "TCP", "port": 80, "healthy_threshold_count": 2}
        return {
            "name": f"{name}-group", "vpc": "security", "protocol": "GENEVE", "port": 6081, "target_type": "instance",
            "health_check": check, "attributes": sticky, "targets": targets,
        }  # fmt: skip


class Vpc:
    """A VPC of a draft in the making; every method that adds a thing takes its zone."""

    def __init__(self, draft: Draft, body: Document, second: int) -> None:
        self.draft, self.body, self.second = draft, body, second

    def subnet(self, name: str, zone: str, third: int, *, table: bool = True) -> None:
        """Add subnet NAME-ZONE, 10.x.(THIRD + zone).0/24, with a route table of the same name."""
        subnet = {"name": f"{name}-{zone}", "zone": zone, "cidr": self.cidr(third, zone)}
        if self.draft.ipv6:
            subnet["ipv6_cidr"] = self.cidr_v6(third, zone)
        if table:
            subnet["route_table"] = f"{name}-{zone}"
            self.table(f"{name}-{zone}")
        self.body["subnets"].append(subnet)

    def cidr(self, third: int, zone: str) -> str:
        """Return the network of the subnet that `subnet` adds with the same numbers."""
        return f"10.{self.second}.{third * 10 + ZONES.index(zone)}.0/24"

    def cidr_v6(self, third: int, zone: str) -> str:
        """Return its IPv6 network."""
        return f"2001:db8:{self.second:x}:{third * 10 + ZONES.index(zone):x}::/64"

    def table(self, name: str) -> None:
        """Add an empty route table."""
        self.body["route_tables"].append({"name": name, "routes": []})

    def route(self, table: str, destination: str, target: str) -> None:
        """Add a line to a route table."""
        found = next(one for one in self.body["route_tables"] if one["name"] == table)
        found["routes"].append({"destination": destination, "target": target})

    def default(self, table: str, target: str) -> None:
        """Add the default route, of both families where there are two."""
        self.route(table, ANY, target)
        if self.draft.ipv6:
            self.route(table, ANY_V6, target)

    def to_subnet(self, table: str, third: int, zone: str, target: str) -> None:
        """Add a route to a subnet, of both families where there are two."""
        self.route(table, self.cidr(third, zone), target)
        if self.draft.ipv6:
            self.route(table, self.cidr_v6(third, zone), target)

    def endpoint(self, name: str, zone: str, subnet: str, service: str) -> None:
        """Add endpoint NAME-ZONE in SUBNET-ZONE."""
        self.body["endpoints"].append({"name": f"{name}-{zone}", "subnet": f"{subnet}-{zone}", "service": service})

    def nat(self, zone: str, public: str) -> None:
        """Add NAT gateway nat-ZONE in public-ZONE."""
        self.body["nat_gateways"].append({"name": f"nat-{zone}", "subnet": f"public-{zone}", "public_address": public})

    def instance(self, name: str, subnet: str, *, public: str = "", program: object = None) -> None:
        """Add an instance; addresses are given out in the order of the file."""
        body: Document = {"name": name, "subnet": subnet}
        network = next(one for one in self.body["subnets"] if one["name"] == subnet)
        number = 10 + sum(1 for one in self.body["instances"] if one["subnet"] == subnet)
        body["address"] = network["cidr"].removesuffix("0/24") + str(number)
        if "ipv6_cidr" in network and program is None:
            body["ipv6_address"] = network["ipv6_cidr"].removesuffix("/64") + f"{number:x}"
        if public:
            body["public_address"] = public
        if program is not None:
            body["program"] = program
        self.body["instances"].append(body)

    def groups(self) -> None:
        """Give some instances a security group that lets in what somebody would let in."""
        random = self.draft.random
        name = f"{self.body['name']}-web"
        group: Document = {
            "name": name,
            "ingress": [
                {"protocol": "tcp", "ports": 80, "source": ANY},
                {"protocol": "udp", "ports": "53-60", "source": "10.0.0.0/8"},
                {"protocol": "icmp", "source": ANY},
            ],
        }
        if random.random() < 0.4:
            group["ingress"][0]["source"] = name
        if random.random() < 0.3:
            group["egress"] = [{"protocol": "all", "destination": "10.0.0.0/8"}]
        chosen = [one for one in self.body["instances"] if random.random() < 0.5]
        if chosen and random.random() < 0.3:
            self.body["security_groups"] = [group]
            for one in chosen:
                one["security_groups"] = [name]


def distributed(draft: Draft) -> None:
    """An internet gateway whose edge route table leads each subnet through the endpoint of its zone."""
    draft.internet()
    app = draft.vpc("app", 0, gateway="igw", edge="edge")
    app.table("edge")
    for number, zone in enumerate(draft.zones):
        app.subnet("app", zone, 1)
        app.subnet("ep", zone, 2)
        app.endpoint("vpce", zone, "ep", "inspect")
        app.to_subnet("edge", 1, zone, f"vpce-{zone}")
        app.default(f"app-{zone}", f"vpce-{zone}")
        app.default(f"ep-{zone}", "igw")
        app.instance(f"web-{zone}", f"app-{zone}", public=f"203.0.113.{10 + number}")
        if draft.random.random() < 0.4:
            app.instance(f"db-{zone}", f"app-{zone}")
    app.groups()
    draft.balancers("inspect")


def chained(draft: Draft) -> None:
    """Two load balancers, one behind the other: internet, firewall, IDS, servers."""
    draft.internet()
    app = draft.vpc("app", 0, gateway="igw", edge="edge")
    app.table("edge")
    for number, zone in enumerate(draft.zones):
        app.subnet("app", zone, 1)
        app.subnet("ep1", zone, 2)
        app.subnet("ep2", zone, 3)
        app.endpoint("vpce1", zone, "ep1", "outer")
        app.endpoint("vpce2", zone, "ep2", "inner")
        app.to_subnet("edge", 1, zone, f"vpce1-{zone}")
        app.to_subnet(f"ep1-{zone}", 1, zone, f"vpce2-{zone}")
        app.default(f"ep1-{zone}", "igw")
        app.default(f"ep2-{zone}", f"vpce1-{zone}")
        app.default(f"app-{zone}", f"vpce2-{zone}")
        app.instance(f"web-{zone}", f"app-{zone}", public=f"203.0.113.{10 + number}")
    app.groups()
    draft.balancers("outer", "inner")


def egress(draft: Draft) -> None:
    """Inspection before a NAT gateway in each zone."""
    draft.ipv6 = False
    draft.internet()
    app = draft.vpc("app", 0, gateway="igw")
    for number, zone in enumerate(draft.zones):
        app.subnet("app", zone, 1)
        app.subnet("ep", zone, 2)
        app.subnet("public", zone, 3)
        app.endpoint("vpce", zone, "ep", "inspect")
        app.nat(zone, f"203.0.113.{50 + number}")
        app.default(f"app-{zone}", f"vpce-{zone}")
        app.default(f"ep-{zone}", f"nat-{zone}")
        app.default(f"public-{zone}", "igw")
        for other in draft.zones:
            app.to_subnet(f"public-{zone}", 1, other, f"vpce-{zone}")
        app.instance(f"worker-{zone}", f"app-{zone}")
        if draft.random.random() < 0.3:
            app.instance(f"second-{zone}", f"app-{zone}")
        if draft.random.random() < 0.3:
            app.instance(f"bastion-{zone}", f"public-{zone}", public=f"203.0.113.{80 + number}")
    app.groups()
    draft.balancers("inspect")


def east_west(draft: Draft) -> None:
    """Between the subnets of one VPC, by routes more specific than local; each pair by the endpoint of one zone."""
    app = draft.vpc("app", 0)
    for zone in draft.zones:
        for name, third in (("front", 1), ("back", 2)):
            app.subnet(name, zone, third)
            app.instance(f"host-{name}-{zone}", f"{name}-{zone}")
        app.subnet("ep", zone, 3)
        app.endpoint("vpce", zone, "ep", "inspect")
    own = draft.random.random() < 0.5  # the endpoint of the front's zone for both directions, or each side its own
    for zone in draft.zones:
        for other in draft.zones:
            app.to_subnet(f"front-{zone}", 2, other, f"vpce-{zone}")
            app.to_subnet(f"back-{zone}", 1, other, f"vpce-{zone if own else other}")
    app.groups()
    draft.balancers("inspect")


def overlapping(draft: Draft) -> None:
    """Two VPCs with the same addresses behind one load balancer."""
    draft.ipv6 = False
    draft.internet()
    for index, color in enumerate(("red", "blue")):
        vpc = draft.vpc(color, 0, gateway=f"igw-{color}", edge=f"edge-{color}")
        vpc.table(f"edge-{color}")
        for number, zone in enumerate(draft.zones):
            vpc.subnet(color, zone, 1)
            vpc.subnet(f"{color}-ep", zone, 2)
            vpc.endpoint(f"vpce-{color}", zone, f"{color}-ep", "inspect")
            vpc.to_subnet(f"edge-{color}", 1, zone, f"vpce-{color}-{zone}")
            vpc.default(f"{color}-{zone}", f"vpce-{color}-{zone}")
            vpc.default(f"{color}-ep-{zone}", f"igw-{color}")
            vpc.instance(f"web-{color}-{zone}", f"{color}-{zone}", public=f"203.0.113.{10 + 20 * index + number}")
    draft.balancers("inspect")


def central(draft: Draft) -> None:
    """Between VPCs by way of a transit gateway and an inspection VPC; appliance mode on."""
    _central(draft, leaves=False)


def central_egress(draft: Draft) -> None:
    """The same, and the way out: a NAT gateway in each zone of the inspection VPC.

    IPv6 of the other VPCs is dropped at the internet gateway of that VPC.
    """
    _central(draft, leaves=True)


def _central(draft: Draft, *, leaves: bool) -> None:
    spokes = ("left", "right")
    attachments: list[Document] = []
    for index, name in enumerate(spokes):
        spoke = draft.vpc(name, 1 + index)
        zones = draft.zones if draft.random.random() < 0.7 else draft.zones[: max(1, len(draft.zones) - 1)]
        for zone in zones:
            spoke.subnet(name, zone, 1)
            spoke.default(f"{name}-{zone}", "tgw")
            spoke.instance(f"host-{name}-{zone}", f"{name}-{zone}")
        spoke.groups()
        subnets = [f"{name}-{zone}" for zone in zones]
        attachments.append({"name": f"to-{name}", "vpc": name, "subnets": subnets, "route_table": "spokes"})
    if leaves:
        draft.internet()
    hub = draft.vpc("hub", 100, gateway="igw" if leaves else "")
    for number, zone in enumerate(draft.zones):
        hub.subnet("att", zone, 1)
        hub.subnet("ep", zone, 2)
        hub.endpoint("vpce", zone, "ep", "inspect")
        hub.default(f"att-{zone}", f"vpce-{zone}")
        if leaves:
            hub.subnet("public", zone, 3)
            hub.nat(zone, f"203.0.113.{50 + number}")
            hub.route(f"ep-{zone}", ANY, f"nat-{zone}")
            hub.route(f"ep-{zone}", "10.0.0.0/8", "tgw")
            hub.route(f"public-{zone}", "10.0.0.0/8", f"vpce-{zone}")
            if draft.ipv6:
                hub.route(f"ep-{zone}", ANY_V6, "igw")
                for index in range(len(spokes)):
                    hub.route(f"ep-{zone}", f"2001:db8:{1 + index:x}::/56", "tgw")
            hub.default(f"public-{zone}", "igw")
        else:
            hub.default(f"ep-{zone}", "tgw")
    to_hub = {"name": "to-hub", "vpc": "hub", "subnets": [f"att-{zone}" for zone in draft.zones]}
    attachments.append(to_hub | {"appliance_mode": "enable", "route_table": "back"})
    everything = [ANY, ANY_V6] if draft.ipv6 else [ANY]
    back = [{"destination": f"10.{1 + index}.0.0/16", "target": f"to-{name}"} for index, name in enumerate(spokes)]
    if draft.ipv6:
        back += [{"destination": f"2001:db8:{1 + n:x}::/56", "target": f"to-{name}"} for n, name in enumerate(spokes)]
    tables = [
        {"name": "spokes", "routes": [{"destination": each, "target": "to-hub"} for each in everything]},
        {"name": "back", "routes": back},
    ]
    draft.document["transit_gateways"] = [{"name": "tgw", "attachments": attachments, "route_tables": tables}]
    draft.balancers("inspect")


DESIGNS: dict[str, Callable[[Draft], None]] = {
    "distributed": distributed,
    "chained": chained,
    "egress": egress,
    "east-west": east_west,
    "overlapping": overlapping,
    "central": central,
    "central-egress": central_egress,
}
