"""The two questions: which way does a packet go, and which way do it and its answer go?

paths = Paths(plan)                      # an index, once per plan
way(paths, packet, states)               # one direction
exchange(paths, packet, states)          # both
"""

from __future__ import annotations

from gwlbemu.paths.values import Exchange, Packet, States, Way
from gwlbemu.topology.plan.values import Plan


class Paths:
    """A plan with the look-ups that walking needs. Nothing in it changes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


def way(paths: Paths, packet: Packet, states: States = States()) -> Way:  # noqa: B008 (frozen)
    """Return the way of a packet.

    Raises UnknownNameError for an end that is neither an instance nor an address (a source has to be one of an
    instance's, or an instance's name), SettingError for ends that cannot talk (no address of the family).
    """
    raise NotImplementedError


def exchange(paths: Paths, packet: Packet, states: States = States(), answer: Packet | None = None) -> Exchange:  # noqa: B008
    """Return the way of a packet and that of the receiver's answer.

    The answer is the packet's own (`Packet.answer`) as it arrived, made by whoever it arrived at; `answer` gives its
    size, TTL, DF and flags where they differ. Raises as `way` does.
    """
    raise NotImplementedError
