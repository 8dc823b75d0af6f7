"""A packet on its way: what it has met so far, how it looks now, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from gwlbemu.paths.values import Cause, End, Hop, HopKind, Kind, Packet, Way
from gwlbemu.topology.plan.values import Path


@dataclass(slots=True)
class Trip:
    """What a packet has met so far, and how it looks now.

    `mark` is its packet mark in the namespace where it is: the number of the network load balancer's node that it comes
    from, or that its answer goes back to; 0 for none.
    """

    packet: Packet
    hops: list[Hop] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    targets: list[tuple[str, str]] = field(default_factory=list)
    balanced: list[tuple[str, str]] = field(default_factory=list)
    mark: int = 0
    seen: dict[tuple[object, ...], list[tuple[int, int, int, int]]] = field(default_factory=dict)

    def note(self, at: str, kind: HopKind, rule: str, detail: str = "", path: Path = ()) -> None:
        """Add a hop."""
        self.hops.append(Hop(at, kind, rule, self.packet, detail, path))

    def goes_in_circles(self, place: tuple[object, ...]) -> bool:
        """Note that the packet is at a place and tell whether it comes there for ever.

        A node may refuse in the second round what it let pass in the first: a RST has ended its flow. The third round
        is as the second. What was met since the second visit is forgotten then.
        """
        visits = self.seen.setdefault(place, [])
        visits.append((len(self.hops), len(self.endpoints), len(self.targets), len(self.balanced)))
        if len(visits) < 3:
            return False
        hops, endpoints, targets, balanced = visits[1]
        del self.hops[hops:], self.endpoints[endpoints:], self.targets[targets:], self.balanced[balanced:]
        return True

    def way(self, end: End) -> Way:
        """Return the way that ends so."""
        return Way(
            tuple(self.hops), end, self.packet, tuple(self.endpoints), tuple(self.targets),
            balanced=tuple(self.balanced),
        )  # fmt: skip


def dropped(at: str, cause: Cause | str, sentence: str, path: Path = ()) -> End:
    """Return the end of a packet that goes no further; without `path`, what decides at `at` is what stopped it."""
    return End(Kind.DROPPED, at, cause.value if isinstance(cause, Cause) else cause, sentence, path)
