"""What AWS has, the file can say, and the emulation cannot do yet: one sentence for each, here and nowhere else.

Whoever adds the engine for one of these takes its lines out here.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.balancer_types import NETWORK
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.places import balancers_of_type
from gwlbemu.topology.file.schema import Topology

_DATAGRAMS = ("UDP", "TCP_UDP")


def not_yet(topology: Topology) -> Iterator[Problem]:
    """Yield what of network load balancers the emulation cannot do yet."""
    for balancer in balancers_of_type(topology, NETWORK):
        here: Path = ("load_balancers", topology.load_balancers.index(balancer))
        for rest, listener in balancer.all_listeners():
            # NLB guide, Listeners: a UDP listener of a dualstack load balancer requires target groups of IPv6.
            if balancer.ip_address_type == "dualstack" and listener.protocol in _DATAGRAMS:
                yield Problem(
                    (*here, *rest, "protocol"),
                    f"a {listener.protocol} listener of a dualstack load balancer needs target groups of IPv6 "
                    "addresses, which are not emulated: expected TCP or TLS, or ip_address_type ipv4 "
                    "(UnsupportedProtocol)",
                )
