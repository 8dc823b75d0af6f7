"""What the keeper of a network load balancer's node is told: one JSON file, made from the plan.

Its part `balancer` is also what the verb `configure` takes, whole: the keeper finds the difference.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.emulation import Emulation, Scalar
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener, Settings

PROXY_SOCKET, PROXY_CONFIGURATION = "proxy", "proxy.cfg"  # in the node's own folder, where it has a proxy


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything that a keeper knows at its start."""

    name: str
    load_balancer: str
    zone: str
    zones: tuple[str, ...]
    seed: int
    address: str
    ipv6_address: str
    balancer: Mapping[str, Any]  # see `balancer_to_json`
    emulation: Mapping[str, Scalar]
    control: str  # path of the control socket
    zone_news: str = ""  # path of the resolver's socket for news of zones (see `programs.zone_news`), or nothing
    logs: str = ""  # the folder of what the lab's processes print, if the keeper shall keep that small

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> NodeConfig:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(**data | {"zones": tuple(data["zones"])})

    def settings(self) -> Settings:
        """Return what the core is told once."""
        return Settings(
            load_balancer=self.load_balancer,
            zone=self.zone,
            zones=self.zones,
            address=socket.inet_aton(self.address),
            ipv6_address=socket.inet_pton(socket.AF_INET6, self.ipv6_address) if self.ipv6_address else b"",
            seed=self.seed,
            emulation=Emulation.from_values(self.emulation),
        )


def balancer_to_json(balancer: Balancer) -> dict[str, Any]:
    """Return a load balancer as plain values; a target's address is text."""
    told = asdict(balancer)
    for group in told["groups"]:
        for target in group["targets"]:
            target["address"] = socket.inet_ntop(
                socket.AF_INET6 if len(target["address"]) == 16 else socket.AF_INET, target["address"]
            )
    return told


def balancer_from_json(told: Mapping[str, Any]) -> Balancer:
    """Return the load balancer that `balancer_to_json` told.

    Raises KeyError, TypeError or ValueError for another form.
    """
    return Balancer(
        attributes=told["attributes"],
        listeners=tuple(_listener(each) for each in told["listeners"]),
        groups=tuple(_group(each) for each in told["groups"]),
    )


def _listener(told: Mapping[str, Any]) -> Listener:
    by_version = tuple((version, _forward(each)) for version, each in told["by_version"])
    return Listener(
        told["protocol"], told["port"], _forward(told["forward"]), told["attributes"], by_version, _tls(told.get("tls"))
    )


def _tls(told: Mapping[str, Any] | None) -> Tls | None:
    if told is None:
        return None
    return Tls(**dict(told) | {"certificates": tuple(told["certificates"]), "alpn": tuple(told["alpn"])})


def _forward(told: Mapping[str, Any]) -> Forward:
    return Forward(tuple((name, weight) for name, weight in told["groups"]), told["sticky"])


def _group(told: Mapping[str, Any]) -> Group:
    targets = tuple(Target(**each | {"address": _packed(each["address"])}) for each in told["targets"])
    return Group(**dict(told) | {"health_check": HealthCheck(**told["health_check"]), "targets": targets})


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
