"""A flow's words, for every verb that shows flows; `flow` is one of a node's answer to `flows`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PROTOCOLS = {0: "any", 1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmpv6"}


def protocol_text(flow: Mapping[str, Any]) -> str:
    """Its protocol; `any` where flows go by their addresses alone."""
    number = flow["protocol"]
    return _PROTOCOLS.get(number, str(number))


def end_text(flow: Mapping[str, Any], side: str) -> str:
    """Its `source` or `destination`: address:port, or the address where its key has no port."""
    address, port = flow[side], flow[f"{side}_port"]
    if not port:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
