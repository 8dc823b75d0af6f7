"""What a review has found, before anything is known about a mend; and places in a topology."""

from __future__ import annotations

from dataclasses import dataclass, field

from gwlbemu.paths.values import Exchange, Way
from gwlbemu.review.edit import Edit
from gwlbemu.review.finding import Severity, listed
from gwlbemu.review.talk import Pair
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import RouteTable, Topology

Choices = tuple[str, ...]  # how open choices were decided, as `Way.choices` tells
Key = tuple[str, frozenset[Path]]  # by which a fault is known again: its kind and its cause
ROUTING = ("route", "edge", "transit")  # the kinds of hops at which a route table decides


@dataclass(slots=True)
class Fault:
    """One thing that is wrong: `lines` are those that may have done it, the likeliest first.

    `cause` is the line or the two lines by which it is known again, in another pair and in another version of the
    design. `pairs` are all that it happens to, each with the open choices by which it does; `wanted` has the
    destinations that each table met on their ways. `edits` are what may mend it, beside what follows from `lines`.
    """

    kind: str
    severity: Severity
    why: str
    lines: tuple[Path, ...]
    cause: frozenset[Path] = frozenset()
    pairs: dict[Pair, set[Choices]] = field(default_factory=dict)
    wanted: dict[Path, set[str]] = field(default_factory=dict)
    whys: dict[Pair, str] = field(default_factory=dict)  # the sentence about each pair
    subject: str = ""  # instead of the pairs, at the beginning of what is said
    edits: tuple[Edit, ...] = ()
    to_be_inspected: bool = False  # a mend is one only if all pairs are inspected by it

    @property
    def key(self) -> Key:
        """By what it is known again."""
        return self.kind, self.cause or frozenset(self.lines[:1])

    @property
    def text(self) -> str:
        """What is wrong, in a sentence."""
        subject = self.subject or self._subject()
        return f"{subject}: {self.why}" if subject else self.why

    def note_tables(self, found: Exchange) -> None:
        """Note in `wanted` each table that decided in an exchange, with the destination that it decided about."""
        for way in found.ways:
            for hop in way.hops:
                if hop.kind in ROUTING and hop.path:
                    self.wanted.setdefault(table_path(hop.path), set()).add(hop.packet.destination)
            if way.end.path:
                self.wanted.setdefault(table_path(way.end.path), set()).add(way.packet.destination)

    def _subject(self) -> str:
        """The pairs of which the sentence is true word by word, and how many others fail by the same lines."""
        exactly = [str(pair) for pair in self.pairs if self.whys.get(pair, self.why) == self.why]
        alike = len(self.pairs) - len(exactly)
        return listed(exactly) + (f" (and {alike} alike)" if alike else "")


def is_line(path: Path) -> bool:
    """Tell whether a path is that of one line of a route table."""
    return len(path) >= 2 and path[-2] == "routes"


def at(topology: Topology, path: Path) -> object:
    """Return what stands at a path."""
    found: object = topology
    for part in path:
        found = found[part] if isinstance(part, int) and isinstance(found, tuple) else getattr(found, str(part))
    return found


def table_at(topology: Topology, path: Path) -> RouteTable | None:
    """Return the route table that a path is, or is in; None for a path that is outside of one."""
    for end in range(len(path), 0, -1):
        found = at(topology, path[:end])
        if isinstance(found, RouteTable):
            return found
    return None


def table_path(path: Path) -> Path:
    """Return the path of the table that a line stands in; that of a table itself as it is."""
    return path[:-2] if is_line(path) else path


def lines_of(way: Way) -> list[Path]:
    """Return the lines and tables that decided about a way, in its order."""
    return [hop.path for hop in way.hops if hop.kind in ROUTING and hop.path]
