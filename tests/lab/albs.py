"""A VPC of two zones with an application load balancer behind a network load balancer, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

PUBLIC = {"a": "203.0.113.1", "b": "203.0.113.2"}  # of the network load balancer
NETWORK, APPLICATION = {"a": "10.0.101.254", "b": "10.0.102.254"}, {"a": "10.0.111.254", "b": "10.0.112.254"}
ADDRESSES = {"web-a": "10.0.1.10", "web-b": "10.0.2.10", "near": "10.0.1.20", "client": "198.51.100.10"}
WEB, OWN = 80, 81  # listeners of both load balancers: all targets, and web-a alone
_CHECK = {"interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2, "unhealthy_threshold_count": 2}


def behind(
    *,
    lab: str = "behind",
    shortcuts: bool = True,
    cross_zone: bool = True,
    security_groups: tuple[Mapping[str, Any], ...] = (),
    members: Mapping[str, list[str]] | None = None,
) -> str:
    """client -> igw -> front-node-Z -> web-node-Z -> web-Z, and `near` beside web-a.

    `members` are the names of security groups by what is in them: instances, and `front` and `web`, the load balancers.
    """
    inside = members or {}
    subnets = [
        {"name": f"{what}-{zone}", "zone": zone, "cidr": f"10.0.{first + number}.0/24", "route_table": "public"}
        for what, first in (("front", 101), ("alb", 111), ("app", 1))
        for number, zone in enumerate("ab")
    ]
    instances = [
        {"name": name, "subnet": subnet, "address": ADDRESSES[name], "security_groups": inside.get(name, []),
         "program": "web"}
        for name, subnet in (("web-a", "app-a"), ("web-b", "app-b"), ("near", "app-a"))
    ]  # fmt: skip
    groups = [
        {"name": name, "vpc": "app", "protocol": "HTTP", "port": 80, "targets": targets,
         "health_check": {"protocol": "HTTP"} | _CHECK}
        for name, targets in (("both", ["web-a", "web-b"]), ("only-a", ["web-a"]))
    ]  # fmt: skip
    listeners = {WEB: "both", OWN: "only-a"}
    groups += [
        {"name": f"web-{port}", "vpc": "app", "protocol": "TCP", "port": port, "target_type": "alb",
         "targets": ["web"], "health_check": {"protocol": "HTTP"} | _CHECK}
        for port in listeners
    ]  # fmt: skip
    document = {
        "lab": lab,
        "shortcuts": shortcuts,
        "capture": {"enabled": False},
        "internet": {"cidr": "198.51.100.0/24", "instances": [{"name": "client", "address": ADDRESSES["client"]}]},
        "vpcs": [
            {
                "name": "app",
                "cidr": "10.0.0.0/16",
                "internet_gateway": {"name": "igw"},
                "subnets": subnets,
                "route_tables": [{"name": "public", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]}],
                "security_groups": [dict(each) for each in security_groups],
                "instances": instances,
            }
        ],
        "target_groups": groups,
        "load_balancers": [
            {
                "name": "front", "type": "network", "security_groups": inside.get("front", []),
                "subnets": [{"subnet": f"front-{zone}", "public_address": PUBLIC[zone]} for zone in "ab"],
                "attributes": {"load_balancing.cross_zone.enabled": cross_zone},
                "listeners": [
                    {"protocol": "TCP", "port": port,
                     "default_actions": [{"type": "forward", "target_group": f"web-{port}"}]}
                    for port in listeners
                ],
            },
            {
                "name": "web", "type": "application", "scheme": "internal",
                "subnets": ["alb-a", "alb-b"], "security_groups": inside.get("web", []),
                "listeners": [
                    {"protocol": "HTTP", "port": port, "default_actions": [{"type": "forward", "target_group": name}]}
                    for port, name in listeners.items()
                ],
            },
        ],
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False)
