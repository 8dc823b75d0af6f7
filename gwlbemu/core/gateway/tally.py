"""What went to a target and came back, of one endpoint and one protocol: where a path is broken for some packets only.

A target's own counts are the sums over its tallies, so that nothing is counted twice. The hot paths write these.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.core.gateway.tunnel import OuterHeaders


class Tally:
    """Inner packets and their bytes, to the target and from it; changed by whoever sends them.

    The target's `outer_headers` and `return_addresses` stand here as well, so that the hot paths look in one place.

    `note` is called now and then. `unanswered` are packets to the target since the last of those calls that found
    something new from it: none of them has been answered, and there may be more that have not.
    """

    __slots__ = (
        "_from_when_noted", "_to_when_noted", "bytes_from", "bytes_to", "outer_headers", "packets_from", "packets_to",
        "return_addresses",
    )  # fmt: skip

    def __init__(self, outer_headers: OuterHeaders, return_addresses: bytes) -> None:
        self.outer_headers, self.return_addresses = outer_headers, return_addresses
        self.packets_to = self.bytes_to = self.packets_from = self.bytes_from = 0
        self._to_when_noted = self._from_when_noted = 0

    def note(self) -> None:
        """Begin to count unanswered packets anew, if something has come from the target."""
        if self.packets_from != self._from_when_noted:
            self._to_when_noted, self._from_when_noted = self.packets_to, self.packets_from

    @property
    def unanswered(self) -> int:
        """Packets to the target of which it is certain that nothing has come from it since."""
        return self.packets_to - self._to_when_noted if self.packets_from == self._from_when_noted else 0


class Traffic(NamedTuple):
    """The tally of one target, endpoint and protocol (IANA's number; 0 where flows go by their addresses alone)."""

    target: str
    endpoint: int
    protocol: int
    packets_to: int
    packets_from: int
    unanswered: int
