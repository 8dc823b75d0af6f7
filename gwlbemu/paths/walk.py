"""The two questions: which way does a packet go, and which way do it and its answer go?

paths = Paths(plan)                      # an index, once per plan
way(paths, packet, states)               # one direction
exchange(paths, packet, states)          # both
"""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.paths.choices import Choices, every
from gwlbemu.paths.compare import joined_exchanges, joined_ways, parting
from gwlbemu.paths.ends import Ends, resolve
from gwlbemu.paths.index import Paths
from gwlbemu.paths.trip import dropped
from gwlbemu.paths.values import Cause, Exchange, Packet, States, Way
from gwlbemu.paths.walker import Walker

HEALTHY = States()

__all__ = ["Paths", "exchange", "way"]


def way(paths: Paths, packet: Packet, states: States = HEALTHY) -> Way:
    """Return the way of a packet.

    Raises UnknownNameError for an end that is neither an instance nor an address (a source has to be one of an
    instance's, or an instance's name), SettingError for ends that cannot talk (no address of the family).
    """
    ends = resolve(paths.plan, packet)
    return joined_ways([*every(lambda choices: _there(Walker(paths, states, choices), ends, choices))])


def exchange(paths: Paths, packet: Packet, states: States = HEALTHY, answer: Packet | None = None) -> Exchange:
    """Return the way of a packet and that of the receiver's answer.

    The answer is the packet's own (`Packet.answer`) as it arrived, made by whoever it arrived at; `answer` gives its
    size, TTL, DF and flags where they differ. Raises as `way` does.
    """
    ends = resolve(paths.plan, packet)
    return joined_exchanges([*every(lambda choices: _exchange(paths, ends, states, choices, answer))])


def _exchange(paths: Paths, ends: Ends, states: States, choices: Choices, answer: Packet | None) -> Exchange:
    walker = Walker(paths, states, choices)
    there = _there(walker, ends, choices)
    back = None
    if there.delivered:
        reply = there.packet.answer()
        if answer is not None:
            reply = replace(reply, size=answer.size, ttl=answer.ttl, df=answer.df, tcp_flags=answer.tcp_flags)
        back = walker.walk(there.end.at, reply)
        if back.delivered and back.end.at != ends.sender:
            back = _astray(back, ends.sender)
        back = replace(back, choices=tuple(name for name in choices.named if name not in there.choices))
    met_there, met_back = (
        [target for _, target in there.targets],
        [target for _, target in back.targets] if back else [],
    )
    return Exchange(
        there,
        back,
        (bool(there.targets), bool(met_back)),
        back is not None and met_there == met_back[::-1],
        parting(there, back) if back is not None else None,
    )


def _there(walker: Walker, ends: Ends, choices: Choices) -> Way:
    found = walker.walk(ends.sender, ends.packet)
    found = replace(found, choices=tuple(choices.named))
    if found.delivered and ends.receiver and found.end.at != ends.receiver:
        return _astray(found, ends.receiver)
    return found


def _astray(found: Way, wanted: str) -> Way:
    sentence = f"it arrived at {found.end.at}, which has that address, and not at {wanted}"
    return replace(found, end=dropped(found.end.at, Cause.UNKNOWN_ADDRESS, sentence))
