"""The labs of the benchmark, as topology text: the measured way, and a big lab of a hundred instances. Pure.

Every path that is measured is this one lab, with another datapath or with other routes.

    client 10.0.1.10 -- subnet -- vpce -- node -- appliance (reflector) -- node -- vpce -- subnet -- server 10.0.2.10
"""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan

CLIENT, SERVER = "10.0.1.10", "10.0.2.10"
APPLIANCE = "10.254.1.11"
FIRST_PORT, LAST_PORT = 20_000, 20_999  # UDP destination ports that the server counts and drops
COUNTED = "delivered"

_WAY = """
lab: {lab}
offload: {offload}
shortcuts: {shortcuts}
datapath: {datapath}
capture: {{enabled: false}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    subnets:
      - {{name: clients, zone: a, cidr: 10.0.1.0/24, route_table: clients}}
      - {{name: servers, zone: a, cidr: 10.0.2.0/24, route_table: servers}}
      - {{name: endpoints, zone: a, cidr: 10.0.3.0/24}}
    endpoints: [{{name: vpce, subnet: endpoints, service: inspect}}]
    route_tables:
      - {{name: clients, routes: [{to_servers}]}}
      - {{name: servers, routes: [{to_clients}]}}
    instances:
      - {{name: client, subnet: clients, address: {client}, source_dest_check: false}}
      - {{name: server, subnet: servers, address: {server}, source_dest_check: false}}
  - name: security
    cidr: 10.254.0.0/16
    subnets: [{{name: appliances, zone: a, cidr: 10.254.1.0/24}}]
    instances:
      - {{name: appliance, subnet: appliances, address: {appliance}, source_dest_check: false, program: {program}}}
target_groups:
  - name: targets
    vpc: security
    protocol: GENEVE
    port: 6081
    target_type: instance
    health_check: {{protocol: TCP, port: 80, interval_seconds: 300, healthy_threshold_count: 2}}
    targets: [appliance]
load_balancers:
  - {{name: inspect, type: gateway, subnets: [appliances], listener: {{target_group: targets}}}}
"""
# What a counted packet meets at the server: the first hook there is, so that the receiver costs nothing.
_COUNTER = f"""
table netdev bench {{
  counter {COUNTED} {{ }}
  chain arriving {{
    type filter hook ingress device "eth0" priority 0; policy accept;
    udp dport {FIRST_PORT}-{LAST_PORT} counter name "{COUNTED}" drop
  }}
}}
"""


def path_plan(
    lab: str,
    *,
    datapath: str = "python",
    offload: bool = False,
    shortcuts: bool = True,
    inspected: bool = True,
    reflector: str = "",
) -> Plan:
    """Return the plan of the measured lab; not `inspected` means that the routes skip the endpoint.

    `reflector` is the compiled object whose program `reflect` is the appliance; without it, a Python passthrough.
    """
    line = "{{destination: {}, target: vpce}}"
    program = (
        f'{{command: ["{{python}}", "-m", "gwlbemu.bench.reflector", "{reflector}"]}}' if reflector else "passthrough"
    )
    text = _WAY.format(
        lab=lab, offload=_word(offload), shortcuts=_word(shortcuts), datapath=datapath, client=CLIENT, server=SERVER,
        appliance=APPLIANCE, program=program,
        to_servers=line.format("10.0.2.0/24") if inspected else "",
        to_clients=line.format("10.0.1.0/24") if inspected else "",
    )  # fmt: skip
    return counted(load(text, "the benchmark's own lab"))


def _word(value: bool) -> str:
    return "true" if value else "false"


def counted(plan: Plan) -> Plan:
    """Return the plan with a server that counts and drops what the packet loads send."""
    return replace(
        plan,
        namespaces=tuple(
            replace(each, nftables=each.nftables + _COUNTER) if each.resource == "server" else each
            for each in plan.namespaces
        ),
    )


def kernel_only(plan: Plan, *, programs: bool = False) -> Plan:
    """Return the same lab without a node process: its node is a plain router, to be wired by `overlay` or `ovs`.

    Without `programs` the appliance is one, too.
    """
    nodes = {node.namespace for node in plan.gateway_nodes}
    return replace(
        plan,
        gateway_nodes=(),
        programs=plan.programs if programs else (),
        namespaces=tuple(
            replace(each, nftables="", forwarding=True) if each.name in nodes else each for each in plan.namespaces
        ),
    )


def many_instances(lab: str, instances: int = 100) -> str:
    """Return the text of a topology like two-zones with so many instances, a program in each but the client."""
    zones, per_subnet = ("a", "b"), 12
    servers = instances - 7  # the client and six appliances
    subnets, people, tables = [], [], []
    for number, first in enumerate(range(0, servers, per_subnet)):
        zone = zones[number % 2]
        name = f"app-{number}"
        subnets.append(f"{{name: {name}, zone: {zone}, cidr: 10.0.{100 + number}.0/24, route_table: {name}}}")
        tables.append(f"{{name: {name}, routes: [{{destination: 0.0.0.0/0, target: vpce-{zone}}}]}}")
        people += [
            f"{{name: web-{each}, subnet: {name}, address: 10.0.{100 + number}.{10 + each - first}, program: web}}"
            for each in range(first, min(first + per_subnet, servers))
        ]
    edge = [
        f"{{destination: 10.0.{100 + number}.0/24, target: vpce-{zones[number % 2]}}}" for number in range(len(subnets))
    ]
    targets = [(f"fw-{zone}{i}", zone, i) for zone in zones for i in range(3)]
    ends = "".join(
        f"\n      - {{name: end-{zone}, zone: {zone}, cidr: 10.0.{11 + i}.0/28, route_table: ends}}"
        for i, zone in enumerate(zones)
    )
    return f"""
lab: {lab}
internet: {{cidr: 198.51.100.0/24, instances: [{{name: client, address: 198.51.100.10}}]}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    internet_gateway: {{name: igw, route_table: edge}}
    subnets:{ends}{"".join(chr(10) + "      - " + line for line in subnets)}
    endpoints: [{", ".join(f"{{name: vpce-{zone}, subnet: end-{zone}, service: inspect}}" for zone in zones)}]
    route_tables:
      - {{name: ends, routes: [{{destination: 0.0.0.0/0, target: igw}}]}}
      - {{name: edge, routes: [{", ".join(edge)}]}}{"".join(chr(10) + "      - " + line for line in tables)}
    instances:{"".join(chr(10) + "      - " + line for line in people)}
  - name: security
    cidr: 10.254.0.0/16
    subnets: [{", ".join(f"{{name: sec-{z}, zone: {z}, cidr: 10.254.{i + 1}.0/24}}" for i, z in enumerate(zones))}]
    instances:{
        "".join(
            f"{chr(10)}      - {{name: {name}, subnet: sec-{zone}, "
            f"address: 10.254.{zones.index(zone) + 1}.{11 + i}, program: passthrough}}"
            for name, zone, i in targets
        )
    }
target_groups:
  - name: targets
    vpc: security
    protocol: GENEVE
    port: 6081
    target_type: instance
    health_check: {{protocol: TCP, port: 80, interval_seconds: 5, timeout_seconds: 2, healthy_threshold_count: 2}}
    targets: [{", ".join(name for name, _, _ in targets)}]
load_balancers:
  - {{name: inspect, type: gateway, subnets: [sec-a, sec-b], listener: {{target_group: targets}}}}
"""
