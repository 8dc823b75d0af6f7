"""A VPC of two zones with an application load balancer, as text, and how its tests ask it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from gwlbemu.public import Lab

NODES = {"a": "10.0.101.254", "b": "10.0.102.254"}  # the highest that are free
TARGETS = {"web-a": "10.0.1.10", "web-b": "10.0.2.10"}
NAME = "front.elb.lab.amazonaws.com"
GROUP = "web-servers"
HTTP, PORT = 80, 8081  # listeners: one for the name, one that nobody is let in to
PUBLIC = {"a": "203.0.113.254", "b": "203.0.113.253"}  # assigned


def web_tier(*, lab: str = "webs", **more: Any) -> dict[str, Any]:
    """client -> igw -> front-node-Z -> web-Z, and `near` beside web-a; the security groups are those that AWS
    recommends: the world reaches port 80 of `front`, `front` reaches the servers, nobody else does.

    `more` are keys of the load balancer.
    """
    subnets = [
        {"name": f"{what}-{zone}", "zone": zone, "cidr": f"10.0.{first + number}.0/24"}
        | ({"route_table": "public"} if what == "front" else {})
        for what, first in (("front", 101), ("app", 1))
        for number, zone in enumerate("ab")
    ]
    forward = [{"type": "forward", "target_group": GROUP}]
    return {
        "lab": lab,
        "capture": {"enabled": False},
        "internet": {"cidr": "198.51.100.0/24", "instances": [{"name": "client", "address": "198.51.100.10"}]},
        "vpcs": [
            {
                "name": "app",
                "cidr": "10.0.0.0/16",
                "internet_gateway": {"name": "igw"},
                "subnets": subnets,
                "route_tables": [{"name": "public", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]}],
                "security_groups": [
                    {
                        "name": "door",
                        "ingress": [{"protocol": "tcp", "ports": HTTP, "source": "0.0.0.0/0"}],
                        "egress": [{"protocol": "tcp", "ports": 80, "destination": "servers"}],
                    },
                    {"name": "servers", "ingress": [{"protocol": "tcp", "ports": 80, "source": "door"}]},
                ],
                "instances": [
                    {
                        "name": name, "subnet": f"app-{name[-1]}", "address": address, "security_groups": ["servers"],
                        "program": "web",
                    }
                    for name, address in TARGETS.items()
                ] + [{"name": "near", "subnet": "app-a", "address": "10.0.1.20"}],
            }
        ],
        "target_groups": [
            {
                "name": GROUP, "vpc": "app", "protocol": "HTTP", "port": 80,
                "health_check": {
                    "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2,
                    "unhealthy_threshold_count": 2,
                },
                "attributes": {"deregistration_delay.timeout_seconds": 0},
                "targets": list(TARGETS),
            }
        ],
        "load_balancers": [
            {
                "name": "front",
                "type": "application",
                "scheme": "internet-facing",
                "subnets": ["front-a", "front-b"],
                "security_groups": ["door"],
                "listeners": [
                    {"protocol": "HTTP", "port": port, "default_actions": forward} for port in (HTTP, PORT)
                ],
            }
            | more
        ],
    }  # fmt: skip


def as_text(document: dict[str, Any]) -> str:
    """The topology as YAML."""
    return yaml.safe_dump(document, sort_keys=False)


def ask(
    lab: Lab, who: str, where: str = NAME, port: int = HTTP, path: str = "/?json", *words: str, seconds: float = 20.0
) -> dict[str, Any] | int:
    """What the web server says of who asked; the status of another answer, or minus curl's exit code without one."""
    done = lab.exec(
        who, ["curl", "-s", "-m", str(seconds), "-w", "\n%{http_code}", *words, f"http://{where}:{port}{path}"]
    )
    body, _, status = done.stdout.rpartition("\n")
    if done.code != 0:
        return -done.code
    return dict(json.loads(body)) if status == "200" else int(status)


def names(lab: Lab, who: str, times: int, where: str = NAME) -> set[object]:
    """Who answers so many requests, one connection each."""
    return {got["name"] if isinstance(got := ask(lab, who, where), dict) else got for _ in range(times)}
