"""What is measured, what must be reached, and how a figure follows from the raw series.

A *series* is what one path gave in one experiment, one number per round: `results.series["packets"]["fast"]`. A
figure is computed round by round, so that a ratio compares two numbers that were taken seconds apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from gwlbemu.bench.results import Results

VERBS = "verbs"  # the path of what is measured without packets
SUBJECT = "subject"  # stands for the fast node, or the Python node where there is no fast one


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle, least and greatest of some rounds."""

    median: float
    least: float
    most: float


def spread(values: list[float]) -> Spread:
    """Return median, least and greatest of one number per round."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `other` is what `series` is compared with; without it the series itself is the figure.

    `needed` and `aimed` are limits of the median; `at_most` says on which side of them is good.
    """

    name: str
    title: str
    experiment: str
    series: tuple[str, str]  # (experiment, path)
    other: tuple[str, str] | None = None
    compare: str = "ratio"  # ratio | difference
    unit: str = "x"
    needed: float | None = None
    aimed: float | None = None
    at_most: bool = False

    def values(self, results: Results) -> list[float]:
        """Return the figure of every round; nothing when a side of it was not measured."""
        mine = _numbers(results, self.series)
        if self.other is None:
            return mine
        pairs = zip(mine, _numbers(results, self.other), strict=False)
        if self.compare == "difference":
            return [one - two for one, two in pairs]
        return [one / two for one, two in pairs if two]

    def spread(self, results: Results) -> Spread | None:
        """Return the figure over all rounds; None when it was not measured."""
        values = self.values(results)
        return spread(values) if values else None

    def verdict(self, results: Results) -> str:
        """In words: aim reached, reached, NOT REACHED, or not measured and why."""
        found = self.spread(results)
        if found is None:
            return _why_not(self, results)
        if self.aimed is not None and self._good(found.median, self.aimed):
            return "aim reached"
        if self.needed is None:
            return "-"
        return "reached" if self._good(found.median, self.needed) else "NOT REACHED"

    def _good(self, value: float, limit: float) -> bool:
        return value <= limit if self.at_most else value >= limit


def _numbers(results: Results, series: tuple[str, str]) -> list[float]:
    experiment, path = series
    return results.series.get(experiment, {}).get(results.subject if path == SUBJECT else path, [])


def _why_not(figure: Figure, results: Results) -> str:
    for series in (figure.series, figure.other):
        if series is not None and not _numbers(results, series):
            path = results.subject if series[1] == SUBJECT else series[1]
            reason = results.missing.get(f"{series[0]}/{path}") or results.missing.get(path)
            return f"not measured: {path}: {reason}" if reason else "not measured"
    return "not measured"


FIGURES = (
    Figure("tcp-super", "TCP, super-packets on, against plain routing", "tcp",
           ("tcp-super", SUBJECT), ("tcp-super", "plain"), needed=0.90, aimed=1.0),
    Figure("tcp-wire", "TCP, wire mode, against plain routing with super-packets", "tcp",
           ("tcp-wire", SUBJECT), ("tcp-super", "plain"), needed=0.40, aimed=0.5),
    Figure("tcp-super-1500", "the same with segments for 1500 bytes", "tcp",
           ("tcp-super-1500", SUBJECT), ("tcp-super-1500", "plain"), needed=0.90, aimed=1.0),
    Figure("tcp-wire-1500", "the same in wire mode", "tcp",
           ("tcp-wire-1500", SUBJECT), ("tcp-super-1500", "plain"), needed=0.40, aimed=0.5),
    Figure("packets", "64-byte packets/s, against plain routing", "packets",
           ("packets", SUBJECT), ("packets", "plain"), needed=0.70, aimed=0.9),
    Figure("packets-hops", "64-byte packets/s, against routing over the same hops", "packets",
           ("packets", SUBJECT), ("packets", "hops")),
    Figure("packets-long", "64-byte packets/s without shortcuts, against plain routing", "packets",
           ("packets", "fast-long"), ("packets", "plain")),
    Figure("packets-vxlan", "64-byte packets/s, against kernel VXLAN", "packets",
           ("packets", SUBJECT), ("packets", "vxlan"), needed=2.5),
    Figure("packets-ovs", "64-byte packets/s, against OVS user-space GENEVE", "packets",
           ("packets", SUBJECT), ("packets", "ovs"), needed=3.5),
    Figure("round-trip", "added round-trip time, against plain routing", "round-trip",
           ("round-trip", SUBJECT), ("round-trip", "plain"), "difference", "us", 15, 5, True),
    Figure("python", "Python node, 64-byte packets/s", "packets",
           ("packets", "python"), unit="packets/s", needed=150_000, aimed=280_000),
    Figure("python-scapy", "Python node, against one scapy packet at a time", "packets",
           ("packets", "python"), ("packets", "scapy"), needed=150),
    Figure("new-flows", "new flows/s, first packet to installed entry", "flows",
           ("new-flows", SUBJECT), unit="flows/s", needed=20_000, aimed=50_000),
    Figure("crowd", "packets/s with a crowd of established flows, against 1,000", "flows",
           ("crowd", "crowd"), ("crowd", "few"), needed=0.8, aimed=0.95),
    Figure("memory", "memory per flow, Python and map together", "flows",
           ("memory", SUBJECT), unit="bytes", needed=700, aimed=400, at_most=True),
    Figure("pause", "longest pause of a node's packets while verbs run, flow table full", "pauses",
           ("pause", VERBS), unit="ms", needed=50, aimed=25, at_most=True),
    Figure("memory-full", "memory of a full flow table, Python", "pauses",
           ("memory-full", VERBS), unit="MiB", needed=1400, aimed=800, at_most=True),
    Figure("lab-up", "lab up, two-zones", "up",
           ("lab-up", "two-zones"), unit="s", needed=2.5, aimed=1.5, at_most=True),
    Figure("lab-up-100", "lab of 100 instances, time per instance, against two-zones", "up",
           ("lab-up-instance", "hundred"), ("lab-up-instance", "two-zones"), needed=1.0, aimed=0.5, at_most=True),
    Figure("inspect", "inspect with checksums judged, packets per second of CPU, against tshark -r", "inspect",
           ("inspect", "plain"), ("inspect", "tshark"), needed=0.7, aimed=1.0),
    Figure("inspect-journeys", "inspect --journeys, the same", "inspect",
           ("inspect", "journeys"), ("inspect", "tshark"), needed=0.4, aimed=0.7),
    Figure("inspect-memory", "memory of inspect, packets or journeys", "inspect",
           ("inspect-memory", "journeys"), unit="MiB", needed=150, at_most=True),
    Figure("network-packets", "network load balancer, 64-byte packets/s, against routing over the same hops", "network",
           ("packets", "network-long"), ("packets", "network-hops"), needed=0.75, aimed=0.85),
    Figure("network-shortcuts", "the same with shortcuts", "network",
           ("packets", "network"), ("packets", "network-hops")),
    Figure("network-tcp", "network load balancer, TCP, against routing over the same hops", "network",
           ("tcp-network", "network-long"), ("tcp-network", "network-hops"), needed=0.75, aimed=0.95),
    Figure("network-connections", "network load balancer, new UDP connections/s", "network",
           ("new-connections", "network"), unit="flows/s"),
    Figure("network-held", "network load balancer, of many connections those that are held", "network",
           ("held", "network"), needed=0.999),
    Figure("network-crowd", "packets/s over these, against over 1,000", "network",
           ("crowd", "network-crowd"), ("crowd", "network-few")),
    Figure("network-flush", "all of them ended, as their target is deregistered", "network",
           ("flush", "network"), unit="s", at_most=True),
    Figure("network-memory", "memory of a connection in the kernel", "network",
           ("kernel-memory", "network"), unit="bytes", at_most=True),
    Figure("application", "application load balancer, requests/s, against a ten-line HAProxy in its place",
           "application", ("requests", "application"), ("requests", "application-plain"), needed=0.8, aimed=0.9),
    Figure("application-logged", "the same with its access log", "application",
           ("requests", "application-logged"), ("requests", "application-plain")),
    Figure("application-held", "application load balancer, of many idle connections those that are held",
           "application", ("held-idle", "application"), needed=0.999),
    Figure("application-change", "of 200 requests/s those that are lost while it is changed again and again",
           "application", ("lost-requests", "application"), unit="requests", needed=0, at_most=True),
    Figure("application-memory", "memory of its node, keeper and HAProxy", "application",
           ("node-memory", "application"), unit="MiB", at_most=True),
    Figure("application-connection", "memory of an idle connection to it", "application",
           ("connection-memory", "application"), unit="bytes", at_most=True),
)  # fmt: skip
EXPERIMENTS = tuple(dict.fromkeys(figure.experiment for figure in FIGURES))


def chosen(names: tuple[str, ...]) -> tuple[Figure, ...]:
    """Return the figures of these names (of a figure or of an experiment); all of them when none is named."""
    return tuple(figure for figure in FIGURES if not names or {figure.name, figure.experiment} & set(names))
