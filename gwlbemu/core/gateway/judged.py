"""What becomes of a batch of frames, ready to be sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Drop, Reason, Reset, ToTarget, Verdict


class Judged:
    """The frames to send to targets, those to send at each endpoint (its id), and the received ones that were dropped.

    Every received frame has led to exactly one of them, one that was reset perhaps to a probe as well.
    """

    __slots__ = ("_links", "_probes", "dropped", "to_endpoints", "to_targets")

    def __init__(self, links: Links) -> None:
        self._links = links
        self._probes = 0
        self.to_targets: list[bytes] = []
        self.to_endpoints: defaultdict[int, list[bytes]] = defaultdict(list)
        self.dropped: list[tuple[bytes, Reason]] = []

    def __len__(self) -> int:
        """Return how many verdicts there are."""
        return len(self.to_targets) + sum(map(len, self.to_endpoints.values())) + len(self.dropped) - self._probes

    def add(self, frame: bytes, verdict: Verdict) -> None:
        """Take the verdict on a frame."""
        if isinstance(verdict, Drop):
            self.dropped.append((frame, verdict.reason))
        elif isinstance(verdict, ToTarget):
            self.to_targets.append(self._links.targets[verdict.datagram[16:20]] + verdict.datagram)
        else:
            ipv4, ipv6 = self._links.endpoints[verdict.endpoint]
            link = ipv4 if verdict.packet[0] < 0x60 else ipv6
            self.to_endpoints[verdict.endpoint].append(link + verdict.packet)
            if isinstance(verdict, Reset) and verdict.probe:
                self.to_endpoints[verdict.endpoint].append(link + verdict.probe)
                self._probes += 1


def one_by_one(links: Links, frames: Iterable[bytes], judge: Callable[[bytes], Verdict]) -> Judged:
    """Judge what is in each frame behind the link header, in order."""
    judged = Judged(links)
    for frame in frames:
        judged.add(frame, judge(frame[links.length :]))
    return judged
