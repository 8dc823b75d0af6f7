"""What a node is told at its start; frozen. Everything that changes later is state and lives elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.wire.geneve import PORT

GENEVE_PORT = PORT  # of every gateway target group (guide, Target groups)
LONGEST_PACKET = 8500  # guide, Gateway Load Balancers, "Maximum transmission unit"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Gateway Load Balancer endpoint: the 64-bit number of GENEVE option 1, and its name."""

    id: int
    name: str


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
    """One node of one load balancer. `node_address` is the 4 bytes of its ENI's address; `zones` are the enabled ones,
    none given means this node's zone alone; `seed` decides every choice that AWS makes at random.
    """

    load_balancer: str
    zone: str
    node_address: bytes
    endpoints: tuple[Endpoint, ...]
    targets: tuple[Target, ...] = ()
    zones: tuple[str, ...] = ()
    target_group: str = ""
    attributes: GatewayAttributes = field(default_factory=GatewayAttributes)
    health_check: HealthCheck = field(default_factory=HealthCheck)
    emulation: Emulation = field(default_factory=Emulation)
    seed: int = 0
    links: Links = field(default_factory=Links)
    track_changes: bool = False  # collect what take_flow_changes returns
