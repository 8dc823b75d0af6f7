"""The kernel settings of every namespace of a lab: a router or host that does as its tables say and volunteers nothing.

A new namespace takes IPv4 settings over from the machine, whatever those are, so everything that matters is written.
"""

from __future__ import annotations

from pathlib import Path

BASE = Path("/proc/sys/net")

# Written before the first interface exists: `default` is what each new interface starts with.
_AT_START = {
    "ipv4/conf/{}/rp_filter": "0",  # routes are asymmetric on purpose
    "ipv4/conf/{}/send_redirects": "0",
    "ipv4/conf/{}/accept_redirects": "0",
    "ipv6/conf/{}/accept_redirects": "0",
    "ipv6/conf/{}/accept_ra": "0",
    "ipv6/conf/{}/accept_dad": "0",
    "ipv6/conf/{}/dad_transmits": "0",
    "ipv6/conf/{}/router_solicitations": "0",
    "ipv6/conf/{}/addr_gen_mode": "1",  # no link-local address of its own making
}
_ONCE = {
    "ipv4/icmp_ratelimit": "0",  # each probe of a traceroute gets its answer
    "ipv4/icmp_ratemask": "0",
    "ipv6/icmp/ratelimit": "0",
    # br_netfilter, where the machine has it loaded: bridged packets are not routed packets
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}


def write_defaults() -> None:
    """Write the settings into the namespace of the calling thread; a setting that this kernel lacks is left out."""
    for pattern, value in _AT_START.items():
        for level in ("all", "default"):
            _write(pattern.format(level), value)
    for name, value in _ONCE.items():
        _write(name, value)


def write_forwarding(on: bool) -> None:
    """Say whether the namespace of the calling thread is a router.

    To be called when its interfaces are configured: IPv6 joins the all-routers groups, and reports it, on every
    interface that is open to multicast at this moment.
    """
    for family in ("ipv4", "ipv6"):
        _write(f"{family}/conf/all/forwarding", "1" if on else "0")


# A namespace in which a load balancer translates addresses.
_TRANSLATING = {
    "netfilter/nf_conntrack_tcp_loose": "0",  # a TCP connection begins by a SYN and nothing else
    "netfilter/nf_conntrack_tcp_be_liberal": "1",  # a window is the ends' affair
    "netfilter/nf_conntrack_checksum": "0",  # and so is a checksum
    "netfilter/nf_conntrack_acct": "1",  # count packets and bytes of each connection
    "netfilter/nf_conntrack_timestamp": "1",
    # Of a connection that has lost the policy that its listener gave it; else these are five days.
    "netfilter/nf_conntrack_tcp_timeout_established": "350",
    "netfilter/nf_conntrack_udp_timeout_stream": "120",
    "ipv4/fwmark_reflect": "1",  # a reset goes the way of the packet that it answers
    "ipv6/fwmark_reflect": "1",
}


def write_translating() -> None:
    """Write what connection tracking goes by into the namespace of the calling thread, where it translates."""
    for name, value in _TRANSLATING.items():
        _write(name, value)


def _write(name: str, value: str) -> None:
    try:
        with open(BASE / name, "w") as file:
            file.write(value)
    except FileNotFoundError:  # no IPv6 or no br_netfilter in this kernel
        return
