"""The path model against what was seen: each difference in a sentence.

Of the model's alternatives one has to fit: with a seed and all ports it leaves open what a transit gateway's kernel
decides by a hash, and nothing else.

A reason cannot be seen on an interface, only where a packet was seen last, and what was said about it there. SIGNS has,
for each of the model's causes, what that may be; a node's own reasons are compared word for word. A missing route,
which may look like a blackhole, is compared with the kernel's own count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.paths.values import Cause, End, Exchange, Hop, Kind, States, Way
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.plan.values import Plan
from tests.differential.probes import answers
from tests.differential.sightings import Observation, Observed, Outcome

ROUTING = ("route", "edge", "internet", "transit", "forward", "translate")
REASONS = {reason.value for reason in Reason}
SILENT, NOT_SENT = "silent", "not sent"
TTL_OVER = ("icmp 11/0", "icmp 3/0")  # of ICMPv6 the second
SIGNS: dict[str, tuple[str, ...]] = {
    Cause.NO_ROUTE.value: (SILENT,),
    Cause.BLACKHOLE.value: (SILENT,),
    Cause.SECURITY_GROUP.value: (SILENT, NOT_SENT),
    Cause.SOURCE_DESTINATION_CHECK.value: ("not its address",),
    Cause.NO_PUBLIC_ADDRESS.value: (SILENT,),
    Cause.UNKNOWN_ADDRESS.value: (SILENT,),
    Cause.NO_SUCH_SUBNET.value: (SILENT,),
    Cause.FIREWALL.value: (SILENT,),
    Cause.NAT_NO_SESSION.value: (SILENT,),
    Cause.NAT_PROTOCOL.value: (SILENT,),
    Cause.RESET.value: ("reset",),
    Cause.TTL.value: (*TTL_OVER, SILENT),  # a transit gateway has no route of its own for an ICMP error
    Cause.TOO_BIG.value: ("icmp 3/4", "icmp 2/0", NOT_SENT, SILENT),  # nor for this one
    Cause.LINK_TOO_BIG.value: (SILENT,),
    Cause.NO_LISTENER.value: (SILENT,),
    Cause.NO_TARGETS.value: (SILENT,),
    Cause.NO_TARGETS_IN_ZONE.value: (SILENT,),
    Cause.HAIRPIN.value: (SILENT,),
    Cause.BROKEN.value: (SILENT, NOT_SENT),
}
PLACES: dict[str, tuple[str, ...]] = {  # where a cause acts one step before or behind the element that the model names
    Cause.SECURITY_GROUP.value: ("subnet",),  # at the port of the bridge that leads to the instance
    Cause.LINK_TOO_BIG.value: ("fabric",),
    Cause.BROKEN.value: ("subnet", "fabric"),  # whose bridge port is the far end of the cable
}


@dataclass(frozen=True, slots=True)
class Difference:
    """What the model and the lab do not agree about."""

    outcome: Outcome
    model: Exchange
    what: tuple[str, ...]

    def __str__(self) -> str:
        lines = [str(self.outcome.probe), *(f"  differs: {each}" for each in self.what)]
        for name, way in (("model there", self.model.there), ("model back", self.model.back)):
            if way is not None:
                lines.append(f"  {name}: {way.end.kind.value} at {way.end.at} {way.end.reason}: {way.end.sentence}")
                lines += [f"      {hop.at} ({hop.kind}): {hop.rule}" for hop in way.hops]
        for name, seen in (("seen there", self.outcome.there), ("seen back", self.outcome.back)):
            if seen is not None:
                lines += [f"  {name}: {seen}", *(f"      {one}" for one in seen.sightings[:60])]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the model and the lab do not agree about, packet by packet and in the routers' counts; `ends` has how often
    each reason came about.
    """

    differences: tuple[Difference, ...]
    miscounts: tuple[str, ...]
    ends: Counter[str]

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.differences or self.miscounts)


def compare(plan: Plan, states: States, observation: Observation) -> Comparison:
    """Compare what the model says about a plan with what was observed in its lab."""
    paths = Paths(plan)
    states = replace(states, targets=observation.targets, members=observation.members, flows=observation.flows)
    transit = {gateway.name for gateway in plan.transit_gateways}
    found: list[Difference] = []
    ends: list[End] = []
    for outcome in observation.outcomes:
        model = exchange(paths, outcome.probe.packet(), states, answers(plan), follow=False)
        wrong = [tuple(_wrong(one, outcome, routers=not plan.shortcuts)) for one in model.possible]
        best = min(range(len(wrong)), key=lambda number: len(wrong[number]))
        what = wrong[best] + tuple(_open_otherwise(model, transit))
        if what:
            found.append(Difference(outcome, model.possible[best], what))
        ends += [way.end for way in (model.possible[best].there, model.possible[best].back) if way]
    return Comparison(
        tuple(found), tuple(_miscounts(ends, observation)), Counter(e.reason or "delivered" for e in ends)
    )


def _miscounts(ends: list[End], observation: Observation) -> Iterator[str]:
    model = Counter(end.at for end in ends if end.reason == Cause.NO_ROUTE.value)
    for router, count in observation.without_route.items():
        if not model[router] <= count <= model[router] + observation.errors[router]:
            errors = f"{observation.errors[router]} ICMP errors" if observation.errors[router] else "no ICMP error"
            yield f"{router} has counted {count} packets without a route (and {errors}), the model {model[router]}"


def _open_otherwise(model: Exchange, transit: set[str]) -> Iterator[str]:
    for one in model.possible:
        for way in (one.there, one.back):
            for choice in way.choices if way else ():
                if choice.partition(":")[0] not in transit:
                    yield f"the model leaves open what can be computed: {choice}"


def _wrong(model: Exchange, outcome: Outcome, *, routers: bool) -> Iterator[str]:
    yield from _wrong_way("there", model.there, outcome.there, routers)
    if model.back is None or outcome.back is None:
        if model.back is not None or outcome.back is not None:
            yield f"back: the model has {'no' if model.back is None else 'an'} answer"
        return
    yield from _wrong_way("back", model.back, outcome.back, routers)
    met, met_back = [target for _, target in outcome.there.targets], [target for _, target in outcome.back.targets]
    goes_round = model.back.end.kind is Kind.LOOP  # and met the same target again and again
    if not goes_round and model.same_targets != (met == met_back[::-1]):
        yield f"the same targets both ways: model {model.same_targets}, seen {met} and {met_back}"


def _wrong_way(name: str, model: Way, seen: Observed, routers: bool) -> Iterator[str]:
    if model.delivered or seen.delivered_to:
        end = model.end.at if model.delivered else ""
        if end != seen.delivered_to:
            yield f"{name}: model {_end(model)}, seen {seen}"
        elif (looks := (model.packet.source, model.packet.destination, model.packet.ttl)) != seen.looks:
            yield f"{name}: it arrives: model {looks}, seen {seen.looks}"
    elif model.end.kind is Kind.LOOP or seen.sign == "loop":
        if model.end.kind is not Kind.LOOP or seen.sign != "loop":
            yield f"{name}: model {_end(model)}, seen {seen}"
        return  # how often it went round before its TTL was over is not compared
    elif not _fits(model, seen, exact=routers):
        yield f"{name}: model {_end(model)}, seen {seen}"
    if model.endpoints[: len(model.targets)] != seen.endpoints:
        yield f"{name}: endpoints: model {model.endpoints}, seen {seen.endpoints}"
    if model.targets != seen.targets:
        yield f"{name}: targets: model {model.targets}, seen {seen.targets}"
    if routers and seen.routers not in _lines_of_routers(model):  # a shortcut goes past their far side
        yield f"{name}: routers: model {_routers(model)}, seen {seen.routers}"


def _end(way: Way) -> str:
    return f"{way.end.kind.value} at {way.end.at} {way.end.reason}".rstrip()


def _fits(model: Way, seen: Observed, *, exact: bool) -> bool:
    """Tell whether a packet may have ended as the model says; with shortcuts (not `exact`) sightings have no order."""
    end = model.end
    if end.reason in REASONS or seen.sign in REASONS:
        return end.reason == seen.sign and end.at == seen.resource
    if seen.sign not in SIGNS.get(end.reason, ()):
        return False
    at_the_end = end.at == seen.resource or (not exact and end.at in seen.lowest)
    return at_the_end or seen.role in PLACES.get(end.reason, ())


def _routers(way: Way) -> tuple[str, ...]:
    """The routers that a way passed; one that translates as well has two hops, and one only where it ends."""
    found = [(at, hops[-1].kind) for at, group in groupby(way.hops, lambda hop: hop.at) if _routes(hops := list(group))]
    shut = way.end.reason == Cause.SECURITY_GROUP.value  # at the port that it leaves by
    if found and not way.delivered and not shut and found[-1] == (way.end.at, "translate"):
        found.pop()
    return tuple(at for at, _ in found)


def _lines_of_routers(way: Way) -> set[tuple[str, ...]]:
    """What may be seen of the routers of a way: not the last one, if its bridge's only cable is pulled."""
    passed = _routers(way)
    broken = way.end.reason == Cause.BROKEN.value and passed[-1:] == (way.end.at,)
    return {passed, passed[:-1]} if broken else {passed}


def _routes(hops: list[Hop]) -> bool:
    return any(hop.kind in ROUTING for hop in hops)
