"""Of which zones a Network Load Balancer's name has the addresses: health first, then the client routing policy.

Sources: NLB guide, Target group health ("DNS failover": a zone with fewer healthy targets than the group's attributes
want, by default one, is taken out of DNS; with none left all are answered); Availability Zone DNS affinity; AWS
knowledge center, ELB DNS and cross-zone load balancing (each of the target groups needs a healthy target).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE

OWN_ZONE_SHARE = 0.85  # of the questions under partial affinity that get the client's own zone


def is_in_dns(groups: Iterable[tuple[int, int]]) -> bool:
    """Tell whether a zone's address is given out: each target group has as many healthy targets in scope as it wants.

    `groups` has both numbers by group; without a group nothing is healthy.
    """
    counts = list(groups)
    return bool(counts) and all(healthy >= wanted for healthy, wanted in counts)


def answered_zones(policy: str, zones: Mapping[str, bool], client_zone: str, draw: float) -> tuple[str, ...]:
    """Return the zones whose addresses answer a question for the load balancer's name, in the order of `zones`.

    `zones` says of each enabled zone whether it is in DNS; `client_zone` is "" for a client that is in none (the policy
    is for clients inside a VPC); `draw` is a random number, at least 0 and below 1.
    """
    healthy = tuple(zone for zone, well in zones.items() if well)
    if not healthy:
        return tuple(zones)
    own = policy == AFFINITY or (policy != ANY_ZONE and draw < OWN_ZONE_SHARE)
    return (client_zone,) if own and client_zone in healthy else healthy
