"""What is wrong with the ways of a design: exchanges that end before they should, and those whose halves part.

Sources: GWLB guide, asymmetric flows (a first packet that only the load balancer saw may be answered around it, which
is not recommended; an answer whose first packet it did not see is lost); PrivateLink guide (request and answer through
the same endpoint); Transit Gateway guide, Appliance mode; contract EP-06, EP-07.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.paths.machine import covers
from gwlbemu.paths.values import Cause, Exchange, Hop, Kind, Way
from gwlbemu.review.fault import ROUTING, Fault, Key, at, is_line, lines_of, table_at, table_path
from gwlbemu.review.finding import Severity
from gwlbemu.review.talk import Pair, Talk
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import LOCAL, Route

TOLD_ELSEWHERE = {  # see balancing, instances, network
    Reason.NO_TARGET.value, Cause.SOURCE_DESTINATION_CHECK.value, Cause.NO_TARGETS.value,
    Cause.NO_TARGETS_IN_ZONE.value, Cause.HAIRPIN.value,
}  # fmt: skip


class Judge:
    """All exchanges of a design, each judged in the light of the others."""

    def __init__(self, talk: Talk, found: Mapping[Pair, Exchange]) -> None:
        self._talk, self._found, self._topology = talk, found, talk.topology
        self._faults: dict[Key, Fault] = {}
        self._used = self._lines_that_lead_somewhere()

    def faults(self) -> list[Fault]:
        """Return what is wrong, each thing once."""
        for pair, exchange in self._found.items():
            for one in exchange.possible:
                self._judge(pair, one)
            self._judge_inspection(pair, exchange)
        return list(self._faults.values())

    def _add(
        self, pair: Pair, found: Exchange, kind: str, severity: Severity, why: str, lines: Iterable[Path],
        cause: frozenset[Path] = frozenset(),
    ) -> None:  # fmt: skip
        fault = Fault(kind, severity, why, tuple(dict.fromkeys(line for line in lines if line)), cause)
        known = self._faults.setdefault(fault.key, fault)
        known.pairs.setdefault(pair, set()).add(found.there.choices)
        if pair not in known.whys or (severity == "error" and known.whys[pair] != known.why):
            known.whys[pair] = why
        known.lines = tuple(dict.fromkeys([*known.lines, *fault.lines]))
        known.note_tables(found)
        if severity == "error" and known.severity != "error":
            known.severity, known.why = severity, why

    # ---- one exchange ----
    def _judge(self, pair: Pair, found: Exchange) -> None:
        if not found.there.delivered:
            if self._is_wanted(pair, found.there):
                self._lost(pair, found.there, found, answer=False)
        elif found.back is None or not found.back.delivered:
            if found.back is not None and not self._is_left_alone(pair, found):
                self._lost(pair, found.back, found, answer=True)
        elif found.there.endpoints[::-1] != found.back.endpoints:
            self._parted(pair, found, found.back)

    def _lost(self, pair: Pair, way: Way, found: Exchange, *, answer: bool) -> None:
        """A packet, or its answer, that arrives nowhere."""
        end = way.end
        if end.reason in TOLD_ELSEWHERE or self._may_leave_by_appliance(pair, way):
            return
        lines = [end.path, *lines_of(way)[::-1], *(lines_of(found.there)[::-1] if answer else ())]
        reason = end.reason
        kind, why = "no-answer" if answer else "leads-nowhere", end.sentence
        if end.kind is Kind.LOOP:
            kind, lines, why = self._loop(way, lines)
        elif answer and reason == Reason.MIDSTREAM.value and found.there.endpoints[::-1] != way.endpoints:
            self._parted(pair, found, way)
            return
        elif answer and reason == Reason.MIDSTREAM.value:
            # The same endpoints and another connection: somebody on the way there gave it other addresses.
            before = next((n for n, hop in enumerate(found.there.hops) if hop.kind == "translate"), 0)
            lines = [*lines_of(replace(found.there, hops=found.there.hops[:before]))[::-1], *lines]
            why = f"{why}: it has seen the packet with other addresses"
        elif reason == Cause.NO_PUBLIC_ADDRESS.value and not answer and pair.kind == "outward":
            kind, why = "no-nat", f"{why}, and no NAT gateway is on the way"
            lines = lines_of(way)[::-1]
        elif end.at in self._outside() and not is_line(end.path):
            # It came to an internet gateway or the internet and belongs elsewhere: the table in front lacks a line.
            last = next((hop for hop in reversed(way.hops) if hop.kind == "route" and hop.path), None)
            if last is not None:
                lines = [table_path(last.path), *lines]
                why = f"{last.rule} leads {way.packet.destination} to the internet, where it is lost: {why}"
        elif reason == Cause.BLACKHOLE.value:
            kind = "blackhole"
        if answer and kind == "no-answer":
            why = f"the answer is lost: {why}"
        if pair.kind == "onward":
            why = f"{why}; requests that are given to that target get 504"
        self._add(pair, found, kind, "error", why, lines)

    def _may_leave_by_appliance(self, pair: Pair, way: Way) -> bool:
        """Whether nothing leads on from the last endpoint, and its appliances may forward: they are the way out then.

        AWS calls that two-arm mode: an appliance with a way of its own translates, and gives nothing back.
        """
        if pair.kind != "outward" or way.end.reason != Cause.NO_ROUTE.value or not way.endpoints:
            return False
        endpoint = self._talk.paths.endpoint_named[way.endpoints[-1]]
        targets = {target.id for target in self._talk.plan.group_of(endpoint.load_balancer).targets}
        forwards = {one.name for vpc in self._topology.vpcs for one in vpc.instances if not one.source_dest_check}
        return way.end.at == endpoint.subnet and not self._has_lines(way.end.path) and bool(targets & forwards)

    def _has_lines(self, path: Path) -> bool:
        table = table_at(self._topology, path)
        return any(route.target != LOCAL for route in (table.routes if table else ()))

    def _loop(self, way: Way, lines: list[Path]) -> tuple[str, list[Path], str]:
        circle = [hop for hop in way.hops if hop.kind in ROUTING and is_line(hop.path)]
        repeated = [hop for hop in circle if circle.count(hop) > 1] or circle[-2:]
        own = [hop for hop in repeated if self._is_own_endpoint(hop)]
        here = [hop.path for hop in (own or repeated[::-1])]
        if own:
            hop = own[0]
            target = str(getattr(at(self._topology, hop.path), "target", ""))
            why = f"{target} stands in subnet {hop.at}, whose {hop.rule} leads what leaves it back into it"
            return "endpoint-in-own-subnet", [*here, *lines], f"{why}: {way.end.sentence}"
        return "loop", [*here, *lines], way.end.sentence

    def _is_own_endpoint(self, hop: Hop) -> bool:
        route = at(self._topology, hop.path)
        endpoint = self._talk.paths.endpoint_named.get(route.target) if isinstance(route, Route) else None
        return endpoint is not None and endpoint.subnet == hop.at

    def _parted(self, pair: Pair, found: Exchange, back: Way) -> None:
        """Both directions cross endpoints, and not the same ones."""
        there = found.there
        zones = {one.name: one.zone for one in self._talk.plan.endpoints}
        services = {one.name: (one.vpc, one.load_balancer) for one in self._talk.plan.endpoints}
        decided = [hop.path for _, hop in reversed(found.parting.sides)] if found.parting else []
        cause = frozenset(path for path in decided if path)
        lines = [*decided, *lines_of(back)[::-1], *lines_of(there)[::-1]]
        only_back = [name for name in back.endpoints if name not in there.endpoints]
        only_there = [name for name in there.endpoints if name not in back.endpoints]
        twins = [(a, b) for a in only_there for b in only_back if services[a] == services[b]]
        told = _told(found)
        if twins:
            a, b = twins[0]
            if found.parting and found.parting.there and self._is_out_of_its_zone(pair, a):
                lines = [found.parting.there.path, *lines]
            why = (
                f"the packet passes {a} of zone {zones[a]} and its answer {b} of zone {zones[b]}{told}: each zone has a"
                " flow table of its own, and the answer finds no flow"
            )
            self._add(pair, found, "other-zone", "error", why, lines, cause)
        elif not back.delivered:
            first = next(iter(only_back), back.end.at)
            why = (
                f"the packet skips {first}, which its answer passes{told}: the load balancer sees one direction only,"
                " and drops a flow that it did not see begin"
            )
            if found.parting and found.parting.there:
                lines = [found.parting.there.path, *lines]
            self._add(pair, found, "skips-endpoint", "error", why, lines, cause)
        elif only_there:
            why = (
                f"the answer skips {only_there[0]}, which the packet passes{told}: the appliances see half of every"
                " connection (AWS supports that and advises against it)"
            )
            self._add(pair, found, "skips-endpoint", "warning", why, lines, cause)

    def _is_out_of_its_zone(self, pair: Pair, endpoint: str) -> bool:
        """Whether the way there is the one that crosses into another zone, as far as one end has a zone."""
        zones = self._talk.zones_of(pair)
        return len(zones) == 1 and self._talk.paths.endpoint_named[endpoint].zone not in zones

    # ---- what is a decision, and no fault ----
    def _is_wanted(self, pair: Pair, way: Way) -> bool:
        """Whether a packet that does not arrive was meant to."""
        routing = [hop for hop in way.hops if hop.kind in ROUTING]
        if pair.kind == "outward" and way.end.reason == Cause.NO_PUBLIC_ADDRESS.value:
            return self._wants_nat(pair, way)
        if way.end.kind is Kind.LOOP or way.endpoints or pair.kind == "onward":
            return True
        if not routing:  # its own subnet has no line for it, or nobody on the internet knows the address
            return False
        if self._is_exception(way):
            return False
        if pair.kind in ("outward", "inward"):
            return True
        back = self._found.get(self._turned(pair))
        return routing[0].path not in self._used or (back is not None and any(e.there.delivered for e in back.possible))

    def _is_exception(self, way: Way) -> bool:
        """Whether a blackhole is an exception from a wider line of its table."""
        if way.end.reason != Cause.BLACKHOLE.value:
            return False
        table, line = table_at(self._topology, way.end.path), at(self._topology, way.end.path)
        assert isinstance(line, Route)
        own = ip_network(line.destination)
        return any(
            other is not line and ip_network(other.destination).version == own.version
            and ip_network(other.destination).prefixlen < own.prefixlen
            and covers(other.destination, way.packet.destination)
            for other in (table.routes if table else ())
        )  # fmt: skip

    def _wants_nat(self, pair: Pair, way: Way) -> bool:
        """An instance may be without a public address on purpose, in a VPC without NAT where others have one."""
        instance = self._talk.instances[pair.first]
        vpc = next(one for one in self._talk.plan.vpcs if one.name == instance.vpc)
        if way.end.at != vpc.internet_gateway:
            return True
        others = any(one.public_address for one in self._talk.plan.instances if one.vpc == vpc.name)
        return not others or any(one.vpc == vpc.name for one in self._talk.plan.nat_gateways)

    def _is_left_alone(self, pair: Pair, found: Exchange) -> bool:
        """Whether the answer ends in a subnet with local routes only, and nothing asks for more: a decision."""
        assert found.back is not None
        receiver = self._talk.instances[pair.second]
        if pair.kind == "onward":
            return False
        if found.back.end.at != receiver.subnet or found.back.end.reason != Cause.NO_ROUTE.value:
            return False
        table = table_at(self._topology, found.back.end.path)
        routes = [route for route in (table.routes if table else ()) if route.target != LOCAL]
        if any((":" in route.destination) == (pair.version == 6) for route in routes):
            return False
        own = next(one for one in self._talk.plan.subnets if one.name == receiver.subnet)
        lines = [at(self._topology, hop.path) for hop in found.there.hops if is_line(hop.path)]
        asked = any(isinstance(one, Route) and one.destination in (own.cidr, own.ipv6_cidr) for one in lines)
        return not (asked or (pair.kind == "inward" and pair.version == 4))

    def _turned(self, pair: Pair) -> Pair:
        first = self._talk.instances[pair.first]
        address = first.ipv6_address if pair.version == 6 else first.address
        return Pair(pair.second, pair.first, address, pair.kind)

    def _lines_that_lead_somewhere(self) -> set[Path]:
        """Return the first line of each way that arrives."""
        found = set()
        for exchange in self._found.values():
            for one in exchange.possible:
                first = next((hop for hop in one.there.hops if hop.kind in ("route", "edge")), None)
                if first is not None and one.there.delivered:
                    found.add(first.path)
        return found

    def _outside(self) -> set[str]:
        return {vpc.internet_gateway for vpc in self._talk.plan.vpcs} | {"internet"}

    # ---- who is inspected ----
    def _judge_inspection(self, pair: Pair, exchange: Exchange) -> None:
        """A pair that a flow hash sends past the appliances now and then."""
        met = [bool(one.there.endpoints) for one in exchange.possible if one.answered]
        if not (any(met) and not all(met)):
            return
        for one in exchange.possible:
            if one.answered and one.back is not None and not one.there.endpoints and not one.back.endpoints:
                lines = [*lines_of(one.there)[::-1], *lines_of(one.back)[::-1]]
                vpcs = {end.vpc for end in self._talk.plan.endpoints}
                inner = [hop.path for hop in one.there.hops if hop.kind == "route" and self._vpc_of(hop.at) in vpcs]
                zones = "; ".join(one.there.choices)
                why = f"not inspected in one of the ways that a flow hash may take ({zones}), and inspected in others"
                self._add(pair, one, "uninspected", "error", why, [*inner, *lines])

    def _vpc_of(self, subnet: str) -> str:
        return next((one.vpc for one in self._talk.plan.subnets if one.name == subnet), "")


def _told(found: Exchange) -> str:
    """Where the two directions part, with both lines, for people."""
    if found.parting is None:
        return ""
    rules = " against ".join(dict.fromkeys(hop.rule for _, hop in found.parting.sides if hop.path))
    return f" ({found.parting.sentence}{f': {rules}' if rules else ''})"
