"""A packet that has arrived, its answer, and what a load balancer's node does for a connection that it has ended.

A network load balancer's proxy begins another connection for each; an application load balancer asks a target for each
request, over a connection that may be there already. What becomes of a request (ALB guide, Troubleshoot):

    503    nobody is registered whom it could be given to
    504    the target takes no connection within 10 seconds: the SYN, or the answer to it, is lost
    502    the target refuses the connection
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from gwlbemu.core.application.requests import Request
from gwlbemu.paths.answer import Answers
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.compare import parting
from gwlbemu.paths.index import Paths
from gwlbemu.paths.network_node import Chosen
from gwlbemu.paths.trip import dropped
from gwlbemu.paths.values import Cause, Exchange, Onward, Packet, States, Way
from gwlbemu.paths.walker import Walker
from gwlbemu.topology.plan.values import ApplicationNode, NetworkNode
from gwlbemu.wire.protocols import TCP
from gwlbemu.wire.tcp import RST

_MOST = 4  # connections, one behind the other, that are followed: no more load balancers stand in a row


class Connections:
    """Packets and their answers for the length of one exchange; `answer` and `request` are what `walk.exchange` is
    given.
    """

    def __init__(
        self,
        paths: Paths,
        states: States,
        choices: Choices,
        walker: Walker,
        answer: Packet | Answers | None,
        request: Request | None,
    ) -> None:
        self._paths, self._states, self._choices, self._walker = paths, states, choices, walker
        self._answer, self._request = answer, request
        self._nodes = {node.name: node for node in paths.plan.addressed_nodes}

    def exchange(self, there: Way, sender: str, *, follow: bool = True, number: int = 1) -> Exchange:
        """Return the exchange that began with a packet's way, and unless not to `follow` what a node does then."""
        back, known = None, set(self._choices.named)
        if there.delivered:
            back = self._walker.walk(there.end.at, self._reply(there, number))
            if back.delivered and back.end.at != sender:
                back = astray(back, sender)
            back = replace(back, choices=tuple(name for name in self._choices.named if name not in known))
        met_there = [target for _, target in there.targets]
        met_back = [target for _, target in back.targets] if back else []
        found = Exchange(
            there,
            back,
            (bool(met_there), bool(met_back)),
            back is not None and met_there == met_back[::-1],
            parting(there, back) if back is not None else None,
        )
        if not (follow and there.is_terminated and found.answered):
            return found
        node = self._nodes[there.end.at]
        if isinstance(node, ApplicationNode):
            return replace(found, onward=self._by_application(node, there.packet, number))
        return replace(found, onward=self._by_proxy(node, there.packet, number))

    def _reply(self, there: Way, number: int) -> Packet:
        reply, answer = there.packet.answer(), self._answer
        if callable(answer):
            answer = answer(there.end.at, there.packet)
        elif number > 1:  # it is that of the first connection
            answer = None
        if answer is None:
            return reply
        return replace(reply, size=answer.size, ttl=answer.ttl, df=answer.df, tcp_flags=answer.tcp_flags)

    def _by_application(self, node: ApplicationNode, arrived: Packet, number: int) -> Onward:
        known, model = set(self._choices.named), self._paths.application_model(node, self._states)
        listener = model.listener(arrived.destination_port)
        assert listener is not None
        request, self._request = self._request, None  # the next one is asked what this one makes of it
        told = model.decide(listener, arrived, self._choices, request)
        path = self._paths.group_places.get(told.group, self._paths.balancer_places[node.load_balancer])
        if told.server is None:
            says = f"a request gets {_status(told.status)} from {node.name}: {told.why}"
            return Onward(
                node.name, told.group, "", told.rule, "", path, (), None, told.status, says, told.is_wanted
            )  # fmt: skip
        server = told.server
        begun = Packet(node.address, server.address, TCP, None, server.port)
        there = self._walker.walk(node.name, begun)
        there = replace(there, choices=tuple(name for name in self._choices.named if name not in known))
        found = self.exchange(there, node.name, number=number + 1, follow=number < _MOST)
        status, why = _failure(found)
        if status:
            says = f"a request gets {_status(status)} from {node.name}: {why}"
        else:
            says = f"a request gets the answer of {server.target}"
            if found.onward is not None and found.onward.status:
                says += f": {found.onward.sentence}"
        rule = f"{told.rule} -> target group {told.group}: {server.target}"
        served = not status and (found.onward is None or found.onward.served)
        return Onward(
            node.name, told.group, server.target, rule, told.how, path, (*told.asks, *model.sees(listener, arrived)),
            found, status, says, served,
        )  # fmt: skip

    def _by_proxy(self, node: NetworkNode, arrived: Packet, number: int) -> Onward:
        known, model = set(self._choices.named), self._paths.network_model(node, self._states)
        listener = model.listener(TCP, arrived.destination_port)
        assert listener is not None
        name = f"listener {listener.name}"
        chosen = model.choose(listener, arrived, self._choices)
        if isinstance(chosen, str):
            path = self._paths.group_places.get(chosen, ())
            says = f"{node.name} closes the connection: target group {chosen} has no target for it"
            return Onward(node.name, chosen, "", name, "", path, (), None, 0, says, False)
        bound = chosen.bound
        keeps = chosen.preserved and "." in arrived.source
        begun = Packet(arrived.source if keeps else node.address, bound.address, TCP, None, bound.port)
        there = self._walker.walk_from_proxy(node, bound.target, begun, keeps_client=keeps)
        there = replace(there, choices=tuple(name for name in self._choices.named if name not in known))
        found = self.exchange(there, node.name, number=number + 1, follow=number < _MOST)
        status, why = _failure(found)
        if status:
            says = f"{node.name} closes the connection: {why}"
        else:
            says = f"what is sent on it comes to {bound.target}"
            if found.onward is not None:
                says += f": {found.onward.sentence}"
        served = not status and (found.onward is None or found.onward.served)
        rule = f"{name} -> target group {bound.target_group}: {bound.target}"
        path = self._paths.group_places.get(bound.target_group, ())
        speaks_tls, names_client = model.says_to_target(bound.target_group)
        sees = (
            f"source {begun.source}, {_whose(chosen, keeps)}",
            *(["TLS"] if speaks_tls else []),
            *([f"a header of proxy protocol version 2, with {arrived.source}"] if names_client else []),
        )
        return Onward(node.name, bound.target_group, bound.target, rule, chosen.how, path, sees, found, 0, says, served)


def astray(found: Way, wanted: str) -> Way:
    """Return a way that has arrived somewhere else than at `wanted` as one that has not."""
    sentence = f"it arrived at {found.end.at}, which has that address, and not at {wanted}"
    return replace(found, end=dropped(found.end.at, Cause.UNKNOWN_ADDRESS, sentence))


def _failure(found: Exchange) -> tuple[int, str]:
    """Return the status that says how a connection to a target failed, 0 for one that did not, and why."""
    if not found.there.delivered:
        reset = found.there.end.reason == Cause.RESET.value
        return int(HTTPStatus.BAD_GATEWAY if reset else HTTPStatus.GATEWAY_TIMEOUT), found.there.end.sentence
    if found.back is None or not found.back.delivered:
        why = found.back.end.sentence if found.back else "nobody answers"
        return int(HTTPStatus.GATEWAY_TIMEOUT), f"the answer is lost: {why}"
    if found.back.packet.tcp_flags & RST:
        at = found.there.packet
        return int(HTTPStatus.BAD_GATEWAY), f"nothing listens on {at.destination}:{at.destination_port}"
    return 0, ""


def _status(number: int) -> str:
    """Return a status as people say it: 504 Gateway Timeout."""
    try:
        return f"{number} {HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


def _whose(chosen: Chosen, keeps: bool) -> str:
    return "the client's" if keeps else "the node's" + (", since targets have IPv4" if chosen.preserved else "")
