"""The published designs of a Gateway Load Balancer in a VPC, as far as topology files can say them.

Each is written by its tables alone: `{"zone": ..}` and the like are what vpc.md's twelve designs say, with instances
where packets begin and end. Not written: D5's and D8's on-premises side and D12 (virtual private gateways, Direct
Connect), and network function attachments: no file can say them. D3's and D9's load balancers are instances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
INTERNET = {"cidr": "198.51.100.0/24", "instances": [{"name": "client", "address": "198.51.100.10", "program": "web"}]}
TGW = "tgw"


def table(name: str, *lines: str) -> Data:
    """Return a route table; a line is "destination target"."""
    routes = [dict(zip(("destination", "target"), line.split(), strict=True)) for line in lines]
    return {"name": name, "routes": routes}


def subnet(name: str, zone: str, cidr: str, *, table: str | None = None, ipv6_cidr: str | None = None) -> Data:
    return {
        "name": name, "zone": zone, "cidr": cidr,
        **({"route_table": table} if table else {}), **({"ipv6_cidr": ipv6_cidr} if ipv6_cidr else {}),
    }  # fmt: skip


def vm(name: str, subnet: str, public: str = "") -> Data:
    return {"name": name, "subnet": subnet, "program": "web", **({"public_address": public} if public else {})}


def endpoints(**subnets: str) -> list[Data]:
    """Return endpoints of the load balancer, by name with the subnet that each is in."""
    return [{"name": f"vpce-{name}", "subnet": home, "service": "inspect"} for name, home in subnets.items()]


def nats(**subnets: str) -> list[Data]:
    return [
        {"name": f"nat-{name}", "subnet": home, "public_address": f"203.0.113.{50 + number}"}
        for number, (name, home) in enumerate(subnets.items())
    ]


def appliances(zones: str, cidr: str = "10.254.{}.0/24") -> Data:
    """Return a VPC for a load balancer and its appliances alone."""
    return {
        "name": "provider",
        "cidr": "10.254.0.0/16",
        "subnets": [subnet(f"appl-{zone}", zone, cidr.format(number)) for number, zone in enumerate(zones, 1)],
        "instances": [{"name": f"fw-{zone}", "subnet": f"appl-{zone}", "program": "passthrough"} for zone in zones],
    }


def design(*vpcs: Data, zones: str, provider: str = "provider", internet: bool = True, **more: object) -> Data:
    return {
        "lab": "design",
        **({"internet": INTERNET} if internet else {}),
        "vpcs": list(vpcs),
        "target_groups": [
            {
                "name": "firewalls", "vpc": provider, "protocol": "GENEVE", "port": 6081, "target_type": "instance",
                "targets": [f"fw-{zone}" for zone in zones],
            }
        ],
        "load_balancers": [
            {
                "name": "inspect", "type": "gateway", "subnets": [f"appl-{zone}" for zone in zones],
                "listener": {"target_group": "firewalls"},
            }
        ],
        **more,
    }  # fmt: skip


def spoke(name: str, number: int, zones: str) -> Data:
    """Return a VPC that sends everything to the transit gateway."""
    return {
        "name": name,
        "cidr": f"10.{number}.0.0/16",
        "subnets": [
            subnet(f"{name}-{zone}", zone, f"10.{number}.{place}.0/24", table=name)
            for place, zone in enumerate(zones, 1)
        ],
        "route_tables": [table(name, f"0.0.0.0/0 {TGW}")],
        "instances": [vm(f"{name}-vm-{zone}", f"{name}-{zone}") for zone in zones],
    }


def transit(spokes: list[str], zones: str, *lines: str) -> list[Data]:
    """Return a transit gateway: the spokes' table leads to the inspection VPC, in appliance mode, its own to them."""
    attached: list[Data] = [
        {"name": f"t-{name}", "vpc": name, "subnets": [f"{name}-{zone}" for zone in zones], "route_table": "spokes"}
        for name in spokes
    ]
    inspection = {
        "name": "t-inspection", "vpc": "inspection", "subnets": [f"att-{zone}" for zone in zones],
        "appliance_mode": "enable", "route_table": "inspected",
    }  # fmt: skip
    back = [f"10.{number}.0.0/16 t-{name}" for number, name in enumerate(spokes, 1)]
    tables = [table("spokes", "0.0.0.0/0 t-inspection"), table("inspected", *back, *lines)]
    return [{"name": TGW, "attachments": [*attached, inspection], "route_tables": tables}]


def inspection(zones: str, *, nat: bool, shared: bool = False, spokes: int = 2) -> Data:
    """Return the inspection VPC of the central designs; `shared`: endpoints and appliances share a subnet."""
    subnets, tables = [], []
    for number, zone in enumerate(zones, 1):
        home = f"appl-{zone}" if shared else f"ep-{zone}"
        subnets.append(subnet(f"att-{zone}", zone, f"10.254.{10 + number}.0/28", table=f"att-{zone}"))
        subnets.append(subnet(f"appl-{zone}", zone, f"10.254.{number}.0/24", table=f"appl-{zone}" if shared else None))
        if not shared:
            subnets.append(subnet(home, zone, f"10.254.{20 + number}.0/28", table=home))
        tables.append(table(f"att-{zone}", f"0.0.0.0/0 vpce-{zone}"))
        if nat:
            subnets.append(subnet(f"pub-{zone}", zone, f"10.254.{30 + number}.0/28", table=f"pub-{zone}"))
            back = [f"10.{each}.0.0/16" for each in range(1, spokes + 1)]
            tables.append(table(home, f"0.0.0.0/0 nat-{zone}", *(f"{cidr} {TGW}" for cidr in back)))
            tables.append(table(f"pub-{zone}", "0.0.0.0/0 igw", *(f"{cidr} vpce-{zone}" for cidr in back)))
        else:
            tables.append(table(home, f"0.0.0.0/0 {TGW}"))
    return {
        "name": "inspection",
        "cidr": "10.254.0.0/16",
        "subnets": subnets,
        "route_tables": tables,
        "endpoints": endpoints(**{zone: f"appl-{zone}" if shared else f"ep-{zone}" for zone in zones}),
        "instances": [{"name": f"fw-{zone}", "subnet": f"appl-{zone}", "program": "passthrough"} for zone in zones],
        **(
            {"internet_gateway": {"name": "igw"}, "nat_gateways": nats(**{z: f"pub-{z}" for z in zones})} if nat else {}
        ),
    }


def d1() -> Data:
    """Distributed, one zone, both families."""
    app = {
        "name": "vpc", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8:1::/56",
        "internet_gateway": {"name": "igw", "route_table": "edge"},
        "subnets": [
            subnet("app", "a", "10.0.1.0/24", table="app", ipv6_cidr="2001:db8:1:1::/64"),
            subnet("ep", "a", "10.0.2.0/28", table="ep", ipv6_cidr="2001:db8:1:2::/64"),
        ],
        "endpoints": endpoints(a="ep"),
        "route_tables": [
            table("edge", "10.0.1.0/24 vpce-a", "2001:db8:1:1::/64 vpce-a"),
            table("app", "0.0.0.0/0 vpce-a", "::/0 vpce-a"),
            table("ep", "0.0.0.0/0 igw", "::/0 igw"),
        ],
        "instances": [vm("web", "app", "203.0.113.10")],
    }  # fmt: skip
    found = design(app, appliances("a"), zones="a")
    client = {"name": "client", "address": "198.51.100.10", "ipv6_address": "2001:db8:ffff::10", "program": "web"}
    found["internet"] = {"cidr": "198.51.100.0/24", "ipv6_cidr": "2001:db8:ffff::/64", "instances": [client]}
    found["vpcs"][0]["instances"][0]["ipv6_address"] = "2001:db8:1:1::10"
    return found


def d2() -> Data:
    """Distributed, two zones."""
    app = {
        "name": "app", "cidr": "10.0.0.0/24", "internet_gateway": {"name": "igw", "route_table": "edge"},
        "subnets": [
            subnet("ep-a", "a", "10.0.0.0/28", table="ep"), subnet("ep-b", "b", "10.0.0.16/28", table="ep"),
            subnet("app-a", "a", "10.0.0.32/28", table="app-a"), subnet("app-b", "b", "10.0.0.48/28", table="app-b"),
        ],
        "endpoints": endpoints(a="ep-a", b="ep-b"),
        "route_tables": [
            table("edge", "10.0.0.32/28 vpce-a", "10.0.0.48/28 vpce-b"), table("app-a", "0.0.0.0/0 vpce-a"),
            table("app-b", "0.0.0.0/0 vpce-b"), table("ep", "0.0.0.0/0 igw"),
        ],
        "instances": [vm("web-a", "app-a", "203.0.113.10"), vm("web-b", "app-b", "203.0.113.11")],
    }  # fmt: skip
    return design(app, appliances("ab"), zones="ab")


def d3() -> Data:
    """Distributed, load balancer in public subnets; private peers by a transit gateway."""
    zones = "ab"
    to_endpoints = ["10.1.1.0/24 vpce-a", "10.1.2.0/24 vpce-b", "10.1.21.0/24 vpce-a", "10.1.22.0/24 vpce-b"]
    app = {
        "name": "app", "cidr": "10.1.0.0/16", "internet_gateway": {"name": "igw", "route_table": "edge"},
        "subnets": [
            each for number, z in enumerate(zones, 1) for each in (
                subnet(f"public-{z}", z, f"10.1.{number}.0/24", table=f"public-{z}"),
                subnet(f"inspect-{z}", z, f"10.1.{10 + number}.0/28", table="inspect"),
                subnet(f"app-{z}", z, f"10.1.{20 + number}.0/24", table=f"app-{z}"),
                subnet(f"tgw-{z}", z, f"10.1.{30 + number}.0/28", table=f"tgw-{z}"),
            )
        ],
        "endpoints": endpoints(a="inspect-a", b="inspect-b"),
        "route_tables": [
            table("edge", "10.1.1.0/24 vpce-a", "10.1.2.0/24 vpce-b"),
            table("inspect", "0.0.0.0/0 igw", f"10.0.0.0/8 {TGW}"),
            *(table(f"public-{z}", f"0.0.0.0/0 vpce-{z}") for z in zones),
            *(table(f"app-{z}", f"0.0.0.0/0 vpce-{z}", f"10.0.0.0/8 vpce-{z}") for z in zones),
            table("tgw-a", *to_endpoints), table("tgw-b", *to_endpoints),
        ],
        "instances": [
            vm("alb-a", "public-a", "203.0.113.10"), vm("alb-b", "public-b", "203.0.113.11"),
            vm("app-vm-a", "app-a"), vm("app-vm-b", "app-b"),
        ],
    }  # fmt: skip
    peer = spoke("peer", 2, "a")
    gateway = {
        "name": TGW,
        "attachments": [
            {"name": "t-app", "vpc": "app", "subnets": ["tgw-a", "tgw-b"], "route_table": "shared"},
            {"name": "t-peer", "vpc": "peer", "subnets": ["peer-a"], "route_table": "shared"},
        ],
        "route_tables": [table("shared", "10.1.0.0/16 t-app", "10.2.0.0/16 t-peer")],
    }
    peer["route_tables"] = [table("peer", f"10.1.0.0/16 {TGW}")]
    return design(app, peer, appliances("ab"), zones="ab", transit_gateways=[gateway])


def d4() -> Data:
    """Central inspection, east-west and egress; endpoints in the appliances' subnets."""
    vpcs = [spoke("red", 1, "ab"), spoke("blue", 2, "ab"), inspection("ab", nat=True, shared=True)]
    return design(*vpcs, zones="ab", provider="inspection", transit_gateways=transit(["red", "blue"], "ab"))


def d5() -> Data:
    """Central egress of one spoke: what D5 is without its on-premises side."""
    vpcs = [spoke("red", 1, "ab"), inspection("ab", nat=True, shared=True, spokes=1)]
    return design(*vpcs, zones="ab", provider="inspection", transit_gateways=transit(["red"], "ab"))


def d6() -> Data:
    """VPC to VPC, separate endpoint subnets."""
    vpcs = [spoke("red", 1, "ab"), spoke("blue", 2, "ab"), inspection("ab", nat=False)]
    gateways = transit(["red", "blue"], "ab")
    return design(*vpcs, zones="ab", provider="inspection", internet=False, transit_gateways=gateways)


def d7() -> Data:
    """Outbound through NAT gateways in the inspection VPC."""
    vpcs = [spoke("red", 1, "ab"), spoke("blue", 2, "ab"), inspection("ab", nat=True)]
    return design(*vpcs, zones="ab", provider="inspection", transit_gateways=transit(["red", "blue"], "ab"))


def d9() -> Data:
    """Central ingress: an edge VPC whose load balancers reach applications in spokes."""
    zones = "ab"
    edge = {
        "name": "edge", "cidr": "10.9.0.0/16", "internet_gateway": {"name": "igw", "route_table": "edge"},
        "subnets": [
            each for number, z in enumerate(zones, 1) for each in (
                subnet(f"ep-{z}", z, f"10.9.{10 + number}.0/28", table="ep"),
                subnet(f"public-{z}", z, f"10.9.{number}.0/24", table=f"public-{z}"),
                subnet(f"tgw-{z}", z, f"10.9.{20 + number}.0/28"),
            )
        ],
        "endpoints": endpoints(a="ep-a", b="ep-b"),
        "route_tables": [
            table("edge", "10.9.1.0/24 vpce-a", "10.9.2.0/24 vpce-b"), table("ep", "0.0.0.0/0 igw"),
            *(table(f"public-{z}", f"0.0.0.0/0 vpce-{z}", f"10.1.0.0/16 {TGW}") for z in zones),
        ],
        "instances": [vm("alb-a", "public-a", "203.0.113.10"), vm("alb-b", "public-b", "203.0.113.11")],
    }  # fmt: skip
    app = spoke("app", 1, "ab")
    app["route_tables"] = [table("app", f"10.9.0.0/16 {TGW}")]
    gateway = {
        "name": TGW,
        "attachments": [
            {"name": "t-edge", "vpc": "edge", "subnets": ["tgw-a", "tgw-b"], "route_table": "shared"},
            {"name": "t-app", "vpc": "app", "subnets": ["app-a", "app-b"], "route_table": "shared"},
        ],
        "route_tables": [table("shared", "10.9.0.0/16 t-edge", "10.1.0.0/16 t-app")],
    }
    return design(edge, app, appliances("ab"), zones="ab", transit_gateways=[gateway])


def d10() -> Data:
    """Egress in one VPC with the local route replaced."""
    zones = "ab"
    vpc = {
        "name": "vpc", "cidr": "10.0.0.0/16", "internet_gateway": {"name": "igw"},
        "subnets": [
            each for number, z in enumerate(zones, 1) for each in (
                subnet(f"public-{z}", z, f"10.0.1{number}.0/24", table=f"public-{z}"),
                subnet(f"ep-{z}", z, f"10.0.10.{16 * (number - 1)}/28", table=f"ep-{z}"),
                subnet(f"app-{z}", z, f"10.0.2{number}.0/24", table=f"app-{z}"),
            )
        ],
        "endpoints": endpoints(a="ep-a", b="ep-b"), "nat_gateways": nats(a="public-a", b="public-b"),
        "route_tables": [
            each for z in zones for each in (
                table(f"app-{z}", f"0.0.0.0/0 vpce-{z}"), table(f"ep-{z}", f"0.0.0.0/0 nat-{z}"),
                table(f"public-{z}", "0.0.0.0/0 igw", f"10.0.0.0/16 vpce-{z}"),
            )
        ],
        "instances": [vm("vm-a", "app-a"), vm("vm-b", "app-b")],
    }  # fmt: skip
    return design(vpc, appliances("ab"), zones="ab")


def d10_ingress() -> Data:
    """Ingress by a load balancer in public subnets, with the crossed routes of its other zone."""
    zones, other = "ab", {"a": "b", "b": "a"}
    public = {"a": "10.1.11.0/24", "b": "10.1.12.0/24"}
    vpc = {
        "name": "vpc", "cidr": "10.1.0.0/16", "internet_gateway": {"name": "igw"},
        "subnets": [
            each for number, z in enumerate(zones, 1) for each in (
                subnet(f"public-{z}", z, public[z], table=f"public-{z}"),
                subnet(f"ep-{z}", z, f"10.1.10.{16 * (number - 1)}/28"),
                subnet(f"app-{z}", z, f"10.1.2{number}.0/24", table=f"app-{z}"),
            )
        ],
        "endpoints": endpoints(a="ep-a", b="ep-b"),
        "route_tables": [
            each for z in zones for each in (
                table(f"public-{z}", "0.0.0.0/0 igw", f"10.1.21.0/24 vpce-{z}", f"10.1.22.0/24 vpce-{z}"),
                table(f"app-{z}", f"{public[z]} vpce-{z}", f"{public[other[z]]} vpce-{other[z]}"),
            )
        ],
        "instances": [
            vm("alb-a", "public-a", "203.0.113.10"), vm("alb-b", "public-b", "203.0.113.11"),
            vm("vm-a", "app-a"), vm("vm-b", "app-b"),
        ],
    }  # fmt: skip
    return design(vpc, appliances("ab"), zones="ab")


def d11() -> Data:
    """An endpoint behind a transit gateway, two tables, one zone."""
    vpcs = [spoke("red", 1, "a"), spoke("blue", 2, "a"), inspection("a", nat=False)]
    gateways = transit(["red", "blue"], "a")
    return design(*vpcs, zones="a", provider="inspection", internet=False, transit_gateways=gateways)


def d11_small() -> Data:
    """Two subnets of one VPC, and a subnet of the middlebox between them."""
    vpc = {
        "name": "vpc", "cidr": "10.0.0.0/16",
        "subnets": [
            subnet("one", "a", "10.0.1.0/24", table="one"), subnet("two", "a", "10.0.2.0/24", table="two"),
            subnet("middle", "a", "10.0.3.0/24"),
        ],
        "endpoints": endpoints(a="middle"),
        "route_tables": [table("one", "10.0.2.0/24 vpce-a"), table("two", "10.0.1.0/24 vpce-a")],
        "instances": [vm("vm-one", "one"), vm("vm-two", "two")],
    }  # fmt: skip
    return design(vpc, appliances("a"), zones="a", internet=False)


DESIGNS: dict[str, Callable[[], Data]] = {
    "D1": d1, "D2": d2, "D3": d3, "D4": d4, "D5": d5, "D6": d6, "D7": d7, "D9": d9, "D10": d10,
    "D10-ingress": d10_ingress, "D11": d11, "D11-small": d11_small,
}  # fmt: skip
