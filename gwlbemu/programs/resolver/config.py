"""What the resolver of a lab is told: where it answers, and every name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients ask: a subnet of a VPC, or the internet. Whoever is in none of them gets no answer."""

    namespace: str  # path
    device: str  # by which its clients come
    addresses: tuple[str, ...]
    vpc: str  # "" for the internet
    zone: str  # "" for the internet


@dataclass(frozen=True, slots=True)
class Host:
    """The name of an instance, without a final dot, as clients of `vpc` see it ("": those of every VPC not told)."""

    name: str
    vpc: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BalancerName:
    """The name of a load balancer, without a final dot, its client routing policy at first, its addresses by zone."""

    name: str
    load_balancer: str
    client_routing_policy: str
    zones: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """Everything that the resolver knows at its start."""

    places: tuple[Place, ...]
    domains: tuple[str, ...]  # in which it says of an unknown name that there is none
    hosts: tuple[Host, ...]
    balancers: tuple[BalancerName, ...]
    seed: int  # of what it draws
    control: str  # path of the control socket
    news: str  # path of the socket by which nodes tell of their zone (see `programs.zone_news`)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> ResolverConfig:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(
            **data
            | {
                "places": tuple(Place(**each | {"addresses": tuple(each["addresses"])}) for each in data["places"]),
                "domains": tuple(data["domains"]),
                "hosts": tuple(Host(**each | {"addresses": tuple(each["addresses"])}) for each in data["hosts"]),
                "balancers": tuple(BalancerName(**each) for each in data["balancers"]),
            }
        )
