"""From what was seen to a report: nothing here sends, asks or waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from gwlbemu.errors import WireError
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.craft import CraftedPacket, summary
from gwlbemu.trials.packet_report import Answer, NodeVerdict, PacketReport
from gwlbemu.trials.recognise import (
    Mark,
    SeenPacket,
    answers,
    answers_at,
    arrival,
    is_in_kind,
    mark_of,
)
from gwlbemu.views.appliance_logs import LoggedFlow
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.identity import Identity
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.mismatch import mismatch_of, wrong_checksum

UNREADABLE: Identity = (0, 0, 0, 0, 0)


class Evidence:
    """What was seen while packets of one `sender` were on their way: on wires, and by nodes.

    `nat` are the addresses that NAT gateways may have given them.
    """

    def __init__(
        self,
        sender: Instance,
        seen: Iterable[SeenPacket],
        traced: Iterable[TracedPacket],
        nat: frozenset[str],
        ports: frozenset[int] = frozenset(),
    ) -> None:
        self._sender, self._nat, self._ports = sender, nat, ports
        self._seen = sorted(seen, key=lambda each: each.at)
        self._traced = sorted(traced, key=lambda step: step.at)
        self._taken: set[int] = set()  # answers that belong to an earlier packet

    def report(
        self,
        crafted: CraftedPacket,
        *,
        number: int,
        sent_at: float,
        receiver: Instance | None = None,
        nodes: Collection[str] = (),
        explain: Callable[[str, LoggedFlow], str],
    ) -> tuple[PacketReport, bytes | None]:
        """Return what became of a packet that was sent at the instant `sent_at`, and its receiver's answer as it left.

        To be called in the order in which packets were sent. `receiver` is the instance that it is for, if that is
        known; a packet that comes to one of `nodes`, load balancers', is not delivered by that. `explain(target, flow)`
        is asked for a sentence when a target did not return the packet.
        """
        # An answer may happen to carry the same IP id: it comes from none of the addresses that the sender has.
        try:
            mark = mark_of(crafted.packet, {crafted.source, *self._sender.addresses, *self._nat}, self._ports)
        except WireError as error:
            return PacketReport(number, crafted.summary, wrong=mismatch_of(error)), None
        own = self._steps(mark, sent_at)
        elsewhere = [each for each in self._seen if each.instance != self._sender.name]
        arrived = arrival((each for each in elsewhere if each.instance not in nodes), mark)
        replies = [each for each in self._seen if self._is_reply(each, crafted, sent_at)]
        report = PacketReport(
            number,
            crafted.summary,
            tuple(map(_verdict, own)),
            replies=tuple(summary(each.packet) for each in replies),
            replied_after=replies[0].at - sent_at if replies else None,
            wrong=wrong_checksum(crafted.packet),
        )
        if arrived is None:
            came = arrival((each for each in elsewhere if each.instance in nodes), mark)
            report = replace(report, came_to=came[0].instance if came else "")
            return self._not_seen_to_arrive(report, own, replies, receiver or crafted.destination, explain), None
        there, fragments = arrived
        report = replace(
            report,
            delivered_to=there.instance,
            delivered_after=max(there.at - sent_at, 0.0),
            fragments=fragments,
            arrived_with=wrong_checksum(there.packet),
        )
        sent = self._answer(there)
        if sent is None:
            return report, None
        return replace(report, answer=self._followed(sent, there.instance, receiver, crafted, sent_at)), sent.packet

    def _is_reply(self, each: SeenPacket, crafted: CraftedPacket, sent_at: float) -> bool:
        is_ours = each.instance == self._sender.name and not each.outgoing and each.at >= sent_at
        return is_ours and answers(each.packet, crafted.packet)

    def _not_seen_to_arrive(
        self,
        report: PacketReport,
        own: Sequence[TracedPacket],
        replies: Sequence[SeenPacket],
        receiver: Instance | str,
        explain: Callable[[str, LoggedFlow], str],
    ) -> PacketReport:
        if any(is_in_kind(each.packet) for each in replies):
            name = receiver if isinstance(receiver, str) else receiver.name
            return replace(report, delivered_to=name, is_changed=True)
        last = next((step for step in reversed(own) if step.verdict != "drop" or step.direction == "out"), None)
        if last is None or last.verdict != "to-target" or report.hops[-1].is_refusal:
            return report
        return replace(report, said=explain(last.target, LoggedFlow.of(last)))

    def _steps(self, mark: Mark, since: float) -> list[TracedPacket]:
        """Return the verdicts on a packet. Who had it last is who returned what was refused, whatever that claimed."""
        found: list[TracedPacket] = []
        for step in self._traced:
            if step.at < since or not (mark.matches(step) or self._may_be(step, found)):
                continue
            if step.direction == "back" and step.verdict == "drop" and found:
                step = replace(step, endpoint=found[-1].endpoint, target=found[-1].target)
            found.append(step)
        return [_without_old_faults(step, found[max(number - 1, 0)]) for number, step in enumerate(found)]

    def _may_be(self, step: TracedPacket, before: Sequence[TracedPacket]) -> bool:
        """Whether it is a refusal of what the target returned that had the packet last, and nobody can read whose it
        is, or of a packet with other addresses or ports.
        """
        if not before or before[-1].verdict != "to-target":
            return False
        last = before[-1]
        is_refusal = (step.node, step.target, step.direction, step.verdict) == (last.node, last.target, "back", "drop")
        return is_refusal and (step.identity == UNREADABLE or _is_rewritten(step, last))

    def _answer(self, arrived: SeenPacket) -> SeenPacket | None:
        """Return the first answer to a packet that no earlier packet had."""
        for each in answers_at(self._seen, arrived.instance, arrived):
            if id(each) not in self._taken:
                self._taken.add(id(each))
                return each
        return None

    def _followed(
        self, sent: SeenPacket, sent_by: str, receiver: Instance | None, crafted: CraftedPacket, sent_at: float
    ) -> Answer:
        """Return what became of an answer: until its sender sends another that looks the same, what is seen is its."""
        others = receiver.addresses if receiver and receiver.name == sent_by else ()
        mark = mark_of(sent.packet, {crafted.destination, _source(sent.packet), *others}, self._ports)
        alike = [each for each in self._seen if _is_sent_by(each, sent_by) and _identity(each) == mark.identity]
        steps = self._steps(mark, alike[0].at)
        came = [each for each in self._seen if _is_arrival(each, self._sender.name, alike[0].at)]
        if len(alike) > 1:  # the same number of each: whole packets, since only such have an identity of their own
            number = alike.index(sent)
            steps = _every_nth(steps, number, lambda step: (step.node, step.endpoint, step.direction))
            known = [(each, _identity(each)) for each in came]
            came = [each for each, other in known if other and mark.is_whole(other)][number : number + 1]
        arrived = arrival(came, mark)
        after = None if arrived is None else max(arrived[0].at - sent_at, 0.0)
        is_error = mark.identity[0] != crafted.protocol
        return Answer(summary(sent.packet), sent_by, self._sender.name, tuple(map(_verdict, steps)), after, is_error)


def _is_sent_by(each: SeenPacket, instance: str) -> bool:
    return each.outgoing and each.instance == instance


def _is_arrival(each: SeenPacket, instance: str, since: float) -> bool:
    return not each.outgoing and each.instance == instance and each.at >= since


def _identity(each: SeenPacket) -> Identity | None:
    try:
        return mark_of(each.packet, ()).identity
    except WireError:
        return None


def _every_nth(
    steps: Iterable[TracedPacket], number: int, place: Callable[[TracedPacket], Hashable]
) -> list[TracedPacket]:
    """Return of each place's verdicts the one of that number, counted from 0."""
    by_place: dict[Hashable, list[TracedPacket]] = {}
    for step in steps:
        by_place.setdefault(place(step), []).append(step)
    found = [each[number] for each in by_place.values() if number < len(each)]
    return sorted(found, key=lambda step: step.at)


def _without_old_faults(step: TracedPacket, before: TracedPacket) -> TracedPacket:
    """Return a verdict whose wrong checksum is its target's doing: not one that went to the target already, as where a
    host leaves checksums to hardware that is not there.
    """
    is_its = step.verdict == "drop" or (step.direction == "back" and before.direction == "out" and not before.wrong)
    return step if is_its else replace(step, wrong=None)


def _is_rewritten(step: TracedPacket, last: TracedPacket) -> bool:
    """Whether only addresses or ports are other than they were."""
    return (step.protocol, step.ip_id, step.length) == (last.protocol, last.ip_id, last.length)


def _source(packet: bytes) -> str:
    return str(ip_address(decode_ip(packet, quoted=True).source))


def _verdict(step: TracedPacket) -> NodeVerdict:
    returned = step.direction == "back"
    return NodeVerdict(
        step.at, step.node, step.endpoint, step.verdict, step.target, step.cookie, step.reason, returned, step.wrong
    )
