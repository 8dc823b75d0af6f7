"""The two questions: which way does a packet go, and which way do it and its answer go?

paths = Paths(plan)                      # an index, once per plan
way(paths, packet, states)               # one direction
exchange(paths, packet, states)          # both
"""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.core.application.requests import Request
from gwlbemu.paths.answer import Answers
from gwlbemu.paths.choices import Choices, every
from gwlbemu.paths.compare import joined_exchanges, joined_ways
from gwlbemu.paths.dns import in_dns
from gwlbemu.paths.ends import Ends, balancer_named, resolve, sender_of
from gwlbemu.paths.index import Paths
from gwlbemu.paths.onward import Connections, astray
from gwlbemu.paths.values import Exchange, Packet, States, Way
from gwlbemu.paths.walker import Walker

HEALTHY = States()

__all__ = ["Paths", "Request", "exchange", "way"]


def way(paths: Paths, packet: Packet, states: States = HEALTHY) -> Way:
    """Return the way of a packet.

    Raises UnknownNameError for an end that is neither an instance, a load balancer nor an address (a source has to be
    an instance, an address of one, or the node of an application load balancer), SettingError for ends that cannot talk
    (no address of the family).
    """
    ends = _ends(paths, packet, states)
    return joined_ways([*every(lambda choices: _there(Walker(paths, states, choices), ends, choices)[0])])


def exchange(
    paths: Paths,
    packet: Packet,
    states: States = HEALTHY,
    answer: Packet | Answers | None = None,
    *,
    follow: bool = True,
    request: Request | None = None,
) -> Exchange:
    """Return the way of a packet and that of the receiver's answer.

    Where a load balancer's node ends the connection, it is the receiver, and what it does then is followed, too, unless
    not to `follow`: with what is asked first on a connection to an application load balancer, if that is given.

    The answer is the packet's own (`Packet.answer`) as it arrived, made by whoever it arrived at; `answer` gives its
    size, TTL, DF and flags where they differ, or is asked when it is known who that is. Raises as `way` does.
    """
    ends = _ends(paths, packet, states)
    return joined_exchanges([*every(lambda choices: _exchange(paths, ends, states, choices, answer, follow, request))])


def _ends(paths: Paths, packet: Packet, states: States) -> dict[str, Ends]:
    """Return what the packet's ends may be, each with how it was chosen, for people: DNS may have several answers."""
    balancer, sender = balancer_named(paths.plan, packet.destination), sender_of(paths.plan, packet)
    if balancer is None:
        return {"": resolve(paths.plan, packet)}
    found = {}
    for node in in_dns(paths, states, balancer, sender.zone if sender.vpc == balancer.vpc else ""):
        address = node.public_address or node.address
        found[f"{balancer.name}: {address} of zone {node.zone}, by DNS"] = resolve(
            paths.plan, replace(packet, destination=address)
        )
    return found


def _exchange(
    paths: Paths,
    choice: dict[str, Ends],
    states: States,
    choices: Choices,
    answer: Packet | Answers | None,
    follow: bool,
    request: Request | None,
) -> Exchange:
    walker = Walker(paths, states, choices)
    there, ends = _there(walker, choice, choices)
    return Connections(paths, states, choices, walker, answer, request).exchange(there, ends.sender, follow=follow)


def _there(walker: Walker, choice: dict[str, Ends], choices: Choices) -> tuple[Way, Ends]:
    told = choices.pick("DNS", list(choice))
    if len(choice) > 1:
        choices.name(told)
    ends = choice[told]
    found = walker.walk(ends.sender, ends.packet)
    found = replace(found, choices=tuple(choices.named))
    if found.delivered and ends.receiver and found.end.at != ends.receiver:
        found = astray(found, ends.receiver)
    return found, ends
