"""What a node is told at its start; frozen. Everything that changes later is state and lives elsewhere."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gwlbemu.core.elb.attributes import Attributes
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.emulation import Emulation
from gwlbemu.errors import AwsError
from gwlbemu.wire.geneve import PORT as GENEVE_PORT

__all__ = [
    "GENEVE_PORT",
    "Attributes",
    "Emulation",
    "Endpoint",
    "HealthCheck",
    "Links",
    "Settings",
    "Target",
    "check_ip_target",
    "check_target_group",
]

EVERY_ZONE = "all"  # the zone of an address outside the load balancer's VPC (RegisterTargets)
TARGETS_PER_ZONE = 300  # guide, Quotas: targets per Availability Zone per GENEVE target group
LONGEST_PACKET = 8500  # guide, Gateway Load Balancers, "Maximum transmission unit"
_PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Gateway Load Balancer endpoint: the 64-bit number of GENEVE option 1, and its name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """A member of the target group; `address` is 4 bytes, `zone` may be "all"."""

    id: str
    address: bytes
    zone: str


@dataclass(frozen=True, slots=True)
class Links:
    """Link headers, `length` bytes each, that frames have in front; the core passes them on and knows no more of them.

    `targets` has those of datagrams to an address, `endpoints` those of IPv4 and of IPv6 packets that leave at an
    endpoint (its id). Unless they are given, frames are packets.
    """

    endpoints: Mapping[int, tuple[bytes, bytes]] = field(default_factory=lambda: defaultdict(lambda: (b"", b"")))
    targets: Mapping[bytes, bytes] = field(default_factory=lambda: defaultdict(bytes))
    length: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """One node of one load balancer. `zones` are the enabled ones; nothing given means this node's zone alone."""

    load_balancer: str
    zone: str
    node_address: bytes
    endpoints: tuple[Endpoint, ...]
    targets: tuple[Target, ...] = ()
    zones: tuple[str, ...] = ()
    target_group: str = ""
    attributes: Attributes = field(default_factory=Attributes)
    health_check: HealthCheck = field(default_factory=HealthCheck)
    emulation: Emulation = field(default_factory=Emulation)
    seed: int = 0
    links: Links = field(default_factory=Links)
    track_changes: bool = False  # collect what take_flow_changes returns


def check_target_group(protocol: str, port: int, target_type: str) -> None:
    """Refuse a group that a Gateway Load Balancer cannot have (guide, Target groups).

    Raises SettingError naming the attribute.
    """
    if protocol != "GENEVE":
        raise AwsError(f"protocol '{protocol}' is not valid for a gateway target group, expected GENEVE")
    if port != GENEVE_PORT:
        raise AwsError(f"port {port} is not valid for a GENEVE target group, expected {GENEVE_PORT}")
    if target_type not in ("instance", "ip"):
        raise AwsError(f"target_type '{target_type}' is not valid for a GENEVE target group, expected instance or ip")


def check_ip_target(address: str, vpc_cidrs: Iterable[str]) -> None:
    """Refuse an address that cannot be an `ip` target.

    It must be in the VPC or private (guide, Target groups, "IP addresses").
    """
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        raise AwsError(f"target '{address}' is not an IPv4 address", "InvalidTarget") from None
    if not any(parsed in network for network in [*_PRIVATE, *map(ipaddress.ip_network, vpc_cidrs)]):
        raise AwsError(
            f"target address {address} is not valid, expected one of the VPC, of 10.0.0.0/8, 100.64.0.0/10, "
            "172.16.0.0/12 or 192.168.0.0/16",
            "InvalidTarget",
        )
