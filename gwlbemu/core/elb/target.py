"""A target as it is registered, and which addresses may be one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from gwlbemu.errors import AwsError

EVERY_ZONE = "all"  # the zone of an address outside the load balancer's VPC (RegisterTargets)
_PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")]


@dataclass(frozen=True, slots=True)
class Target:
    """A target as RegisterTargets names it: `id` is an instance's name or an address as text, `address` its 4 bytes,
    `zone` its Availability Zone or EVERY_ZONE, `port` where it takes connections (0 where a group's port says nothing,
    as GENEVE's does not).
    """

    id: str
    address: bytes
    zone: str
    port: int = 0

    @property
    def place(self) -> bytes:
        """What no other target of its group has: its address, with the port behind it where there is one."""
        return self.address + self.port.to_bytes(2, "big") if self.port else self.address


def check_ip_target(address: str, vpc_cidrs: Iterable[str]) -> None:
    """Refuse an address (text) that cannot be an `ip` target: it must be in the VPC or private.

    Source: guide, Target groups, "IP addresses". Raises AwsError with AWS's code InvalidTarget.
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
