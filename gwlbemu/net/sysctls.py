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


def _write(name: str, value: str) -> None:
    try:
        with open(BASE / name, "w") as file:
            file.write(value)
    except FileNotFoundError:  # no IPv6 or no br_netfilter in this kernel
        return
