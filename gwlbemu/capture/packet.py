"""What a reader finds in a capture file."""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.capture.pcapng import Direction


class Interface(NamedTuple):
    """Where packets were taken: the tap's name and description, empty in formats that have none.

    `link_type` is a LINKTYPE_ number of the pcap formats (tcpdump.org, "Link-layer header types"): 1 is Ethernet.
    """

    name: str
    description: str
    link_type: int


class CapturedPacket(NamedTuple):
    """One packet as it stands in the file.

    `number` counts from 1; `at_ns` is nanoseconds since 1970 (0 where the file has none).
    """

    number: int
    at_ns: int
    interface: Interface
    data: bytes
    original_length: int
    direction: Direction = ""
    comments: tuple[str, ...] = ()


class Statistics(NamedTuple):
    """How many packets an interface has received since its capture began, and how many of them the capture lost."""

    received: int
    dropped: int


class Ending(NamedTuple):
    """Where and why reading stopped; `complete` when that is the end of a whole file."""

    offset: int
    reason: str
    complete: bool


class BrokenCapture(Exception):
    """Inside the readers: nothing more can be read from `offset` on. It never leaves the room; it becomes an Ending."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason
