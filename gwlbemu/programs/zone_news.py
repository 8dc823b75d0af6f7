"""How the resolver hears of health: each node of a load balancer tells it, in a Unix datagram, of its own zone.

    {"load_balancer": "web", "zone": "a", "client_routing_policy": "any_availability_zone",
     "groups": {"web-servers": {"healthy": 2, "wanted": 1}}}

The policy is the load balancer's attribute `dns_record.client_routing_policy` as it is now. `groups` has each target
group of the load balancer: how many of its targets in the node's scope (its zone, with cross-zone load balancing all)
are healthy, and how many have to be for the zone to be in DNS. A node tells when something has changed, and again every
`AGAIN` seconds, so that a datagram that was lost is made good.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gwlbemu.errors import WireError

LARGEST = 65536  # bytes of a datagram
AGAIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class News:
    """What a node knows of its zone: by target group (healthy targets, those wanted)."""

    load_balancer: str
    zone: str
    client_routing_policy: str
    groups: Mapping[str, tuple[int, int]]


def encode(news: News) -> bytes:
    """Return the datagram that tells it (its form is at the top of this file)."""
    groups = {name: {"healthy": healthy, "wanted": wanted} for name, (healthy, wanted) in news.groups.items()}
    return json.dumps(asdict(news) | {"groups": groups}).encode()


def decode(data: bytes) -> News:
    """`encode`'s inverse; WireError for anything else."""
    try:
        told = json.loads(data)
        groups = {str(name): (int(each["healthy"]), int(each["wanted"])) for name, each in told["groups"].items()}
        return News(str(told["load_balancer"]), str(told["zone"]), str(told["client_routing_policy"]), groups)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise WireError("news of a zone that cannot be read") from None


class ZoneNews:
    """Tells the resolver, whose socket is at `path` ("": none), about the zone of one node. It never blocks."""

    def __init__(self, path: str, load_balancer: str, zone: str) -> None:
        self._path, self._load_balancer, self._zone = path, load_balancer, zone
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._told: News | None = None
        self._told_at = 0.0

    def tell(self, client_routing_policy: str, groups: Mapping[str, tuple[int, int]], now: float) -> None:
        """Tell of each group how many targets are healthy, and how many have to be; `now` is seconds of a steady clock.

        To be called whenever that may have changed, and at least every `AGAIN` seconds: it is sent when it is needed.
        """
        news = News(self._load_balancer, self._zone, client_routing_policy, dict(groups))
        if not self._path or (news == self._told and now - self._told_at < AGAIN):
            return
        try:
            self._socket.sendto(encode(news), self._path)
            self._told, self._told_at = news, now
        except OSError:  # no resolver there yet, or it is behind: the next call tries again
            self._told = None

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
