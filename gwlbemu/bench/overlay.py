"""The same hops without GENEVE: the node's and the appliance's namespaces as routers, with or without a VXLAN between.

Everything that is made here lives in namespaces of the lab and goes with them.
"""

from __future__ import annotations

import shutil

from gwlbemu.bench import tools
from gwlbemu.bench.plans import APPLIANCE
from gwlbemu.topology.plan.values import Plan

VXLAN_MACS = ("02:00:00:00:0a:01", "02:00:00:00:0a:02")  # the node's end, the appliance's
MTU = 8500


def route(plan: Plan, node_namespace: str, *, vxlan: bool) -> None:
    """Wire a `kernel_only` lab: endpoint -> node -> appliance -> node -> endpoint by routes alone.

    `node_namespace` is the namespace of the lab's node, which the plan no longer has.
    """
    ip = shutil.which("ip") or "ip"
    appliance = next(each for each in plan.instances if each.name == "appliance")
    endpoint = plan.endpoints[0]
    ends = (end for link in plan.links for end in (link.a, link.b))
    eni = next(end for end in ends if end.namespace == node_namespace and end.addresses)
    address = eni.addresses[0].split("/")[0]
    if vxlan:
        towards, back, device, far = "10.10.0.2", "10.10.0.1", "vx0", "vx0"
        node, other = _vxlan(address, APPLIANCE, eni.name, 0), _vxlan(APPLIANCE, address, "eth0", 1)
    else:
        towards, back, device, far = APPLIANCE, address, eni.name, "eth0"
        node, other = [], []
    node += [
        f"route add default via {towards} dev {device} table 100",
        f"rule add iif {endpoint.device} lookup 100",
        f"neigh replace 169.254.127.254 lladdr {endpoint.router_mac} dev {endpoint.device} nud permanent",
        f"route add default via 169.254.127.254 dev {endpoint.device} onlink table 101",
        f"rule add iif {device} lookup 101",
    ]
    other += [f"route replace 10.0.0.0/16 via {back} dev {far}"]
    for namespace, lines in ((node_namespace, node), (appliance.namespace, other)):
        tools.output(namespace, [ip, "-batch", "-"], given="\n".join(lines) + "\n")


def _vxlan(local: str, remote: str, device: str, side: int) -> list[str]:
    mine, its = (VXLAN_MACS[side], VXLAN_MACS[1 - side])
    return [
        f"link add vx0 address {mine} mtu {MTU} type vxlan id 5 local {local} remote {remote}"
        f" dstport 4789 dev {device}",
        "link set vx0 up",
        f"addr add 10.10.0.{side + 1}/24 dev vx0",
        f"neigh replace 10.10.0.{2 - side} lladdr {its} dev vx0 nud permanent",
    ]
