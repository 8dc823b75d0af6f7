"""What a node of an Application Load Balancer is told: the load balancer as the ELBv2 API describes it, and its place.

Attributes are AWS's keys with AWS's text, every key of the resource. A target's `port` is where it takes connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.rules import Action, Rule
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.emulation import Emulation

HTTP1, HTTP2, GRPC = "HTTP1", "HTTP2", "GRPC"  # ProtocolVersion of a target group


@dataclass(frozen=True, slots=True)
class Group:
    """A target group: what is registered with it, and how it is probed."""

    name: str
    protocol: str  # HTTP | HTTPS
    protocol_version: str  # HTTP1 | HTTP2 | GRPC
    target_type: str  # instance | ip
    attributes: Mapping[str, str]
    health_check: HealthCheck
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener. `rules` are by ascending priority."""

    protocol: str  # HTTP | HTTPS
    port: int
    rules: tuple[Rule, ...]
    default_actions: tuple[Action, ...]
    attributes: Mapping[str, str]
    tls: Tls | None = None  # of an HTTPS listener

    @property
    def name(self) -> str:
        """How people are told of it: HTTP:80."""
        return f"{self.protocol}:{self.port}"


@dataclass(frozen=True, slots=True)
class Balancer:
    """A load balancer with everything that may change while it runs."""

    attributes: Mapping[str, str]
    listeners: tuple[Listener, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told once. `zones` are the load balancer's enabled ones. All nodes of a load balancer have the
    same `cookie_secret`: each honours the cookies of the others.
    """

    load_balancer: str
    zone: str
    zones: tuple[str, ...]
    address: bytes  # of the ENI, 4 bytes
    ipv6_address: bytes = b""  # 16 bytes; b"" of a load balancer without IPv6
    dns_name: str = ""  # what a request of HTTP/1.0 without Host is for
    cookie_secret: bytes = b""
    emulation: Emulation = field(default_factory=Emulation)
