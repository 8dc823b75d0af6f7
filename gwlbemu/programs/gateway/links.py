"""The Ethernet headers of what a node sends."""

from __future__ import annotations

import socket

from gwlbemu.core.gateway.settings import Links
from gwlbemu.programs.gateway.config import NodeConfig
from gwlbemu.wire.aws import parse_endpoint

ETHERNET = 14
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"


class NextHops(dict[bytes, bytes]):
    """Target address -> Ethernet header of a frame to it: its own MAC if it is a neighbour, else the gateway's."""

    def __init__(self, mac: bytes, gateway_mac: bytes, neighbours: dict[bytes, bytes]) -> None:
        super().__init__({address: each + mac + IPV4 for address, each in neighbours.items()})
        self._gateway = gateway_mac + mac + IPV4

    def __missing__(self, address: bytes) -> bytes:
        self[address] = self._gateway
        return self._gateway


def links(config: NodeConfig) -> Links:
    """Return the link headers that the node's core works with."""
    eni = config.eni
    neighbours = {socket.inet_aton(address): _mac(mac) for address, mac in eni.neighbours.items()}
    heads = {parse_endpoint(each.endpoint_id): _mac(each.router_mac + each.mac) for each in config.endpoints}
    return Links(
        {endpoint: (head + IPV4, head + IPV6) for endpoint, head in heads.items()},
        NextHops(_mac(eni.mac), _mac(eni.gateway_mac), neighbours),
        ETHERNET,
    )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
