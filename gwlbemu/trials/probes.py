"""Probes: one packet for each pair that is asked about, and what became of it and of its answer, as it was seen.

Nothing here asks a plan where a packet should go. A batch is sent at once; then the lab is watched until no node and no
appliance can have a packet in hand. What nobody says a word about is told by where it was seen last.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice

from gwlbemu.errors import LabError, SettingError, TraceGoneError
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.paths.dns import in_dns
from gwlbemu.paths.ends import balancer_named, node_as_instance
from gwlbemu.paths.values import Packet, States
from gwlbemu.paths.walk import Paths
from gwlbemu.topology.plan.ends import (
    balancer_at,
    destination_address,
    instance_at,
    instance_named,
    source_address,
)
from gwlbemu.topology.plan.values import ApplicationNode, Instance, NetworkNode
from gwlbemu.trials.injection import EPHEMERAL
from gwlbemu.trials.probe_packets import MARK_LENGTH, Probe, Probes
from gwlbemu.trials.probe_watch import Sighting, Watch, Which, answering, refusal, sent, watching
from gwlbemu.trials.sightings import Seen, Sightings
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.appliance_logs import ApplianceLogs
from gwlbemu.views.ask import ask
from gwlbemu.views.model import Question
from gwlbemu.views.outcome import Outcome
from gwlbemu.views.states import present_states
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP

BATCH = 100  # probes in flight at a time
QUIET = 0.1  # seconds without a frame, while no process has one in hand: kernels pass frames on at once
PROGRAM_SECONDS = 3.0  # that a program of the user's own is given for a packet
OUR_SECONDS = 10.0  # that a node or a bundled appliance is, which tell what they have judged
LONGEST = 60.0  # seconds for one batch


def observe(lab: RunningLab, asked: Sequence[Question]) -> Iterator[tuple[Question, Seen]]:
    """Send a probe for each question; yield the question, with the source port that was used, and what was seen.

    Questions whose ends have no way to talk are answered without a packet. Raises NetError or LabError where a lab
    cannot be watched, UnknownNameError for an instance that is not there.
    """
    waiting = iter(asked)
    ports = random.sample(range(*EPHEMERAL), min(len(asked), EPHEMERAL[1] - EPHEMERAL[0]))
    free = cycle(ports)
    mark = os.urandom(MARK_LENGTH)
    with watching(lab.plan) as watch, TraceSession(lab) as session:
        while batch := [*islice(waiting, BATCH)]:
            nodes = _nodes(lab, batch)
            probes = [_probe(lab, nodes, number, mark, one, next(free)) for number, one in enumerate(batch)]
            found = _Batch(lab, watch, session, {one.number: one for one in probes if isinstance(one, Probe)}).run()
            for number, (question, probe) in enumerate(zip(batch, probes, strict=True)):
                if isinstance(probe, str):
                    yield question, Seen(Outcome.never_sent(question.sender, probe), ())
                else:
                    yield replace(question, source_port=probe.source_port or None), found[number]


def _nodes(lab: RunningLab, asked: Sequence[Question]) -> dict[Question, NetworkNode | ApplicationNode]:
    """One of the nodes whose addresses DNS answers, for each question to a network load balancer by its name."""
    plan = lab.plan
    wanted = {each: balancer for each in asked if (balancer := balancer_named(plan, each.receiver))}
    if not wanted:
        return {}
    paths, (_, states, _) = Paths(plan), present_states(lab)
    found = {}
    for each, balancer in wanted.items():
        sender = instance_named(plan, each.sender)
        zone = sender.zone if sender.vpc == balancer.vpc else ""
        found[each] = random.choice(in_dns(paths, states, balancer, zone))
    return found


def _served_by(lab: RunningLab, asked: Question) -> tuple[tuple[Instance, int], ...]:
    """Who may get what is sent to a load balancer, with the port: its nodes that end the connection, or the targets to
    which a network load balancer may forward.
    """
    plan, balancer = read_plan(lab.state), balancer_at(lab.plan, asked.receiver)
    if balancer is None or asked.port is None:
        return ()
    nodes = [node for node in plan.addressed_nodes if node.load_balancer == balancer.name]
    paths = Paths(plan)
    ending = [node for node in nodes if _ends(paths, node, asked)]
    if ending or any(isinstance(node, ApplicationNode) for node in nodes):
        return tuple((node_as_instance(plan, node), asked.port) for node in ending)
    instances = {(each.vpc, each.address): each for each in plan.instances}
    instances |= {(balancer.vpc, node.address): node_as_instance(plan, node) for node in plan.application_nodes}
    groups = plan.groups_of(balancer.name)
    found = [(instances.get((group.vpc, each.address)), each.port) for group in groups for each in group.targets]
    return tuple(dict.fromkeys((instance, port) for instance, port in found if instance is not None))


def _ends(paths: Paths, node: NetworkNode | ApplicationNode, asked: Question) -> bool:
    """Whether a node ends what is asked about: a connection to a listener of an application load balancer, or to one of
    a network load balancer that is a proxy's.
    """
    if asked.protocol != TCP:
        return False
    if isinstance(node, ApplicationNode):
        return paths.application_model(node, States()).listener(asked.port) is not None
    model = paths.network_model(node, States())
    listener = model.listener(TCP, asked.port)
    source = node.ipv6_address if ":" in asked.receiver else node.address
    return listener is not None and model.is_proxied(listener, Packet(source, asked.receiver))


def _probe(
    lab: RunningLab,
    nodes: Mapping[Question, NetworkNode | ApplicationNode],
    number: int,
    mark: bytes,
    asked: Question,
    own_port: int,
) -> Probe | str:
    """The packet that a question means; a sentence where there is none."""
    sender, node = instance_named(lab.plan, asked.sender), nodes.get(asked)
    receiver = instance_at(lab.plan, asked.receiver)
    named = receiver is not None and receiver.name == asked.receiver
    destination = destination_address(sender, receiver) if named and receiver else asked.receiver
    if node is not None:
        destination = node.public_address or node.address
    try:
        source = source_address(sender, destination)
    except SettingError as error:
        return str(error)
    protocol = ICMPV6 if asked.protocol == ICMP and ":" in destination else asked.protocol
    ports = (own_port, asked.port) if asked.port is not None else (0, 0)
    served_by = _served_by(lab, asked)
    return Probe(number, mark, sender, receiver, source, destination, protocol, *ports, served_by)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some probes at a time."""

    lab: RunningLab
    watch: Watch
    session: TraceSession
    probes: dict[int, Probe]

    def run(self) -> dict[int, Seen]:
        """Send them, wait until the lab is at rest, and return by number what was seen."""
        self.watch.begin(Probes(self.probes.values()))
        logs = ApplianceLogs(self.lab)
        silent = set(self.session.silent)
        with ExitStack() as stack:
            ours = {
                listener: stack.enter_context(answering(self.watch, *listener))
                for listener in dict.fromkeys(self._listeners())
            }
            received = self._received()
            for probe in self.probes.values():
                stack.enter_context(sent(self.watch, probe))
                self.watch.turn(0)
            self._until_still(
                silent, {(one.name, port) for (one, port, _), is_ours in ours.items() if is_ours}, received
            )
        sightings = Sightings(self.lab.plan, self.watch, logs, frozenset(silent))
        return {probe.number: sightings.of(probe) for probe in self.probes.values()}

    def _listeners(self) -> Iterator[tuple[Instance, int, int]]:
        for probe in self.probes.values():
            family = socket.AF_INET6 if probe.is_ipv6 else socket.AF_INET
            for instance, port in probe.receivers if probe.protocol == UDP else ():
                yield instance, port, family

    # ---- waiting -----------------------------------------------------------------------------------------------------
    def _until_still(self, silent: set[str], ours: set[tuple[str, int]], received: dict[str, int]) -> None:
        """Handle frames until there are none, and nobody has one in hand; at most LONGEST seconds."""
        give_up_at = time.monotonic() + LONGEST
        while time.monotonic() < give_up_at:
            while self.watch.turn(QUIET) and time.monotonic() < give_up_at:
                pass
            for node in self.session.nodes:
                if node not in silent:
                    self._read(node, silent)
            if not self._is_in_hand(silent, ours, received) and not self.watch.turn(QUIET):
                return

    def _read(self, node: str, silent: set[str]) -> None:
        try:
            self.watch.note_events(self.session.read_node(node))
        except TraceGoneError:
            raise LabError(
                f"{node} noted no more: this command stood still for longer than a node keeps a trace"
            ) from None
        except LabError:
            silent.add(node)

    def _is_in_hand(self, silent: set[str], ours: set[tuple[str, int]], received: dict[str, int]) -> bool:
        """Tell whether somebody may still do something with a packet that he was given."""
        judged = self._judged(received)
        return any(
            time.monotonic() - seen[-1].read_at < self._patience(which, seen, silent, ours, judged)
            for which, seen in self.watch.sightings.items()
        )

    def _patience(
        self, which: Which, seen: list[Sighting], silent: set[str], ours: set[tuple[str, int]], judged: set[str]
    ) -> float:
        """How long after it was seen last something may become of a packet, in seconds."""
        number, is_answer = which
        events, last = self.watch.events.get(which, []), seen[-1]
        if refusal(events) or last.error:
            return 0.0
        given = Counter(one.resource for one in seen if one.role == "node" and not one.outgoing and not one.error)
        told = Counter(event.node for event in events)
        if any(told[node] < count and node not in silent for node, count in given.items()):
            return OUR_SECONDS
        if last.role != "instance" or last.outgoing:
            return 0.0  # a router's kernel passes on at once
        if last.tunneled:
            program = next((each for each in self.lab.plan.programs if each.instance == last.resource), None)
            if program is None or not program.is_python_appliance:
                return PROGRAM_SECONDS
            return 0.0 if last.resource in judged else OUR_SECONDS
        probe = self.probes[number]
        at = {(instance.name, port) for instance, port in probe.receivers if instance.name == last.resource}
        is_theirs = probe.protocol == UDP and not (at & ours)
        return PROGRAM_SECONDS if is_theirs and not is_answer and (number, True) not in self.watch.sightings else 0.0

    def _judged(self, received: dict[str, int]) -> set[str]:
        """The bundled appliances that have taken in hand whatever came to them, or do not answer."""
        came: Counter[str] = Counter()
        for seen in self.watch.sightings.values():
            came.update(one.resource for one in seen if one.role == "instance" and one.tunneled and not one.outgoing)
        now = self._received()
        return {name for name, count in came.items() if name not in now or now[name] - received.get(name, 0) >= count}

    def _received(self) -> dict[str, int]:
        """How many packets each bundled appliance has taken in hand; without those that do not answer."""
        names = [each.instance for each in self.lab.plan.programs if each.is_python_appliance]
        answers, _ = ask(self.lab, names, {"status": {}})
        return {name: int(answer["status"]["counters"].get("received", 0)) for name, answer in answers.items()}
