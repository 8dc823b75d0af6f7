"""Open vSwitch's user-space datapath with GENEVE in the node's place. Never installed by us; used where it is there.

Two bridges: `br-un` holds the ENI and its address, `br-in` the endpoint's interface and the tunnel. OpenFlow rules
carry what the endpoint receives into the tunnel, with three options of AWS's sizes, and what comes back out again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gwlbemu.bench import tools
from gwlbemu.bench.plans import APPLIANCE
from gwlbemu.errors import NetError
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import open_existing
from gwlbemu.net.spawn import spawn
from gwlbemu.topology.plan.values import Plan

PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
SIZES = ((1, 8), (2, 8), (3, 4))  # type and bytes of the options: endpoint, attachment, flow cookie
TLVS = ",".join(
    f"{{class=0x108,type={kind},len={size}}}->tun_metadata{place}" for place, (kind, size) in enumerate(SIZES)
)
OPTIONS = (
    "set_field:0x1122334455667788->tun_metadata0,set_field:0x0102030405060708->tun_metadata1,"
    "set_field:0x2a->tun_metadata2"
)


def check() -> None:
    """NetError "not installed" where Open vSwitch is not."""
    if not SCHEMA.exists() or any(shutil.which(name) is None for name in PROGRAMS):
        raise NetError("not installed")


def bridge(plan: Plan, folder: Path) -> None:
    """Start Open vSwitch inside the node's namespace, owned by the lab, and lead the endpoint's packets through it."""
    node, endpoint = plan.gateway_nodes[0], plan.endpoints[0]
    place = folder / "ovs"
    place.mkdir()
    database, control = place / "db.sock", place / "vs.ctl"
    tools.output(node.namespace, ["ovsdb-tool", "create", str(place / "conf.db"), str(SCHEMA)])
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        **{f"OVS_{key}": str(place) for key in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")},
    }
    daemons = {
        "ovsdb-server": [str(place / "conf.db"), f"--remote=punix:{database}", f"--unixctl={place / 'db.ctl'}"],
        "ovs-vswitchd": [f"unix:{database}", f"--unixctl={control}"],
    }
    with open_existing(plan.lab) as record:
        for name, words in daemons.items():
            log = folder / "logs" / f"{name}.log"
            spawn(record, name, [name, *words], namespace=path_of(node.namespace), log=log, environment=environment)
            tools.wait_for(database if name == "ovsdb-server" else control)

    def ovs(*words: str) -> str:
        variables = [f"{key}={value}" for key, value in environment.items()]
        return tools.output(node.namespace, ["env", *variables, *words])

    switch = ("ovs-vsctl", f"--db=unix:{database}", "-t", "10")
    ovs("ovs-vsctl", f"--db=unix:{database}", "--no-wait", "init")
    ovs(*switch, "add-br", "br-un", "--", "set", "bridge", "br-un", "datapath_type=netdev",
        f'other-config:hwaddr="{node.mac}"', "--", "add-port", "br-un", node.device)  # fmt: skip
    ovs(*switch, "add-br", "br-in", "--", "set", "bridge", "br-in", "datapath_type=netdev",
        "--", "add-port", "br-in", endpoint.device, "--", "add-port", "br-in", "gnv",
        "--", "set", "interface", "gnv", "type=geneve", f"options:remote_ip={APPLIANCE}", "options:key=0")  # fmt: skip
    address = f"{node.address}/{node.prefix_length}"
    lines = [
        f"addr del {address} dev {node.device}",
        f"addr add {address} dev br-un",
        "link set br-un mtu 9001 up",
        "link set br-in up",
    ]
    tools.output(node.namespace, ["ip", "-batch", "-"], given="\n".join(lines) + "\n")
    ovs("ovs-appctl", "-t", str(control), "tnl/arp/set", "br-un", APPLIANCE, node.neighbours[APPLIANCE])
    flows = ("ovs-ofctl", "-O", "OpenFlow15")
    manage = str(place / "br-in.mgmt")
    ovs("ovs-ofctl", "add-tlv-map", manage, TLVS)
    ovs(*flows, "del-flows", manage)
    ovs(*flows, "add-flow", manage, f"in_port={endpoint.device},ip,actions={OPTIONS},gnv")
    back = f"set_field:{endpoint.mac}->eth_src,set_field:{endpoint.router_mac}->eth_dst,{endpoint.device}"
    ovs(*flows, "add-flow", manage, f"in_port=gnv,ip,actions={back}")
