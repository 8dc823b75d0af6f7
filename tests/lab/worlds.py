"""Small topologies for the lab tests, as text: a client on the internet, a server per zone, appliances behind them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

ZONES = "ab"
DATAPATH = os.environ.get("GWLBEMU_DATAPATH", "auto")  # the same tests on the other datapath: python, ebpf
QUICK = {
    "protocol": "HTTP", "port": 80, "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2,
    "unhealthy_threshold_count": 2,
}  # fmt: skip


def world(
    appliances: Mapping[str, str] | None = None,
    *,
    program: Any = "passthrough",
    targets: Sequence[str] | None = None,
    ipv6: bool = False,
    group: Mapping[str, object] | None = None,
    balancer: Mapping[str, object] | None = None,
    listener: Mapping[str, object] | None = None,
    emulation: Mapping[str, object] | None = None,
    public: bool = True,
) -> str:
    """One or two zones (those of the `appliances`, name -> zone): client -> igw -> vpce-Z -> server-Z.

    The server of zone a is 10.0.1.10 (203.0.113.10), that of zone b 10.0.2.10 (203.0.113.11).
    """
    where = appliances or {"fw": "a"}
    zones = sorted(set(where.values()))
    six = {"ipv6_cidr": "2001:db8:1::/56"} if ipv6 else {}
    document = {
        "lab": "world",
        "internet": {
            "cidr": "198.51.100.0/24",
            **({"ipv6_cidr": "2001:db8:f::/64"} if ipv6 else {}),
            "instances": [
                {"name": "client", "address": "198.51.100.10", **({"ipv6_address": "2001:db8:f::10"} if ipv6 else {})}
            ],
        },
        "vpcs": [
            {
                "name": "app",
                "cidr": "10.0.0.0/16",
                **six,
                "internet_gateway": {"name": "igw", "route_table": "edge"},
                "subnets": [subnet for zone in zones for subnet in _app_subnets(zone, ipv6)],
                "endpoints": [{"name": f"vpce-{z}", "subnet": f"endpoints-{z}", "service": "inspect"} for z in zones],
                "route_tables": [
                    {"name": "edge", "routes": [route for zone in zones for route in _edge_routes(zone, ipv6)]},
                    *({"name": f"servers-{z}", "routes": _default(f"vpce-{z}", ipv6)} for z in zones),
                    {"name": "endpoints", "routes": _default("igw", ipv6)},
                ],
                "instances": [
                    {
                        "name": f"server-{zone}",
                        "subnet": f"servers-{zone}",
                        "address": f"10.0.{_number(zone)}.10",
                        **({"public_address": f"203.0.113.{9 + _number(zone)}"} if public else {}),
                        **({"ipv6_address": f"2001:db8:1:{_number(zone)}::10"} if ipv6 else {}),
                        "program": "web",
                    }
                    for zone in zones
                ],
            },
            {
                "name": "security",
                "cidr": "10.254.0.0/16",
                "subnets": [{"name": f"appliances-{z}", "zone": z, "cidr": f"10.254.{_number(z)}.0/24"} for z in zones],
                "instances": [
                    {
                        "name": name,
                        "subnet": f"appliances-{zone}",
                        "address": f"10.254.{_number(zone)}.{11 + number}",
                        "program": program,
                    }
                    for number, (name, zone) in enumerate(where.items())
                ],
            },
        ],
        "target_groups": [
            {
                "name": "firewalls",
                "vpc": "security",
                "protocol": "GENEVE",
                "port": 6081,
                "target_type": "instance",
                "health_check": dict(QUICK),
                "attributes": dict(group or {}),
                "targets": list(where if targets is None else targets),
            }
        ],
        "load_balancers": [
            {
                "name": "inspect",
                "type": "gateway",
                "subnets": [f"appliances-{zone}" for zone in zones],
                "attributes": dict(balancer or {}),
                "listener": {"target_group": "firewalls", "attributes": dict(listener or {})},
            }
        ],
        "emulation": dict(emulation or {}),
        "datapath": DATAPATH,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _number(zone: str) -> int:
    return ZONES.index(zone) + 1


def _app_subnets(zone: str, ipv6: bool) -> list[dict[str, str]]:
    number = _number(zone)
    servers = {"name": f"servers-{zone}", "zone": zone, "cidr": f"10.0.{number}.0/24", "route_table": f"servers-{zone}"}
    ends = {"name": f"endpoints-{zone}", "zone": zone, "cidr": f"10.0.1{number}.0/28", "route_table": "endpoints"}
    if ipv6:
        servers["ipv6_cidr"], ends["ipv6_cidr"] = f"2001:db8:1:{number}::/64", f"2001:db8:1:1{number}::/64"
    return [servers, ends]


def _edge_routes(zone: str, ipv6: bool) -> list[dict[str, str]]:
    number = _number(zone)
    six = [{"destination": f"2001:db8:1:{number}::/64", "target": f"vpce-{zone}"}] if ipv6 else []
    return [{"destination": f"10.0.{number}.0/24", "target": f"vpce-{zone}"}, *six]


def _default(target: str, ipv6: bool) -> list[dict[str, str]]:
    six = [{"destination": "::/0", "target": target}] if ipv6 else []
    return [{"destination": "0.0.0.0/0", "target": target}, *six]
