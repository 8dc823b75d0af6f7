"""What everything that carries frames looks like from here: five methods and two counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Port(Protocol):
    """Whole Ethernet frames in and out, in batches, never blocking.

    A VPC carries no VLANs: a frame with an 802.1Q or 802.1ad tag is never received, only counted in `tagged`.
    """

    @property
    def mtu(self) -> int:
        """The longest packet (without the 14-byte Ethernet header) that `send` may be given."""

    @property
    def unsent(self) -> int:
        """Frames that `send` was given and the other side did not take, since the port was opened."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv` has something to return."""

    def recv(self) -> list[bytes]:
        """Return one batch of frames in the order of their arrival, [] when there is none."""

    def send(self, frames: Sequence[bytes]) -> int:
        """Send the frames in order; return how many were taken. The rest is lost and counted in `unsent`."""

    def drops(self) -> int:
        """Return how many frames arrived and were lost before `recv` could return them, since the port was opened."""

    def tagged(self) -> int:
        """Return how many frames with a VLAN tag have arrived since the port was opened; all were dropped."""

    def close(self) -> None:
        """Give the descriptor back; twice is harmless."""
