"""A small correct topology that tests change in one place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import yaml

from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan

Data = dict[str, Any]

BASE: Data = yaml.safe_load("""
lab: test
internet: {cidr: 198.51.100.0/24, instances: [{name: client, address: 198.51.100.10}]}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    internet_gateway: {name: igw, route_table: edge}
    subnets:
      - {name: app-a, zone: a, cidr: 10.0.1.0/24, route_table: app-a}
      - {name: app-b, zone: b, cidr: 10.0.2.0/24}
      - {name: ep-a, zone: a, cidr: 10.0.11.0/28, route_table: ep-a}
    endpoints: [{name: vpce-a, subnet: ep-a, service: inspect}]
    route_tables:
      - {name: edge, routes: [{destination: 10.0.1.0/24, target: vpce-a}]}
      - {name: app-a, routes: [{destination: 0.0.0.0/0, target: vpce-a}]}
      - {name: ep-a, routes: [{destination: 0.0.0.0/0, target: igw}]}
    security_groups:
      - {name: web, ingress: [{protocol: tcp, ports: 80, source: 0.0.0.0/0}]}
    instances:
      - {name: web, subnet: app-a, address: 10.0.1.10, public_address: 203.0.113.10, security_groups: [web]}
  - name: security
    cidr: 10.254.0.0/16
    subnets:
      - {name: sec-a, zone: a, cidr: 10.254.1.0/24}
      - {name: sec-b, zone: b, cidr: 10.254.2.0/24}
    instances:
      - {name: fw-a, subnet: sec-a, address: 10.254.1.11}
      - {name: fw-b, subnet: sec-b, address: 10.254.2.11}
target_groups:
  - {name: firewalls, vpc: security, protocol: GENEVE, port: 6081, target_type: instance, targets: [fw-a]}
load_balancers:
  - {name: inspect, type: gateway, subnets: [sec-a], listener: {target_group: firewalls}}
""")


def text_of(change: Callable[[Data], object] | None = None) -> str:
    """The base topology as YAML, changed by `change`."""
    data = copy.deepcopy(BASE)
    if change is not None:
        change(data)
    return yaml.safe_dump(data, sort_keys=False)


def plan_of(change: Callable[[Data], object] | None = None, *, lab: str | None = None) -> Plan:
    return resolve(parse(text_of(change), "test.yaml"), lab=lab)


def put(path: str, value: object) -> Callable[[Data], None]:
    """A change: set (or with a trailing `+`, append) the value at a dotted path such as `vpcs.0.cidr`."""

    def change(data: Data) -> None:
        *way, last = path.removesuffix("+").split(".")
        place: Any = data
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if path.endswith("+"):
            place.setdefault(last, []).append(value)
        else:
            place[int(last) if isinstance(place, list) else last] = value

    return change
