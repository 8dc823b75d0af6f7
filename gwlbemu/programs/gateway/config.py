"""What a node process is told: one JSON file, made from the plan, read with nothing but the standard library.

The node process starts often and must start fast: this module, which it imports, imports neither pydantic nor netaddr.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation, Scalar
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.wire.aws import parse_endpoint


@dataclass(frozen=True, slots=True)
class EndpointInterface:
    """The node's side of an endpoint; a returned packet goes to `router_mac`."""

    name: str
    endpoint_id: str
    device: str
    mac: str
    router_mac: str


@dataclass(frozen=True, slots=True)
class Eni:
    """The node's ENI; a target that is no neighbour is reached through `gateway_mac`."""

    device: str
    address: str
    mac: str
    gateway_mac: str
    neighbours: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a node process knows at its start."""

    name: str
    load_balancer: str
    zone: str
    zones: tuple[str, ...]
    target_group: str
    seed: int
    eni: Eni
    endpoints: tuple[EndpointInterface, ...]
    targets: tuple[tuple[str, str, str], ...]  # id, address, zone
    attributes: Mapping[str, Mapping[str, str]]  # resource -> AWS key -> value
    health_check: Mapping[str, str | int | float]
    emulation: Mapping[str, Scalar]
    datapath: str  # auto | python | ebpf
    offload: bool  # super-packets and unfinished checksums may come
    control: str  # path of the control socket
    discards: str  # path of the capture's socket for dropped packets, "" without a capture
    logs: str = ""  # the folder of what the lab's processes print, if the node shall keep that small

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> NodeConfig:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(
            **data
            | {
                "zones": tuple(data["zones"]),
                "eni": Eni(**data["eni"]),
                "endpoints": tuple(EndpointInterface(**each) for each in data["endpoints"]),
                "targets": tuple((each[0], each[1], each[2]) for each in data["targets"]),
            }
        )

    def settings(self) -> Settings:
        """Return what the core is told. Raises SettingError for an attribute that AWS would refuse."""
        return Settings(
            load_balancer=self.load_balancer,
            zone=self.zone,
            node_address=socket.inet_aton(self.eni.address),
            endpoints=tuple(Endpoint(parse_endpoint(each.endpoint_id), each.name) for each in self.endpoints),
            targets=tuple(Target(name, socket.inet_aton(address), zone) for name, address, zone in self.targets),
            zones=self.zones,
            target_group=self.target_group,
            attributes=GatewayAttributes.from_text(
                *(self.attributes[key] for key in (LOAD_BALANCER, LISTENER, TARGET_GROUP))
            ),
            health_check=HealthCheck(**self.health_check),  # type: ignore[arg-type]
            emulation=Emulation.from_values(self.emulation),
            seed=self.seed,
        )
