"""What the path model says about a packet and its answer, as text: hop by hop, and the lines that decided."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gwlbemu.paths.choices import MOST
from gwlbemu.paths.values import Cause, Exchange, Hop, Kind, Onward, Packet, Way
from gwlbemu.topology.file import document
from gwlbemu.topology.file.document import Path
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import RST

WIDTH = 80


@dataclass(frozen=True, slots=True)
class Places:
    """The file that the rules of hops stand in; nothing for a lab that came up from none."""

    source: str = ""
    lines: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, source: str) -> Places:
        """Return the places of a topology file's text."""
        return cls(source, document.read(text, source).lines)

    def at(self, path: Path) -> str:
        """Return file and line of a path for people; "" for none."""
        return f"{self.source}:{document.line_of(self.lines, path)}" if path and self.source else ""

    def told(self, value: object) -> object:
        """Return JSON in which everything with a path says file and line, too, and the path as doctor writes it."""
        if isinstance(value, dict):
            found = {key: self.told(each) for key, each in value.items()}
            path = value.get("path")
            if path and self.source:
                found["file"], found["line"] = self.source, document.line_of(self.lines, path)
            return found | {"path": document.dotted(path) if path else ""} if "path" in value else found
        return [self.told(each) for each in value] if isinstance(value, (list, tuple)) else value


def explanation(found: Exchange, places: Places) -> Iterator[str]:
    """Yield the two directions hop by hop, and what that comes to, as lines of at most WIDTH characters."""
    yield from _both(found)
    if onwards := _onwards(found):
        yield ""
        yield from _onward(onwards)
    yield ""
    yield from wrapped(conclusion(found), "", "")
    if found.parting is not None:
        yield from wrapped(f"The two directions part: {found.parting.sentence}.", "", "")
        for word, hop in found.parting.sides:
            yield from wrapped(f"{hop.at}: {hop.rule}", f"  {word:<6} ", " " * 9)
            if where := places.at(hop.path):
                yield f"         {where}"


def _both(found: Exchange) -> Iterator[str]:
    """Yield the two directions of one connection."""
    yield f"there  {_first(found.there)}"
    yield from _direction(found.there)
    if found.back is not None:
        yield ""
        yield f"back   {_first(found.back)}"
        yield from _direction(found.back)


def _onwards(found: Exchange) -> list[Onward]:
    """Return what load balancers' nodes may do for a connection, one that goes wrong first."""
    onwards = dict.fromkeys(one.onward for one in found.possible if one.onward is not None)
    return sorted(onwards, key=lambda each: each.served)


def _onward(onwards: Sequence[Onward]) -> Iterator[str]:
    """Yield the first of what nodes may do for a connection that they have ended; and how often others end alike."""
    first = onwards[0]
    yield from wrapped(f"{first.node} ends the connection: {first.rule}{_in_brackets(first.detail)}", "", "  ")
    for each in first.sees:
        yield from wrapped(f"{first.target} sees {each}", "  ", "    ")
    if first.exchange is not None:
        yield ""
        yield from _both(first.exchange)
        if first.exchange.onward is not None:
            yield ""
            yield from _onward([first.exchange.onward])
    yield from wrapped(f"= {first.sentence}", "  ", "    ")
    alike = sum(each.served is first.served for each in onwards)
    if len(onwards) > 1:
        yield from wrapped(f"left open, {alike} of {len(onwards)} ways end like this one", "  ", "    ")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _first(way: Way) -> Packet:
    """Return the packet as it was sent."""
    way = next((one for one in way.alternatives if one.hops), way)
    return way.hops[0].packet if way.hops else way.packet


def _direction(way: Way) -> Iterator[str]:
    yield from _hops(way.hops)
    if way.end.kind is Kind.AMBIGUOUS:
        yield from wrapped(f"= {way.end.sentence}", "  ", "    ")
        for number, one in enumerate(way.alternatives, 1):
            yield from wrapped(f"{number}. {'; '.join(one.choices) or 'as chosen there'}", "  ", "     ")
            yield from _hops(one.hops[len(way.hops) :], indent="    ")
            yield from wrapped(_end_text(one), "    ", "      ")
        return
    yield from wrapped(_end_text(way), "  ", "    ")
    if way.choices and way.alternatives:
        count = len(way.alternatives)
        yield from wrapped(
            f"left open, {count} ways that end alike; this is the one with {'; '.join(way.choices)}", "  ", "    "
        )


def _count(ways: Sequence[object]) -> str:
    return f"{MOST} or more" if len(ways) >= MOST else str(len(ways))


def _end_text(way: Way) -> str:
    reason = f" [{way.end.reason}]" if way.end.reason else ""
    return f"= {way.end.kind.value}: {way.end.sentence}{reason}"


def _hops(hops: tuple[Hop, ...], indent: str = "  ") -> Iterator[str]:
    width = min(max((len(hop.at) for hop in hops), default=0), 24)
    for hop in hops:
        text = hop.rule + (f" ({hop.detail})" if hop.detail else "")
        yield from wrapped(text, f"{indent}{hop.at:<{width}}  ", " " * (len(indent) + width + 2))


def conclusion(found: Exchange) -> str:
    """Return how an exchange ends, in a sentence."""
    if found.answered:
        met = {(True, True): "inspected both ways", (False, False): "not inspected"}.get(
            found.inspected, "inspected in one direction only"
        )
        if found.inspected == (True, True):
            met += ", by the same targets" if found.same_targets else ", by different targets"
        refused = found.back is not None and found.back.packet.tcp_flags & RST and found.back.packet.protocol == TCP
        said = "answered with a RST, since nothing listens there" if refused else "answered"
        return f"Delivered{_served_by(found)} and {said}; {met}.{_asked(found)}"
    if {one.there.end.reason for one in found.possible} == {Cause.CHANGED_TABLES.value}:
        return f"Not known: {found.possible[0].there.end.sentence}."
    if found.there.end.kind is Kind.AMBIGUOUS or (found.back is not None and found.back.end.kind is Kind.AMBIGUOUS):
        answered, first = sum(each.answered for each in found.possible), found.possible[0]
        own = {_kept_by(each) for each in found.possible} - {""}
        if own and all(each.answered for each in found.possible if not _kept_by(each)):
            returns = "returns" if len(own) == 1 else "return"
            names = " and ".join(sorted(own))
            return f"Delivered and answered, if {names} {returns} it: what a program of your own does is not known."
        if answered:
            return f"Delivered and answered in {answered} of {_count(found.possible)} ways that are possible."
        lost = first.back or first.there
        what = "Not delivered" if not any(each.there.delivered for each in found.possible) else "Not answered"
        many = f"in any of {_count(found.possible)} ways that are possible"
        return f"{what} {many}; in the first of them, {lost.end.sentence}."
    if found.back is None:
        return f"Not delivered: {found.there.end.sentence}."
    return f"Delivered, and its answer is lost: {found.back.end.sentence}."


def _served_by(found: Exchange) -> str:
    """Name the targets of network load balancers, or the nodes, that may get the packet."""
    targets = dict.fromkeys(one.there.end.at for one in found.possible if one.there.balanced or one.there.is_terminated)
    return f" to {' or '.join(targets)}" if targets else ""


def _asked(found: Exchange) -> str:
    """Say what comes of what is asked on a connection that a load balancer's node ends."""
    onwards = _onwards(found)
    if not onwards:
        return ""
    first, served = onwards[0], [each for each in onwards if each.served]
    if not served:
        return f" But {first.sentence}."
    if len(served) < len(onwards):
        return f" In {len(served)} of {_count(onwards)} ways it is served; in others, {first.sentence}."
    targets = dict.fromkeys(each.target for each in served if each.target)
    by = f"It is served by {' or '.join(targets)}" if targets else ""
    own = dict.fromkeys(each.sentence for each in served if not each.target)
    return " " + "; or ".join([*([by] if by else []), *own][:3]) + "."


def _kept_by(found: Exchange) -> str:
    """Return the instance whose own program may have kept the packet or its answer; "" for none."""
    return next((way.end.at for way in found.ways if way.end.reason == Cause.OWN_PROGRAM.value), "")


def wrapped(text: str, first: str, others: str) -> list[str]:
    """Return text as lines of at most WIDTH characters; `first` and `others` stand in front of them."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
