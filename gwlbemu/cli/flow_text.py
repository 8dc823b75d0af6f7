"""A flow's words, for every verb that shows flows."""

from __future__ import annotations

from gwlbemu.views.flows import LiveFlow
from gwlbemu.wire import protocols


def protocol_text(flow: LiveFlow) -> str:
    """Return its protocol's name or number; `any` where flows go by their addresses alone."""
    return protocols.name(flow.protocol) if flow.protocol else "any"


def source_text(flow: LiveFlow) -> str:
    """Return where its first packet came from: address:port, or the address where its key has no port."""
    return _end(flow.source, flow.source_port)


def destination_text(flow: LiveFlow) -> str:
    """Return where its first packet went to: address:port, or the address where its key has no port."""
    return _end(flow.destination, flow.destination_port)


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
