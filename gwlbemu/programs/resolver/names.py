"""Every name of a lab, and what a client gets for it: by where the client is, and by which zones are in DNS.

A load balancer has its regional name, and with `ZONE.` before it the name of one zone. That one has the zone's address
whatever its health, a choice of ours: AWS documents no withdrawal for a name that has one address only.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gwlbemu.core.network.client_routing import answered_zones, is_in_dns
from gwlbemu.programs.resolver.config import BalancerName, Host
from gwlbemu.programs.zone_news import News
from gwlbemu.wire.dns import AAAA, ANY, NOERROR, NXDOMAIN, REFUSED, A

TTL = 60  # seconds. NLB guide: of a load balancer's name; of an instance's a choice of ours
_FAMILY = {A: 4, AAAA: 16}  # QTYPE -> bytes of an address


@dataclass(slots=True)
class _Balancer:
    policy: str
    zones: Mapping[str, list[bytes]]
    in_dns: dict[str, bool]  # by zone; a zone of which nothing has been heard is


class Names:
    """The names of a lab: what is asked for one is its answer now.

    `domains` are those in which an unknown name does not exist; outside them nothing is answered. `draws` is where
    chance comes from: which clients a policy keeps in their zone, and the order of several addresses.
    """

    def __init__(
        self, domains: Iterable[str], hosts: Iterable[Host], balancers: Iterable[BalancerName], draws: random.Random
    ) -> None:
        self._domains, self._draws = tuple(domains), draws
        self._hosts: dict[str, dict[str, list[bytes]]] = {}
        for host in hosts:
            by_vpc = self._hosts.setdefault(host.name.lower(), {})
            by_vpc.setdefault(host.vpc, []).extend(map(_packed, host.addresses))
        self._balancers: dict[str, _Balancer] = {}
        self._regional: dict[str, str] = {}  # name -> load balancer
        self._zonal: dict[str, tuple[str, str]] = {}  # name -> load balancer, zone
        for each in balancers:
            zones = {zone: [_packed(address) for address in addresses] for zone, addresses in each.zones.items()}
            self._balancers[each.load_balancer] = _Balancer(
                each.client_routing_policy, zones, dict.fromkeys(zones, True)
            )
            self._regional[each.name.lower()] = each.load_balancer
            self._zonal |= {f"{zone}.{each.name}".lower(): (each.load_balancer, zone) for zone in zones}

    def hear(self, news: News) -> bool:
        """Note what a load balancer's node says of its zone; False for a node that nobody knows."""
        balancer = self._balancers.get(news.load_balancer)
        if balancer is None or news.zone not in balancer.zones:
            return False
        balancer.policy = news.client_routing_policy
        balancer.in_dns[news.zone] = is_in_dns(news.groups.values())
        return True

    def withdrawn(self) -> dict[str, list[str]]:
        """Return the zones that are not in DNS, by load balancer, where there are some."""
        found = {name: [z for z, well in each.in_dns.items() if not well] for name, each in self._balancers.items()}
        return {name: zones for name, zones in found.items() if zones}

    def answer(self, name: str, kind: int, vpc: str, zone: str) -> tuple[int, list[bytes]]:
        """Return code and packed addresses for a question (lower case, QTYPE) of a client in a VPC and its zone.

        `vpc` and `zone` are "" for a client on the internet. The name of an instance is answered in its own VPC, one on
        the internet everywhere. A name that has no address of the kind asked for is there all the same: no error.
        """
        found = self._addresses(name, vpc, zone)
        if found is None:
            inside = any(name == domain or name.endswith(f".{domain}") for domain in self._domains)
            return (NXDOMAIN if inside and not self._is_above_a_name(name) else NOERROR if inside else REFUSED), []
        wanted = [address for address in found if kind == ANY or len(address) == _FAMILY.get(kind)]
        self._draws.shuffle(wanted)
        return NOERROR, wanted

    def _addresses(self, name: str, vpc: str, zone: str) -> list[bytes] | None:
        if name in self._regional:
            balancer = self._balancers[self._regional[name]]
            zones = answered_zones(balancer.policy, balancer.in_dns, zone, self._draws.random())
            return [address for each in zones for address in balancer.zones[each]]
        if name in self._zonal:
            load_balancer, its_zone = self._zonal[name]
            return list(self._balancers[load_balancer].zones[its_zone])
        by_vpc = self._hosts.get(name, {})
        found = by_vpc.get(vpc, by_vpc.get(""))
        return None if found is None else list(found)

    def _is_above_a_name(self, name: str) -> bool:
        """Whether names stand below one that has no address itself: it exists (RFC 8020)."""
        return name in self._domains or any(each.endswith(f".{name}") for each in self._hosts)


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
