"""What a node of a Network Load Balancer is told: the load balancer as the ELBv2 API describes it, and its place.

All values are plain, so that a configuration is JSON (`programs/network/config`). Attributes are AWS's keys with AWS's
text, every key of the resource. A target's `port` is where it takes connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.emulation import Emulation


@dataclass(frozen=True, slots=True)
class Group:
    """A target group: what is registered with it, and how it is probed."""

    name: str
    protocol: str  # TCP | UDP | TCP_UDP | TLS
    target_type: str  # instance | ip | alb
    attributes: Mapping[str, str]
    health_check: HealthCheck
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward action: names of target groups with weights (0 to 999); `sticky` keeps a client on one of them."""

    groups: tuple[tuple[str, int], ...]
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener. `by_version` are its rules: the IP version (4 or 6) of the source and what is done then."""

    protocol: str  # TCP | UDP | TCP_UDP | TLS
    port: int
    forward: Forward
    attributes: Mapping[str, str]
    by_version: tuple[tuple[int, Forward], ...] = ()
    tls: Tls | None = None  # of a TLS listener

    @property
    def name(self) -> str:
        """How people are told of it: TCP:80."""
        return f"{self.protocol}:{self.port}"

    def forward_of(self, version: int) -> Forward:
        """Return what is done with a connection whose source has this IP version."""
        return dict(self.by_version).get(version, self.forward)


@dataclass(frozen=True, slots=True)
class Balancer:
    """A load balancer with everything that may change while it runs."""

    attributes: Mapping[str, str]
    listeners: tuple[Listener, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told once. `zones` are the load balancer's enabled ones; the same `seed` chooses alike."""

    load_balancer: str
    zone: str
    zones: tuple[str, ...]
    address: bytes  # of the ENI, 4 bytes
    ipv6_address: bytes = b""  # 16 bytes; b"" of a load balancer without IPv6
    seed: int = 0
    emulation: Emulation = field(default_factory=Emulation)
