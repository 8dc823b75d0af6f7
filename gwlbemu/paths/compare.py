"""Several ways put together, and the two directions of an exchange held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from gwlbemu.paths.values import Cause, End, Exchange, Hop, Kind, Parting, Way

T = TypeVar("T")
_ROUTING = ("route", "edge", "transit", "internet")
_PLACES = ("send", "endpoint", "transit", "translate", "edge", "internet", "forward", "deliver", "terminate")


def joined_ways(found: Sequence[Way]) -> Way:
    """Return one way for all that open choices allow: the first of them when they end alike, else an ambiguous one.

    Alike is also what different targets, or nodes, of a load balancer get.
    """
    ways = list(dict.fromkeys(found))
    first = ways[0]
    if len(ways) == 1:
        return first
    if len({_ending(each) for each in ways}) == 1:
        return replace(first, alternatives=tuple(ways))
    shared = 0
    while all(shared < len(each.hops) and each.hops[shared] == first.hops[shared] for each in ways):
        shared += 1
    hops = first.hops[:shared]
    at = hops[-1].at if hops else first.hops[0].at if first.hops else first.end.at
    kinds = sorted({each.end.kind.value for each in ways})
    sentence = f"{len(ways)} ways are possible behind {at}: {' or '.join(kinds)}"
    own = dict.fromkeys(each.end.at for each in ways if each.end.reason == Cause.OWN_PROGRAM.value)
    if own:
        sentence = f"what {' or '.join(own)} does with it is its own; {sentence}"
    end = End(Kind.AMBIGUOUS, at, Cause.OPEN.value, sentence)
    packet = hops[-1].packet if hops else first.packet
    return Way(
        hops, end, packet, _shared([w.endpoints for w in ways]), _shared([w.targets for w in ways]), (), tuple(ways),
        _shared([w.balanced for w in ways]),
    )  # fmt: skip


def _ending(way: Way) -> tuple[Kind, str, str]:
    served = way.delivered and (bool(way.balanced) or way.is_terminated)
    return way.end.kind, "" if served else way.end.at, way.end.reason


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
        first.onward,
    )


def parting(there: Way, back: Way) -> Parting | None:
    """Return where two directions part that did not cross the same endpoints; else None.

    An answer that is lost before it comes to another endpoint, or past one, parts from nothing.
    """
    mirrored = there.endpoints[::-1]
    if mirrored == back.endpoints or (not back.delivered and mirrored[: len(back.endpoints)] == back.endpoints):
        return None
    expected, got = _places(there), _places(back)
    expected.reverse()
    shared = 0
    while shared < min(len(expected), len(got)) and expected[shared][0] == got[shared][0]:
        shared += 1
    if shared == 0 or shared == len(expected):
        return None
    common, missed = expected[shared - 1][0], expected[shared][0]
    taken = got[shared][0] if shared < len(got) else back.end.at
    before, reached = got[shared - 1][1], got[shared][1] if shared < len(got) else len(back.hops)
    came_from = expected[shared][1]
    if back.hops[before].kind == "transit":
        decided: Hop | None = back.hops[before]
        mirror = _last(there.hops[:came_from], ("transit",))
    else:
        decided = _last(back.hops[:reached], _ROUTING)
        # Behind a NAT gateway the answer has no choice of gateway: what sent the packet there is what to look at.
        to_common = expected[shared - 1][1] if back.hops[before].kind == "translate" else came_from
        mirror = _last(there.hops[:to_common], _ROUTING)
    at = decided.at if decided else common
    sentence = f"at {at} the answer goes to {taken}; the packet came by {missed}"
    return Parting(mirror, decided, sentence)


def _places(way: Way) -> list[tuple[str, int]]:
    """The places that two directions of the same way have in common, in its order, each with the number of its hop:
    all but the subnets, which are another one on either side of an endpoint or a gateway.
    """
    found: list[tuple[str, int]] = []
    for number, hop in enumerate(way.hops):
        if hop.kind in _PLACES and not (found and found[-1][0] == hop.at):
            found.append((hop.at, number))
    return found


def _last(hops: Sequence[Hop], kinds: tuple[str, ...]) -> Hop | None:
    return next((hop for hop in reversed(hops) if hop.kind in kinds), None)


def _shared(rows: Sequence[tuple[T, ...]]) -> tuple[T, ...]:
    """Return what all rows begin with."""
    found: list[T] = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        found.append(column[0])
    return tuple(found)
