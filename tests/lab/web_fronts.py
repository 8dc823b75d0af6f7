"""A VPC of two zones with an application load balancer before the bundled web servers, as text."""

from __future__ import annotations

import yaml

from gwlbemu.public import Lab

NAME = "http://web.elb.lab.amazonaws.com"
NODES = ("web-node-a", "web-node-b")


def web_front(lab: str, *, capture: bool = False) -> str:
    """client -> igw -> web-node-Z -> server-Z: HTTP:80 and HTTPS:443 forward to the group `servers`."""
    check = {
        "protocol": "HTTP", "path": "/", "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2,
        "unhealthy_threshold_count": 2,
    }  # fmt: skip
    forward = [{"type": "forward", "target_group": "servers"}]
    document = {
        "lab": lab,
        "capture": {"enabled": capture},
        "internet": {"cidr": "198.51.100.0/24", "instances": [{"name": "client", "address": "198.51.100.10"}]},
        "vpcs": [
            {
                "name": "app",
                "cidr": "10.0.0.0/16",
                "internet_gateway": {"name": "igw"},
                "subnets": [
                    {"name": f"{what}-{zone}", "zone": zone, "cidr": f"10.0.{first + number}.0/24", **table}
                    for what, first, table in (("front", 101, {"route_table": "public"}), ("app", 1, {}))
                    for number, zone in enumerate("ab")
                ],
                "route_tables": [{"name": "public", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]}],
                "instances": [
                    {"name": f"server-{zone}", "subnet": f"app-{zone}", "address": address, "program": "web"}
                    for zone, address in (("a", "10.0.1.10"), ("b", "10.0.2.10"))
                ],
            }
        ],
        "target_groups": [
            {
                "name": "servers", "vpc": "app", "protocol": "HTTP", "port": 80, "target_type": "instance",
                "health_check": check, "targets": ["server-a", "server-b"],
            }
        ],
        "load_balancers": [
            {
                "name": "web", "type": "application", "scheme": "internet-facing", "subnets": ["front-a", "front-b"],
                "listeners": [
                    {"protocol": protocol, "port": port, "default_actions": forward}
                    for protocol, port in (("HTTP", 80), ("HTTPS", 443))
                ],
            }
        ],
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False)


def public_address(lab: Lab, node: str) -> str:
    """The address by which the client reaches a node."""
    return next(each.public_address for each in lab.plan.application_nodes if each.name == node)
