"""A mend is told after it was tried: the changed file is checked, planned and reviewed as the first one was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gwlbemu.paths.values import Exchange
from gwlbemu.review.candidates import candidates
from gwlbemu.review.edit import Edit
from gwlbemu.review.fault import Fault, Key
from gwlbemu.review.talk import Pair, Talk, places_met
from gwlbemu.topology.file.checks import problems_of
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan.values import Plan

MOST_FOR_ONE = 60  # changes that are tried for one fault
MOST = 300  # and for all
SAMPLES = 4  # pairs of a fault of which a change has to mend one, before all are walked again

Look = Callable[[Talk, dict[Pair, Exchange]], list[Fault]]


@dataclass(frozen=True, slots=True)
class Examined:
    """A design, what its exchanges do, and what is wrong with it."""

    talk: Talk
    walks: dict[Pair, Exchange]
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class Mend:
    """A change that was tried, and the keys of all faults that are gone with it."""

    edit: Edit
    mended: frozenset[Key]


class Trial:
    """A design on which changes are tried; `look` says what is wrong with a design."""

    def __init__(self, talk: Talk, look: Look) -> None:
        self._look = look
        walks = {pair: talk.walk(pair) for pair in talk.pairs()}
        self.now = Examined(talk, walks, look(talk, walks))
        self._known = {each.key: set(each.pairs) for each in self.now.faults if each.severity != "hint"}
        self._hinted = {each.key: set(each.pairs) for each in self.now.faults if each.severity == "hint"}
        self._troubled = set().union(*self._known.values())
        self._met = {pair: places_met(found) for pair, found in walks.items()}
        self._left = MOST
        self._tried: dict[tuple[Path, str], Examined] = {}  # by the change: what was walked in full

    def mend(self, fault: Fault, *, below: int | None = None) -> Mend | None:
        """Return the first change of one line that mends a fault and does no harm; None when none was found.

        What was inspected on its way to nowhere need not be so by the change, a hint may come by it, and a pair may go
        on failing of another fault that was there before; but a change of which none of that is so comes first.
        With `below` only such a one is looked for, of a smaller rank.
        """
        second: Mend | None = None
        for edit in candidates(self.now.talk.topology, fault)[:MOST_FOR_ONE]:
            if self._left <= 0 or (below is not None and edit.rank >= below):
                break
            self._left -= 1
            after = self._after(fault, edit)
            if after is not None:
                left = {each.key for each in after.faults}
                found = Mend(edit, frozenset(each.key for each in self.now.faults if each.key not in left))
                wholly = all(
                    self._is_mended(fault, pair, after.walks[pair]) for pair in fault.pairs if pair in after.walks
                )
                if wholly and self._has_nothing_new(after.faults, hints=True):
                    return found
                second = second or found
        return second if below is None else None

    def _after(self, fault: Fault, edit: Edit) -> Examined | None:
        """Return a changed design; None when the fault is there yet, or something else is worse."""
        found = self._tried.get((edit.path, edit.change))
        if found is None:
            changed = _taken(edit, self.now.talk.topology)
            if changed is None:
                return None
            talk, samples = Talk(changed), [*fault.pairs][:SAMPLES]
            if samples and not any(self._is_mended(fault, each, talk.walk(each), strictly=False) for each in samples):
                return None
            walks = self._again(talk)
            found = self._tried[edit.path, edit.change] = Examined(talk, walks, self._look(talk, walks))
        walks = found.walks
        mended = {p: self._is_mended(fault, p, walks[p], strictly=False) for p in fault.pairs if p in walks}
        others = {
            pair for each in found.faults if each.key != fault.key and each.key in self._known for pair in each.pairs
        }
        if mended and (not any(mended.values()) or any(not good and p not in others for p, good in mended.items())):
            return None
        if any(_is_worse(walks[pair], before) for pair, before in self.now.walks.items() if pair in walks):
            return None
        gone = fault.key not in {each.key for each in found.faults}
        return found if gone and self._has_nothing_new(found.faults) else None

    def _has_nothing_new(self, after: Iterable[Fault], *, hints: bool = False) -> bool:
        """Whether no fault is there that was not, or that what worked has come to; with `hints`, no hint either."""
        return all(
            fault.key in self._known and set(fault.pairs) <= self._known[fault.key] | self._troubled
            if fault.severity != "hint"
            else not hints or (fault.key in self._hinted and set(fault.pairs) <= self._hinted[fault.key])
            for fault in after
        )

    def _is_mended(self, fault: Fault, pair: Pair, after: Exchange, *, strictly: bool = True) -> bool:
        """Whether what failed is answered now, and inspected both ways if any of its halves was that arrived.

        Strictly: if anybody can be inspected, and if any half was on its way to nowhere.
        """
        before = self.now.walks[pair]
        ways = [way for one in before.possible for way in one.ways]
        was_inspected = fault.to_be_inspected or any(way.endpoints for way in ways if strictly or way.delivered)
        was_inspected |= strictly and pair.kind not in ("inside", "onward") and bool(self.now.talk.plan.endpoints)
        failed, known = fault.pairs[pair], {one.there.choices for one in before.possible}
        return all(
            _is_sound(one, inspected=was_inspected)
            for one in after.possible
            if one.there.choices in failed or one.there.choices not in known
        )

    def _again(self, talk: Talk) -> dict[Pair, Exchange]:
        """Walk again what meets something that is another than before."""
        touched = _touched(self.now.talk.plan, talk.plan)
        tunnels = {one.subnet for one in talk.plan.instances if one.appliance}
        found = {}
        for pair in talk.pairs():
            known = self.now.walks.get(pair)
            if known is not None and not touched & self._met[pair] and not touched & tunnels:
                found[pair] = known
            else:
                found[pair] = talk.walk(pair)
        return found


def _taken(edit: Edit, topology: Topology) -> Topology | None:
    """The changed topology; None when a check refuses it."""
    changed = edit.apply(topology)
    return None if next(problems_of(changed), None) else changed


def _touched(before: Plan, after: Plan) -> set[str]:
    known = {each.name: each for each in before.namespaces}
    found = {each.resource for each in after.namespaces if known.get(each.name) != each}
    if (before.load_balancers, before.target_groups) != (after.load_balancers, after.target_groups):
        found |= {node.name for node in after.addressed_nodes}
    return found


def _is_sound(one: Exchange, *, inspected: bool) -> bool:
    if not one.answered or one.back is None or one.back.endpoints != one.there.endpoints[::-1]:
        return False
    return bool(one.there.endpoints) or not inspected


def _is_worse(after: Exchange, before: Exchange) -> bool:
    """Whether something that was answered is not any more."""
    was = {one.there.choices for one in before.possible if one.answered}
    return any(not one.answered and (before.answered or one.there.choices in was) for one in after.possible)
