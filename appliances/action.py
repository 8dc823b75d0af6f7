"""What an appliance may do with a packet: exactly one of these."""

from __future__ import annotations

from typing import NamedTuple


class Return(NamedTuple):
    """Send the packet back as it came."""


class Answer(NamedTuple):
    """Keep the packet; send this inner IP packet back inside the same flow instead (a RST, an ICMP error)."""

    packet: bytes


class Discard(NamedTuple):
    """Keep the packet: not returning it is how an appliance blocks. `reason` is the name of a counter."""

    reason: str


class Send(NamedTuple):
    """Send these whole frames, `delay` seconds from now."""

    frames: tuple[bytes, ...]
    delay: float = 0.0


Action = Return | Answer | Discard | Send
RETURN = Return()
