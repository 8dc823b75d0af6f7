"""Address and port sets of rules: text from a rule file -> values that match packet bytes.

May not know: which rule language the text came from. Errors are plain ValueErrors that say what was expected; the rule
parser that called adds file, line or rule number, and key.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple


class Network(NamedTuple):
    """An IPv4 or IPv6 prefix: `size` is the address length in bytes (4 or 16), `value` the prefix under `mask`."""

    size: int
    value: int
    mask: int

    def holds(self, address: bytes) -> bool:
        """Tell whether the address (4 or 16 bytes) lies in this prefix; another family never does."""
        return len(address) == self.size and int.from_bytes(address, "big") & self.mask == self.value


class PortRange(NamedTuple):
    """Ports `first` to `last`, both included."""

    first: int
    last: int


def address_text(address: bytes) -> str:
    """Write an address (4 or 16 bytes) as people do."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def parse_network(text: str) -> Network:
    """Read `10.0.0.0/16`, `2001:db8::/32` or a single address; bits behind the prefix length are an error."""
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"expected an address or a CIDR block, got {text!r} ({error})") from None
    return Network(network.max_prefixlen // 8, int(network.network_address), int(network.netmask))


def parse_ports(text: str, separator: str) -> PortRange:
    """Read `80` or `8000<separator>8010`; an open end (`1024<separator>`) reaches to 0 or 65535."""
    first, found, last = text.strip().partition(separator)
    low = _port(first, text) if first or not found else 0
    high = low if not found else _port(last, text) if last else 65535
    if low > high or text.strip() == separator:
        raise ValueError(f"expected a port or a range low{separator}high, got {text!r}")
    return PortRange(low, high)


def _port(text: str, whole: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or int(text) > 65535:
        raise ValueError(f"expected a port number from 0 to 65535, got {whole!r}")
    return int(text)
