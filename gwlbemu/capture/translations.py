"""`--flow` behind a translator: which flows are the wanted one under other addresses or ports.

That is learned from packets: one that is met again, the same but for addresses and ports, was translated in between,
and then all packets of that flow belong to the wanted one, in both directions. What no packet shows is not known: a
proxy (HAProxy of a network load balancer: TLS, proxy protocol) opens a connection of its own, with packets of its own.
"""

from __future__ import annotations

from collections import deque

from gwlbemu.capture.journey import LONGEST_NS, Look, PacketIdentity, Sighting

MOST_REMEMBERED = 20_000  # packets that may be met again
MOST_FLOWS = 100_000  # translated flows; of more, the others are not shown

_Flow = tuple[int, str, str, tuple[int, int]]  # protocol, source, destination, ports


class Translations:
    """The flows that the packets shown so far have become. Packets come in the order of time."""

    def __init__(self) -> None:
        self._flows: set[_Flow] = set()
        self._recent: dict[PacketIdentity, Sighting] = {}
        self._order: deque[PacketIdentity] = deque()

    def note(self, shown: Sighting) -> None:
        """Remember a packet of the wanted flow, so that it is known again."""
        if shown.identity not in self._recent:
            self._order.append(shown.identity)
            if len(self._order) > MOST_REMEMBERED:
                self._recent.pop(self._order.popleft(), None)
        self._recent[shown.identity] = shown

    def is_known(self, protocol: int, look: Look) -> bool:
        """Return whether a packet with such a head is of a flow that has been learned."""
        return (protocol, look.source, look.destination, look.ports) in self._flows

    def learns(self, other: Sighting) -> bool:
        """Return whether a packet that is of no known flow is one that was shown before; then its flow is known."""
        shown, look = self._recent.get(other.identity), other.look
        if shown is None or other.at_ns - shown.at_ns > LONGEST_NS or not shown.look.may_become(look):
            return False
        if len(self._flows) < MOST_FLOWS:
            protocol = other.identity.protocol
            self._flows.add((protocol, look.source, look.destination, look.ports))
            self._flows.add((protocol, look.destination, look.source, look.ports[::-1]))
        return True
