"""One rtnetlink message per line of the plan, as bytes: pyroute2 knows the layouts, this file knows what we ask for.

Interfaces are named by index throughout: build chooses every index itself, so nothing has to be looked up.
"""

from __future__ import annotations

from socket import AF_BRIDGE, AF_INET, AF_INET6, AF_UNSPEC
from typing import Any

from pyroute2.netlink import NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, nlmsg
from pyroute2.netlink.rtnl import (
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWQDISC,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTM_SETLINK,
    TC_H_ROOT,
)
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL, fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, IFA_F_PERMANENT, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_MULTICAST, IFF_NOARP, IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_MASTER, NTF_SELF, NUD_NOARP, NUD_PERMANENT, ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg
from pyroute2.netlink.rtnl.tcmsg.sched_tbf import get_parameters

from gwlbemu.topology.plan.machine_half import Bridge, End, ForwardingEntry, KernelRoute, Neighbour

LOOPBACK_INDEX = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST, RTPROT_STATIC = 0, 253, 254, 4
RTA_TYPES = {"unicast": 1, "local": 2, "blackhole": 6}
RULE_PRIORITY = 1000


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def _encode(message: nlmsg, kind: int, *, create: bool, attributes: list[Any], **fields: int) -> bytes:
    for name, value in fields.items():
        message[name] = value
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if create else 0)
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def _link_info(kind: str, data: list[Any]) -> tuple[str, Any]:
    return ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]})


def create_veth(a: End, a_index: int, b: End, b_index: int, b_namespace_fd: int) -> bytes:
    """Make the pair, `a` in the namespace that the message is sent in and `b` directly in the other one."""
    peer = [
        ("IFLA_IFNAME", b.name),
        ("IFLA_ADDRESS", b.mac),
        ("IFLA_MTU", b.mtu),
        ("IFLA_NET_NS_FD", b_namespace_fd),
    ]
    attributes = [
        ("IFLA_IFNAME", a.name),
        ("IFLA_ADDRESS", a.mac),
        ("IFLA_MTU", a.mtu),
        _link_info("veth", [("VETH_INFO_PEER", {"index": b_index, "attrs": peer})]),
    ]
    return _encode(ifinfmsg(), RTM_NEWLINK, create=True, attributes=attributes, index=a_index, family=AF_UNSPEC)


def create_bridge(bridge: Bridge, index: int) -> bytes:
    """Make a bridge that takes no part in spanning tree and does not listen for multicast."""
    attributes = [
        ("IFLA_IFNAME", bridge.name),
        ("IFLA_ADDRESS", bridge.mac),
        ("IFLA_MTU", bridge.mtu),
        _link_info("bridge", [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]),
    ]
    return _encode(ifinfmsg(), RTM_NEWLINK, create=True, attributes=attributes, index=index, family=AF_UNSPEC)


def set_up(index: int, *, quiet: bool = False, master: int | None = None) -> bytes:
    """Set an interface up. A quiet one neither asks nor answers (no ARP, no neighbour discovery, no group reports)."""
    attributes = [] if master is None else [("IFLA_MASTER", master)]
    change = IFF_UP | (IFF_NOARP | IFF_MULTICAST if quiet else 0)
    flags = IFF_UP | (IFF_NOARP if quiet else 0)
    return _encode(
        ifinfmsg(), RTM_NEWLINK, create=False, attributes=attributes, index=index, flags=flags, change=change
    )


def configure_port(index: int) -> bytes:
    """Make a bridge port learn nothing and flood nothing but broadcast."""
    settings = [("IFLA_BRPORT_LEARNING", 0), ("IFLA_BRPORT_UNICAST_FLOOD", 0), ("IFLA_BRPORT_MCAST_FLOOD", 0)]
    attributes = [("IFLA_PROTINFO", {"attrs": settings}, NLA_F_NESTED)]
    return _encode(ifinfmsg(), RTM_SETLINK, create=False, attributes=attributes, index=index, family=AF_BRIDGE)


def add_address(index: int, address: str) -> bytes:
    """Give an interface an address ("10.0.1.1/24") that is valid at once."""
    host, _, length = address.partition("/")
    attributes = [("IFA_LOCAL", host), ("IFA_ADDRESS", host), ("IFA_FLAGS", IFA_F_PERMANENT | IFA_F_NODAD)]
    family = _family(host)
    return _encode(
        ifaddrmsg(), RTM_NEWADDR, create=True, attributes=attributes, index=index, family=family, prefixlen=int(length)
    )


def add_neighbour(index: int, neighbour: Neighbour) -> bytes:
    """Add a permanent neighbour."""
    attributes = [("NDA_DST", neighbour.address), ("NDA_LLADDR", neighbour.mac)]
    family = _family(neighbour.address)
    return _encode(
        ndmsg(), RTM_NEWNEIGH, create=True, attributes=attributes, ifindex=index, family=family, state=NUD_PERMANENT
    )


def add_forwarding_entry(index: int, entry: ForwardingEntry) -> bytes:
    """Say that a MAC is behind a bridge port, or is the bridge's own when the port is the bridge itself."""
    own = entry.port == entry.bridge
    return _encode(
        ndmsg(),
        RTM_NEWNEIGH,
        create=True,
        attributes=[("NDA_LLADDR", entry.mac)],
        ifindex=index,
        family=AF_BRIDGE,
        # net/bridge/br_fdb.c: PERMANENT means "deliver to me", NOARP means "static, behind this port".
        state=NUD_PERMANENT if own else NUD_NOARP,
        flags=NTF_SELF if own else NTF_MASTER,
    )


def add_route(route: KernelRoute, index: int | None) -> bytes:
    """Add a route; `index` is the number of its device, None for a blackhole."""
    network, _, length = route.destination.partition("/")
    attributes: list[tuple[str, Any]] = [("RTA_DST", network), ("RTA_TABLE", route.table)]
    if route.via is not None:
        attributes.append(("RTA_GATEWAY", route.via))
    if index is not None:
        attributes.append(("RTA_OIF", index))
    family = _family(network)
    on_link = family == AF_INET and route.via is None and route.kind == "unicast"
    return _encode(
        rtmsg(),
        RTM_NEWROUTE,
        create=True,
        attributes=attributes,
        family=family,
        dst_len=int(length),
        table=route.table if route.table < 256 else 0,
        proto=RTPROT_STATIC,
        scope=RT_SCOPE_HOST if route.kind == "local" else RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE,
        type=RTA_TYPES[route.kind],
    )


def add_rule(family: int, incoming: str, table: int, mark: int | None = None) -> bytes:
    """Send what comes in on an interface, or only what carries a mark there (asked first), to a table of its own."""
    priority = RULE_PRIORITY if mark is None else RULE_PRIORITY - 1
    attributes = [("FRA_IIFNAME", incoming), ("FRA_TABLE", table), ("FRA_PRIORITY", priority)]
    if mark is not None:
        attributes += [("FRA_FWMARK", mark), ("FRA_FWMASK", 0xFFFFFFFF)]
    return _encode(
        fibmsg(),
        RTM_NEWRULE,
        create=True,
        attributes=attributes,
        family=family,
        table=table if table < 256 else 0,
        action=FR_ACT_TO_TBL,
    )


def limit_rate(index: int, megabits: float, mtu: int) -> bytes:
    """Put a ceiling of `megabits` (10^6 bits per second) on what leaves: a token bucket with 50 ms of queue."""
    rate = int(megabits * 1_000_000 / 8)  # bytes per second
    # A bucket of 4 ms (one tick at 250 Hz) lets the timer keep up, a super-packet must fit in any case.
    burst = max(rate // 250, 66_000, 2 * mtu)
    options = get_parameters({"rate": rate, "burst": burst, "limit": burst + rate // 20})
    attributes = [("TCA_KIND", "tbf"), ("TCA_OPTIONS", options)]
    return _encode(
        tcmsg(), RTM_NEWQDISC, create=True, attributes=attributes, index=index, parent=TC_H_ROOT, family=AF_UNSPEC
    )
