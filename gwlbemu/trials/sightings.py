"""What became of a probe, from all that was seen of it: an outcome in the path model's words, and a journey."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.probe_packets import Probe
from gwlbemu.trials.probe_watch import NODES, Sighting, Watch, refusal
from gwlbemu.views.appliance_logs import ApplianceLogs, LoggedFlow
from gwlbemu.views.outcome import FIREWALL, LOOP, RESET, Lost, Outcome, names_of_place
from gwlbemu.views.traces import TracedPacket

ROUND = 3  # times that a packet comes to a router by one interface, and goes round in a loop


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a probe; `journey` has a line for each direction: where it was, in its order."""

    outcome: Outcome
    journey: tuple[str, ...]


class Sightings:
    """What was seen of a batch."""

    def __init__(self, plan: Plan, watch: Watch, logs: ApplianceLogs, silent: frozenset[str]) -> None:
        self._plan, self._watch, self._logs, self._silent = plan, watch, logs, silent
        ends = (*plan.instances, *plan.addressed_nodes)
        self._addresses = {each.name: {each.address, each.ipv6_address} - {""} for each in ends}
        self._balancers = {node.name: node.load_balancer for node in plan.nodes}
        self._behind = time.time() - time.monotonic()  # the kernel stamps frames with the wall clock
        self._kinds = {each.instance: each.kind for each in plan.programs}

    def of(self, probe: Probe) -> Seen:
        """Return what was seen of a probe."""
        there, back = self._seen(probe, is_answer=False), self._seen(probe, is_answer=True)
        arrived = self._arrived(there, probe)
        lost = answer_lost = None
        if not arrived:
            lost = self._lost(probe, there, is_answer=False)
        elif not any(one.resource == probe.sender.name and not one.outgoing and not one.tunneled for one in back):
            answer_lost = self._lost(probe, back, is_answer=True)
        met, met_back = self._targets(probe, is_answer=False), self._targets(probe, is_answer=True)
        outcome = Outcome(
            lost,
            answer_lost,
            tuple(self._balancers[node] for node, _ in met),
            tuple(self._balancers[node] for node, _ in met_back) if arrived else (),
            [target for _, target in met] == [target for _, target in met_back][::-1],
        )
        lines = [f"there  {self._journey(probe, there, is_answer=False)}"]
        lines += [f"back   {self._journey(probe, back, is_answer=True)}"] if back else []
        return Seen(outcome, tuple(lines))

    def _seen(self, probe: Probe, *, is_answer: bool) -> list[Sighting]:
        """Where the packet was, in order of time; not the ICMP errors about it, nor an answer that is sent again."""
        found = self._watch.sightings.get((probe.number, is_answer), [])
        until = self._sent_again(probe) if is_answer else None
        return sorted(
            (one for one in found if not one.error and (until is None or one.at < until)), key=lambda one: one.at
        )

    def _events(self, probe: Probe, *, is_answer: bool) -> list[TracedPacket]:
        events = sorted(self._watch.events.get((probe.number, is_answer), []), key=lambda event: event.at)
        until = self._sent_again(probe) if is_answer else None
        return events if until is None else [each for each in events if each.at < until / 1e9 - self._behind]

    def _sent_again(self, probe: Probe) -> int | None:
        """When a kernel sent its SYN-ACK for the second time, in nanoseconds; None when it did not."""
        found = self._watch.sightings.get((probe.number, True), [])
        times = sorted(
            one.at for one in found
            if one.resource in {each.name for each, _ in probe.receivers} and one.outgoing and not one.error
        )  # fmt: skip
        return times[1] if len(times) > 1 else None

    def _arrived(self, seen: list[Sighting], probe: Probe) -> bool:
        """Whether the instance that was meant got it; for an address, whoever has it; of a load balancer, a target, or
        the node that ends the connection.
        """
        return self._receiver(seen, probe) is not None

    def _receiver(self, seen: list[Sighting], probe: Probe) -> Instance | None:
        receivers = {each.name: each for each, _ in probe.receivers}
        for one in seen:
            arrives = (
                one.role in ("instance", *NODES) and not one.outgoing and not one.tunneled and one.resource in receivers
            )
            own = self._addresses[one.resource] if arrives else set()
            if one.destination in own and one.source not in own:  # no kernel takes a packet from itself
                return receivers[one.resource]
        return None

    def _targets(self, probe: Probe, *, is_answer: bool) -> list[tuple[str, str]]:
        """The (node, target) that it was sent to, once for each endpoint."""
        found: dict[str, tuple[str, str]] = {}
        for event in self._events(probe, is_answer=is_answer):
            if event.verdict == "to-target":
                found.setdefault(event.endpoint, (event.node, event.target))
        return list(found.values())

    def _lost(self, probe: Probe, seen: list[Sighting], *, is_answer: bool) -> Lost:
        receiver = self._receiver(self._seen(probe, is_answer=False), probe)
        sender = receiver if is_answer and receiver else probe.sender
        events = self._events(probe, is_answer=is_answer)
        if not is_answer and probe.number in self._watch.not_sent:
            return Lost((sender.name, sender.subnet), "", f"not sent: {self._watch.not_sent[probe.number]}")
        if (loop := _loop(seen)) is not None:
            return loop
        refused = refusal(events)
        if refused is not None:
            at = refused.endpoint if refused.direction == "out" else refused.node
            reason = refused.reason or RESET
            does = "drops it" if refused.verdict == "drop" else "answers it with a TCP reset"
            return Lost(names_of_place(self._plan, at), reason, f"{refused.node} {does} at {at}: {reason}")
        if events and events[-1].verdict == "to-target" and (kept := self._kept(events[-1], seen)) is not None:
            return kept
        if not seen:
            told = "no answer was sent" if is_answer else "it was seen nowhere"
            return Lost((sender.name, sender.subnet), "", f"{told} by {sender.name}" if is_answer else told)
        last = seen[-1]
        names = names_of_place(self._plan, last.resource)
        if last.role == "subnet":  # the ports that lead to instances are there
            ends = (probe.sender, *(each for each, _ in probe.receivers))
            names += tuple(dict.fromkeys(each.name for each in ends if each.subnet == last.resource))
        elif last.resource == sender.name:
            names += (sender.subnet,)
        if last.role == "node":
            names += tuple(each.name for each in self._plan.endpoints if each.node == last.resource)
        if last.resource in self._silent:
            return Lost(names, "", f"{last.resource} got it and does not answer")
        errors = [one for one in self._watch.sightings.get((probe.number, is_answer), []) if one.error and one.outgoing]
        if errors and errors[0].error is not None:
            kind, code = errors[0].error
            first = errors[0].resource
            return Lost((first, *names), "", f"{first} answers it with ICMP type {kind} code {code}")
        return Lost(names, "", f"it was seen last at {last.resource}")

    def _kept(self, event: TracedPacket, seen: list[Sighting]) -> Lost | None:
        """What an appliance did that had the packet last; None when it never came there, or was sent back."""
        owners = [each.name for each in self._plan.instances if event.target in (each.name, each.address)]
        name = next((each for each in owners if self._was_at(each, seen)), "")
        if not name or any(one.resource == name and one.tunneled and one.outgoing for one in seen):
            return None
        sentence = self._logs.sentence(event.target, LoggedFlow.of(event))
        ruled = self._kinds.get(name) == "firewall" and "dropped it: rule" in sentence
        names = names_of_place(self._plan, event.target, ((event.node, event.target),))
        return Lost(tuple(dict.fromkeys((name, *names))), FIREWALL if ruled else "", sentence)

    def _was_at(self, name: str, seen: list[Sighting]) -> bool:
        return any(one.resource == name and one.tunneled and not one.outgoing for one in seen)

    def _journey(self, probe: Probe, seen: list[Sighting], *, is_answer: bool) -> str:
        events = self._events(probe, is_answer=is_answer)
        places = []
        for resource, _ in groupby(seen, key=lambda one: one.resource):
            verdict = next((event for event in events if event.node == resource), None)
            if verdict is None:
                places.append(resource)
                continue
            events.remove(verdict)
            does = {"to-target": f"{verdict.endpoint} => {verdict.target}", "to-endpoint": f"{verdict.endpoint} <="}
            places.append(does.get(verdict.verdict, f"{verdict.endpoint} {verdict.verdict} {verdict.reason}".rstrip()))
        return ", ".join(places) or "seen nowhere"


def _loop(seen: list[Sighting]) -> Lost | None:
    """A packet that comes to a router by the same interface again and again, until its TTL is over."""
    visits = Counter(
        (one.resource, one.device) for one in seen if one.role not in ("instance", "node") and not one.outgoing
    )
    names = tuple(dict.fromkeys(resource for (resource, _), count in visits.items() if count >= ROUND))
    return Lost(names, LOOP, f"it goes round by way of {', '.join(names)}") if names else None
