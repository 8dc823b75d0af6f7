"""Several ways put together, and the two directions of an exchange held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from gwlbemu.paths.values import Cause, End, Exchange, Hop, Kind, Parting, Way

T = TypeVar("T")
_ROUTING = ("route", "edge", "transit", "internet", "translate", "forward")


def joined_ways(found: Sequence[Way]) -> Way:
    """Return one way for all that open choices allow: the first of them when they end alike, else an ambiguous one."""
    ways = list(dict.fromkeys(found))
    first = ways[0]
    if len(ways) == 1:
        return first
    if len({(each.end.kind, each.end.at, each.end.reason) for each in ways}) == 1:
        return replace(first, alternatives=tuple(ways))
    shared = 0
    while all(shared < len(each.hops) and each.hops[shared] == first.hops[shared] for each in ways):
        shared += 1
    hops = first.hops[:shared]
    at = hops[-1].at if hops else first.hops[0].at if first.hops else first.end.at
    kinds = sorted({each.end.kind.value for each in ways})
    sentence = f"{len(ways)} ways are possible behind {at}: {' or '.join(kinds)}"
    end = End(Kind.AMBIGUOUS, at, Cause.OPEN.value, sentence)
    packet = hops[-1].packet if hops else first.packet
    return Way(
        hops, end, packet, _shared([w.endpoints for w in ways]), _shared([w.targets for w in ways]), (), tuple(ways)
    )


def joined_exchanges(found: Sequence[Exchange]) -> Exchange:
    """Return one exchange for all that open choices allow, in the same manner."""
    exchanges = list(dict.fromkeys(found))
    first = exchanges[0]
    if len(exchanges) == 1:
        return first
    there = joined_ways([each.there for each in exchanges])
    backs = [each.back for each in exchanges if each.back is not None]
    back = joined_ways(backs) if backs and there.delivered else None
    return Exchange(
        there,
        back,
        (all(each.inspected[0] for each in exchanges), all(each.inspected[1] for each in exchanges)),
        all(each.same_targets for each in exchanges),
        next((each.parting for each in exchanges if each.parting is not None), None),
        tuple(exchanges),
    )


def parting(there: Way, back: Way) -> Parting | None:
    """Return where two directions part that did not cross the same endpoints and meet the same targets; else None."""
    expected, got = _places(there)[::-1], _places(back)
    same_endpoints = there.endpoints[::-1][: len(back.endpoints)] == back.endpoints
    if same_endpoints and (not back.delivered or len(there.endpoints) == len(back.endpoints)):
        return None
    shared = 0
    while shared < min(len(expected), len(got)) and expected[shared][0] == got[shared][0]:
        shared += 1
    decided = got[shared - 1][1] if shared else None
    if shared == len(expected):
        return None
    mirror = _decision_before(there, expected[shared][0])
    missed, taken = expected[shared][0], got[shared][0] if shared < len(got) else back.end.at
    at = decided.at if decided else back.end.at
    sentence = f"at {at} the answer goes to {taken}; the packet came by {missed}"
    return Parting(mirror, decided, sentence)


def _places(way: Way) -> list[tuple[str, Hop]]:
    """The places of a way that both directions pass when they take the same: not what follows an endpoint at once,
    which is the endpoint's own subnet in one direction and not in the other.
    """
    found: list[tuple[str, Hop]] = []
    after_return = False
    for hop in way.hops:
        if hop.kind in ("choice", "target", "fragment"):
            continue
        if hop.kind == "return":
            after_return = True
            continue
        if after_return and hop.kind == "route":
            after_return = False
            continue
        after_return = False
        if found and found[-1][0] == hop.at:
            found[-1] = (hop.at, hop)
        else:
            found.append((hop.at, hop))
    return found


def _decision_before(way: Way, place: str) -> Hop | None:
    """Return the routing hop that led to the first visit of a place."""
    last = None
    for hop in way.hops:
        if hop.at == place:
            return last
        if hop.kind in _ROUTING:
            last = hop
    return last


def _shared(rows: Sequence[tuple[T, ...]]) -> tuple[T, ...]:
    """Return what all rows begin with."""
    found: list[T] = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        found.append(column[0])
    return tuple(found)
