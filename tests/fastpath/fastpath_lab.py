"""Five namespaces for the fast path: client - router - server, the router's way to the node, the node's to an
appliance.

Policy routing at the router sends what comes from client or server to the node first, as an edge route table would.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

ENDPOINT = 0x0A1B2C3D4E5F6071
SECOND_ENDPOINT = ENDPOINT ^ 1 << 63
NODE_ADDRESS, TARGET_ADDRESS = "10.9.0.1", "10.9.0.2"
CLIENT, SERVER, CLIENT6, SERVER6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
ENDPOINT_MAC, ROUTER_MAC = "02:00:00:00:05:01", "02:00:00:00:05:02"
ENI_MAC, TARGET_MAC = "02:00:00:00:09:01", "02:00:00:00:09:02"
ENDPOINT_DEVICE, ENI_DEVICE = "vpce", "eni"
ROLES = ("cl", "rt", "gw", "ap", "sv")


def mac(text: str) -> bytes:
    """Return a MAC as bytes."""
    return bytes.fromhex(text.replace(":", ""))


@dataclass(frozen=True)
class Lab:
    """Names of namespaces are `prefix`-role; `offload` keeps super-packets; `routed`: the node's kernel routes
    instead (for comparison). As in a lab, the router reaches the server by a bridge device.
    """

    prefix: str
    mtu: int = 1500
    offload: bool = False
    routed: bool = False

    def namespace(self, role: str) -> str:
        return f"{self.prefix}-{role}"

    def inside(self, role: str, *command: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace(role)}", *command]

    def run(self, role: str, *command: str, text: str | None = None) -> str:
        done = subprocess.run(self.inside(role, *command), input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{role}: {' '.join(command)}: {done.stderr}{done.stdout}"
        return done.stdout

    def up(self) -> None:
        n, mtu = self.namespace, self.mtu
        pairs = (
            ("rt", "c0", "02:00:00:00:01:01", "cl", "eth0", "02:00:00:00:01:02", mtu),
            ("rt", "p0", "02:00:00:00:02:03", "sv", "eth0", "02:00:00:00:02:02", mtu),
            ("gw", ENDPOINT_DEVICE, ENDPOINT_MAC, "rt", "e0", ROUTER_MAC, mtu),
            ("gw", ENI_DEVICE, ENI_MAC, "ap", "eth0", TARGET_MAC, mtu + 68),
        )
        links = (
            f"link add {a} netns {n(role)} address {mac_a} mtu {size} type veth "
            f"peer name {b} netns {n(peer)} address {mac_b} mtu {size}"
            for role, a, mac_a, peer, b, mac_b, size in pairs
        )
        text = "\n".join([*(f"netns add {n(role)}" for role in ROLES), *links])
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)
        for role in ROLES:
            self.run(role, "sh", "-c", _SYSCTL)
        for role, net in (("cl", 1), ("sv", 2)):
            self._batch(
                role,
                "link set lo up",
                "link set eth0 up",
                f"addr add 10.{net}.0.2/24 dev eth0",
                f"addr add fd00:{net}::2/64 dev eth0 nodad",
                f"route add default via 10.{net}.0.1",
                f"route add default via fd00:{net}::1",
                f"neigh replace 10.{net}.0.1 lladdr 02:00:00:00:0{net}:01 dev eth0 nud permanent",
                f"neigh replace fd00:{net}::1 lladdr 02:00:00:00:0{net}:01 dev eth0 nud permanent",
            )
        self._batch(
            "rt",
            "link set lo up",
            "link set c0 up",
            f"link add s0 address 02:00:00:00:02:01 mtu {mtu} type bridge",
            "link set p0 master s0",
            "link set p0 up",
            "link set s0 up",
            "link set e0 up",
            "addr add 10.1.0.1/24 dev c0",
            "addr add 10.2.0.1/24 dev s0",
            "addr add 10.5.0.1/24 dev e0",
            "addr add fd00:1::1/64 dev c0 nodad",
            "addr add fd00:2::1/64 dev s0 nodad",
            "addr add fd00:5::1/64 dev e0 nodad",
            "neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev c0 nud permanent",
            "neigh replace 10.2.0.2 lladdr 02:00:00:00:02:02 dev s0 nud permanent",
            "neigh replace fd00:1::2 lladdr 02:00:00:00:01:02 dev c0 nud permanent",
            "neigh replace fd00:2::2 lladdr 02:00:00:00:02:02 dev s0 nud permanent",
            f"neigh replace 10.5.0.2 lladdr {ENDPOINT_MAC} dev e0 nud permanent",
            f"neigh replace fd00:5::2 lladdr {ENDPOINT_MAC} dev e0 nud permanent",
            "route add default via 10.5.0.2 table 7",
            "rule add iif c0 lookup 7",
            "rule add iif s0 lookup 7",
        )
        for command in (
            "route add default via fd00:5::2 table 7",
            "rule add iif c0 lookup 7",
            "rule add iif s0 lookup 7",
        ):
            self.run("rt", "ip", "-6", *command.split())
        self._batch(
            "ap",
            "link set lo up",
            "link set eth0 up",
            f"addr add {TARGET_ADDRESS}/24 dev eth0",
            f"neigh replace {NODE_ADDRESS} lladdr {ENI_MAC} dev eth0 nud permanent",
        )
        self._batch(
            "gw",
            "link set lo up",
            f"link set {ENDPOINT_DEVICE} up",
            f"link set {ENI_DEVICE} up",
            f"addr add {NODE_ADDRESS}/24 dev {ENI_DEVICE}",
            f"neigh replace {TARGET_ADDRESS} lladdr {TARGET_MAC} dev {ENI_DEVICE} nud permanent",
        )
        if self.routed:
            self._batch(
                "gw",
                f"addr add 10.5.0.2/24 dev {ENDPOINT_DEVICE}",
                "route add default via 10.5.0.1",
                f"neigh replace 10.5.0.1 lladdr {ROUTER_MAC} dev {ENDPOINT_DEVICE} nud permanent",
            )
        else:
            self.run("gw", "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        if not self.offload:
            for role, device in (
                ("cl", "eth0"),
                ("sv", "eth0"),
                ("rt", "c0"),
                ("rt", "p0"),
                ("rt", "s0"),
                ("rt", "e0"),
                ("gw", ENDPOINT_DEVICE),
                ("gw", ENI_DEVICE),
                ("ap", "eth0"),
            ):
                self.run(role, "ethtool", "-K", device, "tx", "off", "gso", "off", "tso", "off")

    def down(self) -> None:
        for role in ROLES:
            subprocess.run(["ip", "netns", "del", self.namespace(role)], capture_output=True, check=False)

    def _batch(self, role: str, *lines: str) -> None:
        self.run(role, "ip", "-batch", "-", text="\n".join(lines))


_SYSCTL = (
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
    "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
    "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 net.ipv4.icmp_ratelimit=0; "
    "for i in /proc/sys/net/ipv4/conf/*; do echo 0 > $i/rp_filter; echo 0 > $i/send_redirects; done"
)
