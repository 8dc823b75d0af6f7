"""A small plan by hand: two subnets on a fabric, a host in each, both address families.

east-host -- [east: subnet bridge | router] -- fabric -- [west: router | subnet bridge] -- west-host
"""

from __future__ import annotations

import subprocess
from hashlib import blake2b

from gwlbemu.topology.plan.machine_half import Bridge, End, ForwardingEntry, KernelRoute, Link, Namespace, Neighbour
from gwlbemu.topology.plan.values import Plan
from tests.waiting import PATIENCE

SIDES = {"east": 1, "west": 2}


def mac(*words: str) -> str:
    return "02:" + blake2b("/".join(words).encode(), digest_size=5).digest().hex(":")


def _other(side: str) -> str:
    return "west" if side == "east" else "east"


def _router(lab: str, side: str) -> Namespace:
    number, other = SIDES[side], _other(side)
    return Namespace(
        f"{lab}-{side}",
        side,
        "subnet",
        forwarding=True,
        bridges=(Bridge("subnet", mac(side, "subnet"), 9001, (f"10.0.{number}.1/24", f"fd00:{number}::1/64")),),
        routes=(
            KernelRoute(f"10.0.{SIDES[other]}.0/24", "fabric", f"169.254.0.{SIDES[other]}"),
            KernelRoute(f"fd00:{SIDES[other]}::/64", "fabric", f"fe80::{SIDES[other]}"),
            KernelRoute("10.0.0.0/16", kind="blackhole"),
            KernelRoute("192.0.2.0/24", "fabric", f"169.254.0.{SIDES[other]}", table=1000),
        ),
        rules=(("subnet", 1000),),
        neighbours=(
            Neighbour("subnet", f"10.0.{number}.10", mac(side, "host")),
            Neighbour("subnet", f"fd00:{number}::10", mac(side, "host")),
            Neighbour("fabric", f"169.254.0.{SIDES[other]}", mac(other, "fabric")),
            Neighbour("fabric", f"fe80::{SIDES[other]}", mac(other, "fabric")),
        ),
        forwarding_entries=(ForwardingEntry("subnet", "host", mac(side, "host")),),
    )


def _host(lab: str, side: str, nftables: str) -> Namespace:
    number = SIDES[side]
    return Namespace(
        f"{lab}-{side}-host",
        f"{side}-host",
        "instance",
        routes=(KernelRoute("0.0.0.0/0", "eth0", f"10.0.{number}.1"), KernelRoute("::/0", "eth0", f"fd00:{number}::1")),
        neighbours=(
            Neighbour("eth0", f"10.0.{number}.1", mac(side, "subnet")),
            Neighbour("eth0", f"fd00:{number}::1", mac(side, "subnet")),
        ),
        nftables=nftables,
    )


def _links(lab: str, side: str, rate_mbit: float | None) -> tuple[Link, Link]:
    number = SIDES[side]
    up = Link(
        End(f"{lab}-fabric", side, mac(side, "fabric-port"), 9001, bridge="fabric"),
        End(f"{lab}-{side}", "fabric", mac(side, "fabric"), 9001, (f"169.254.0.{number}/17", f"fe80::{number}/64")),
    )
    addresses = (f"10.0.{number}.10/24", f"fd00:{number}::10/64")
    down = Link(
        End(f"{lab}-{side}", "host", mac(side, "host-port"), 9001, bridge="subnet"),
        End(f"{lab}-{side}-host", "eth0", mac(side, "host"), 9001, addresses, rate_mbit=rate_mbit),
    )
    return up, down


def small_plan(lab: str = "small", *, rate_mbit: float | None = None, nftables: str = "") -> Plan:
    entries = tuple(ForwardingEntry("fabric", side, mac(side, "fabric")) for side in SIDES)
    bridges = (Bridge("fabric", mac("fabric"), 9001),)
    fabric = Namespace(f"{lab}-fabric", "fabric", "fabric", bridges=bridges, forwarding_entries=entries)
    routers = [_router(lab, side) for side in SIDES]
    hosts = [_host(lab, side, nftables if side == "west" else "") for side in SIDES]
    links = tuple(link for side in SIDES for link in _links(lab, side, rate_mbit if side == "east" else None))
    return Plan(lab, "by hand", (fabric, *routers, *hosts), links, *((),) * 11)


def run(namespace: str, *command: str) -> str:
    """The output of a command in a namespace, entered by iproute2's own means."""
    entered = ("ip", "netns", "exec", namespace, *command)
    done = subprocess.run(entered, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def links_here() -> str:
    return subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout
