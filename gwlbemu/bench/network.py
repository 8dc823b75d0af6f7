"""A network load balancer, measured: its lab, the same hops without it, and the loads that only it has.

    client 10.0.1.10 -- subnet -- node 10.0.3.254 -- subnet -- server 10.0.2.10, which keeps the client's address

The hops are the same lab without keeper and rules: routes lead packets for the server through the node's namespace, and
its answers back.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

from gwlbemu.bench import machine, tools
from gwlbemu.bench.loads import Ends
from gwlbemu.bench.plans import CLIENT, FIRST_PORT, SERVER, counted, kernel_only
from gwlbemu.errors import NetError
from gwlbemu.lab import change
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.waiting import wait_until_healthy

NODE, STREAM_PORT = "10.0.3.254", 5201  # iperf3's port
SOURCES = ("10.0.1.10", "10.0.1.11", "10.0.1.12")  # of connections: a client has no more than 40,000 with one port
HEALTHY_SECONDS = 20.0
_RETURNS = "table ip returns"  # begins what a subnet's router has for network load balancers
_LAB = """
lab: {lab}
offload: true
shortcuts: {shortcuts}
capture: {{enabled: false}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    subnets:
      - {{name: clients, zone: a, cidr: 10.0.1.0/24}}
      - {{name: servers, zone: a, cidr: 10.0.2.0/24}}
      - {{name: balancers, zone: a, cidr: 10.0.3.0/24}}
    instances:
      - {{name: client, subnet: clients, address: {client}, source_dest_check: false}}
      - {{name: server, subnet: servers, address: {server}, source_dest_check: false, program: web}}
target_groups:{groups}
load_balancers:
  - name: front
    type: network
    scheme: internal
    subnets: [{{subnet: balancers, address: {node}}}]
    listeners:{listeners}
"""
_GROUP = """
  - name: {name}
    vpc: app
    protocol: {protocol}
    port: {port}
    target_type: instance
    health_check: {{protocol: TCP, port: 80, interval_seconds: 300, healthy_threshold_count: 2}}
    attributes: {{deregistration_delay.timeout_seconds: 0, deregistration_delay.connection_termination.enabled: true}}
    targets: {targets}"""
_LISTENER = """
      - {{protocol: {protocol}, port: {port}, default_actions: [{{type: forward, target_group: {group}}}]}}"""
CROWD = "datagrams"  # the group whose target gets the UDP connections


def network_plan(lab: str, *, shortcuts: bool) -> Plan:
    """Return the plan of the lab; its server counts what arrives as the one of `plans.path_plan` does."""
    groups = [(CROWD, "UDP", FIRST_PORT), ("streams", "TCP", STREAM_PORT)]
    text = _LAB.format(
        lab=lab, shortcuts=str(shortcuts).lower(), client=CLIENT, server=SERVER, node=NODE,
        groups="".join(
            _GROUP.format(name=name, protocol=protocol, port=port, targets="[server]")
            for name, protocol, port in groups
        ),
        listeners="".join(
            _LISTENER.format(protocol=protocol, port=port, group=name) for name, protocol, port in groups
        ),
    )  # fmt: skip
    return counted(load(text, "the benchmark's own lab"))


def hops_plan(plan: Plan) -> Plan:
    """Return the same lab without a load balancer in it, to be wired by `route_hops`."""
    routers = [
        replace(each, nftables=each.nftables.partition(_RETURNS)[0], mark_rules=()) if each.role == "subnet" else each
        for each in plan.namespaces
    ]
    return replace(kernel_only(plan), network_nodes=(), namespaces=tuple(routers))


def route_hops(plan: Plan) -> None:
    """Lead packets for the server through the node's namespace, and answers back, in the lab of `hops_plan(plan)`."""
    (node,) = plan.network_nodes
    by_resource = {each.resource: each for each in plan.namespaces}
    to_subnets = {route.destination: route.via for route in by_resource[node.name].routes if route.device == "fabric"}
    ends = (end for link in plan.links for end in (link.a, link.b))
    back = next(end for end in ends if (end.namespace, end.name) == (node.namespace, "fabric"))
    lines = {
        "clients": f"route add {SERVER} via {to_subnets['10.0.3.0/24']} dev fabric",
        "balancers": f"route add {SERVER} via {node.address} dev subnet",
        node.name: f"rule add iif {node.device} lookup 100",
        "servers": f"route add {CLIENT} via {back.addresses[0].split('/')[0]} dev fabric",
    }
    for resource, line in lines.items():
        tools.output(by_resource[resource].name, [shutil.which("ip") or "ip", *line.split()])


def network_ends(plan: Plan, *, routed: bool) -> Ends:
    """Return where loads begin and end: at the node's address, or, `routed`, at the server's own."""
    by_name = {each.name: each.namespace for each in plan.instances}
    client = next(each for each in plan.namespaces if each.name == by_name["client"])
    router = next(each.mac for each in client.neighbours if each.address == "10.0.1.1")
    return Ends(by_name["client"], by_name["server"], router, SERVER if routed else NODE)


def held(lab: RunningLab) -> int:
    """Return how many UDP connections the node's kernel holds."""
    (node,) = lab.plan.network_nodes
    return int(lab.call(node.name, "metrics")["metrics"]["ActiveFlowCount_UDP"])


def flush(lab: RunningLab) -> float:
    """Deregister the target of all UDP connections and return the seconds until they are gone; then it is back.

    Raises NetError when they are not.
    """
    start = time.perf_counter()
    change.deregister(lab, CROWD, "server")
    took = time.perf_counter() - start
    time.sleep(1.1)  # a keeper's answer may be as old
    left = held(lab)
    change.register(lab, CROWD, "server")
    if troubles := wait_until_healthy(lab, HEALTHY_SECONDS):
        raise NetError("; ".join(troubles))
    if left:
        raise NetError(f"{left:,} connections of a deregistered target are there")
    return took


def kernel_memory() -> int:
    """Return the bytes of memory that the kernel has for objects that it cannot give back, of the whole machine."""
    with open("/proc/meminfo") as file:
        return machine.kilobytes(file.read(), "SUnreclaim")
